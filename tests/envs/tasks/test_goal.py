"""TinyGoal's rules: beginnings, scores of pixels, costs, endings."""

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
from pixels import brightness, grey, shot

from longlive_env.engine.config import PRESETS
from longlive_env.envs import goals
from longlive_env.envs.task import Block, Task, resolve_task
from longlive_env.envs.tasks import GoalTask
from longlive_env.errors import ConfigError
from longlive_env.tiny.scene import ATTRIBUTES, Scene, is_held_out

RNG = np.random.default_rng


def scene_of(text: str) -> Scene:
    return Scene(**goals.parse(text))


def test_beginnings_differ_from_goals_as_asked() -> None:
    task = GoalTask(changes=2, varied=("setting", "weather", "colour"))
    differing = Counter[str]()
    for seed in range(60):
        opening = task.open(RNG(seed), None, {})
        assert opening == task.open(RNG(seed), None, {})
        assert opening.prompt is not None
        start, goal = scene_of(opening.prompt), goals.parse(opening.state["goal"])
        assert tuple(goal) == goals.LOOKS
        differ = [name for name, value in goal.items() if start.attribute(name) != value]
        assert len(differ) == 2
        differing.update(differ)
        assert not is_held_out(start)
    assert set(differing) == {"setting", "weather", "colour"} and min(differing.values()) > 20


def test_held_out_scenes() -> None:
    task = GoalTask(split="held_out", attributes=tuple(ATTRIBUTES))
    for seed in range(10):
        opening = task.open(RNG(seed), None, {})
        assert opening.prompt is not None
        assert is_held_out(scene_of(opening.prompt)) and is_held_out(scene_of(opening.state["goal"]))


def test_every_goal_has_a_beginning() -> None:
    """Of one combination in ten few neighbours are held out as well, and of some goals none."""
    task = GoalTask(split="held_out", varied=("weather",), changes=1)
    lonely = Scene("robot", "red", "city", "night", "left")
    assert not task._has_start(lonely) and GoalTask()._has_start(lonely)
    for seed in range(40):
        opening = task.open(RNG(seed), None, {})
        assert opening.prompt is not None and is_held_out(scene_of(opening.prompt))


def test_an_episode_read_from_pixels() -> None:
    task = GoalTask()
    opening = task.open(RNG(1), None, {})
    assert opening.prompt is not None
    start = scene_of(opening.prompt)
    end = Scene(**{**goals.values_of(start, tuple(ATTRIBUTES)), **goals.parse(opening.state["goal"])})
    (first,) = task.judge([opening.state], [Block(shot(start), opening.prompt)])
    assert not first.terminated and first.info["score"] == pytest.approx(0.5, abs=0.05)
    assert first.info["goal"] == opening.state["goal"] and first.info["success"] is False
    (kept,) = task.judge([first.state], [Block(shot(start), opening.prompt)])
    assert kept.reward == pytest.approx(-0.01)
    (last,) = task.judge([kept.state], [Block(shot(end), "?", asked=True, switched=True)])
    assert last.terminated and last.info["success"] is True
    assert last.reward == pytest.approx(1 + 0.5 - 0.01 - 0.05, abs=0.05)


def test_the_prompt_earns_nothing() -> None:
    task = GoalTask()
    opening = task.open(RNG(1), None, {})
    frames = shot(Scene("snail", "green", "moon", "fog", "dance"))
    asks, silent = (Block(frames, prompt) for prompt in (opening.state["goal"], "a wall"))
    found = task.judge([opening.state] * 2, [asks, silent])
    assert found[0].reward == found[1].reward and found[0].info == found[1].info


@pytest.mark.parametrize(
    ("reward", "expected"),
    [("shaped", (0.3 - 0.06, -0.3 - 0.01, 1.8 - 0.01)), ("sparse", (-0.06, -0.01, 0.99))],
)
def test_rewards(reward: Any, expected: tuple[float, ...]) -> None:
    task = GoalTask(reward=reward, reward_fn=brightness)
    state, rewards = task.open(RNG(1), None, {}).state, []
    for block in (grey(0.2), grey(0.5, asked=True, switched=True), grey(0.2, asked=True), grey(1.0)):
        before = dict(state)
        (verdict,) = task.judge([state], [block])
        assert state == before, "a task returns a new state"
        assert json.loads(json.dumps(verdict.state)) == verdict.state
        assert isinstance(verdict.reward, float) and verdict.terminated is verdict.info["success"]
        state = verdict.state
        rewards.append(verdict.reward)
    assert rewards[1:] == pytest.approx(expected, abs=0.01)


def test_worlds_are_judged_apart() -> None:
    task = GoalTask(reward_fn=brightness)
    states = [task.open(RNG(seed), None, {}).state for seed in range(3)]
    blocks = [grey(0.1), grey(1.0), grey(0.6)]
    together = task.judge(states, blocks)
    assert together == [task.judge([state], [block])[0] for state, block in zip(states, blocks, strict=True)]
    assert [verdict.terminated for verdict in together] == [False, True, False]
    assert task.judge([], []) == []


def test_goals_of_one_s_own() -> None:
    task = GoalTask()
    opening = task.open(RNG(1), None, {"goal": "a red robot on the moon"})
    assert opening.state["goal"] == "a red robot on the moon" and opening.prompt is not None
    assert scene_of(opening.prompt).setting != "moon" and scene_of(opening.prompt).subject == "robot"
    kept = task.open(RNG(1), "a green car in the forest", {"goal": "a red robot on the moon"})
    assert kept.prompt == "a green car in the forest"
    scene = Scene("cat", "blue", "beach", "clear", "left")
    picture = task.open(RNG(1), None, {"goal_image": shot(scene)[3]})
    assert goals.parse(picture.state["goal"]) == goals.values_of(scene, goals.LOOKS)
    doubled = task.open(RNG(1), None, {"goal_image": shot(scene)[3].repeat(2, axis=0).repeat(2, axis=1)})
    assert doubled.state["goal"] == picture.state["goal"]
    clip = task.open(RNG(1), None, {"goal_image": shot(scene)})
    assert goals.parse(clip.state["goal"])["action"] == "left"


def test_goals_of_other_worlds() -> None:
    task = GoalTask(goals=("a wolf", "a lighthouse"), reward_fn=brightness)
    task.check(PRESETS["1.3b"])
    openings = [task.open(RNG(seed), None, {}) for seed in range(8)]
    assert {opening.state["goal"] for opening in openings} == {"a wolf", "a lighthouse"}
    assert all(opening.prompt is None for opening in openings)
    assert task.open(RNG(0), None, {"goal": "a raven"}).state["goal"] == "a raven"
    with pytest.raises(ConfigError, match=r"that of world '1\.3b' is ''; GoalTask\(goals"):
        GoalTask(reward_fn=brightness).check(PRESETS["1.3b"])
    with pytest.raises(ConfigError, match="cannot read a goal_image; give a goal text"):
        task.open(RNG(0), None, {"goal_image": np.zeros((4, 6, 3), np.uint8)})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"goal": ""}, "the goal is ''; expected a text"),
        ({"goal": 3}, "the goal is 3"),
        ({"goal": "a zeppelin"}, "names nothing"),
        ({"goal": "a red unicorn in the city"}, "has a word that scores nothing, 'unicorn'; name subject"),
        ({"goal": "a red robott in the city"}, "'robott'; did you mean 'robot'"),
        ({"goal": "a cat", "goal_image": np.zeros((4, 6, 3), np.uint8)}, "got both a goal and a goal_image"),
        ({"goal_image": np.zeros((4, 6), np.uint8)}, r"got a goal picture uint8 \[4, 6\]"),
    ],
)
def test_impossible_reset_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GoalTask().open(RNG(1), None, options)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"reward": "dense"}, "reward is 'dense'; expected 'shaped' or 'sparse'"),
        ({"goals": "darkness"}, "goals is 'darkness'; give a tuple"),
        ({"goals": 5}, "goals is 5; give a tuple"),
        ({"varied": "setting"}, "varied is 'setting'; give a tuple"),
        ({"varied": 5}, "varied is 5; give a tuple"),
        ({"block_cost": -1}, "block_cost is -1; a cost is"),
        ({"prompt_cost": float("nan")}, "prompt_cost is nan; a cost is"),
        ({"reward_fn": {"device": "cpu"}}, "expected a function of frames and texts"),
        ({"threshold": 0}, "threshold is 0"),
        ({"prompt_cost": -1}, "prompt_cost is -1"),
        ({"split": "test"}, "split is 'test'"),
        ({"attributes": ("mood",)}, r"attributes is \('mood',\); expected one or more of subject"),
        ({"varied": ("action",)}, r"varied is \('action',\); expected one or more of subject, colour"),
        ({"changes": 3}, "changes is 3; expected a whole number from 1 to 2"),
        ({"changes": "2"}, "changes is '2'; expected a whole number"),
        ({"changes": 1.5}, r"changes is 1\.5; expected a whole number"),
        ({"changes": True}, "changes is True; expected a whole number"),
        ({"threshold": "0.9"}, r"threshold is '0\.9'; expected a number above 0, at most 1"),
        ({"threshold": True}, "threshold is True; expected a number"),
        ({"prompt_cost": None}, "prompt_cost is None; a cost is a number"),
        ({"prompt_cost": float("inf")}, "prompt_cost is inf; a cost is a number"),
        ({"block_cost": "0"}, "block_cost is '0'; a cost is a number"),
        ({"goals": ()}, "goals is empty"),
        ({"goals": ("a red cat", "a zeppelin")}, "the goal 'a zeppelin' names nothing"),
        ({"goals": ("a red cat", " "), "reward_fn": brightness}, "the goal is ' '; expected a text"),
    ],
)
def test_impossible_fields(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GoalTask(**fields)


def test_it_is_found_by_name() -> None:
    tiny = PRESETS["tiny"]
    task = resolve_task({"name": "goal", "reward": "sparse", "varied": ["weather"], "changes": 1}, tiny)
    assert task == GoalTask(reward="sparse", varied=("weather",), changes=1) and isinstance(task, Task)
    assert resolve_task("goal", tiny) == GoalTask()
    assert resolve_task(task, tiny) is task
    with pytest.raises(ConfigError, match="has no option 'reword'; did you mean 'reward'"):
        resolve_task({"name": "goal", "reword": "sparse"}, tiny)
    with pytest.raises(ConfigError, match=r"of the vocabulary 'tiny', and that of world '1\.3b' is ''"):
        resolve_task("goal", PRESETS["1.3b"])


def test_beginnings_of_given_goals_stay_in_the_split() -> None:
    task = GoalTask(split="held_out")
    openings = [task.open(RNG(seed), None, {"goal": "a red robot on the moon"}) for seed in range(10)]
    assert all(is_held_out(scene_of(opening.prompt or "")) for opening in openings)
