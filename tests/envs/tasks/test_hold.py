"""TinyHold's rules: disturbances that come by themselves, and rewards for holding out."""

import json
import re
from typing import Any

import numpy as np
import pytest
from pixels import brightness, grey, shot

from longlive_env import World
from longlive_env.engine.config import PRESETS
from longlive_env.envs import goals
from longlive_env.envs.prompt_env import PromptEnv
from longlive_env.envs.task import Block, Reseeds, Task, TaskState, resolve_task
from longlive_env.envs.tasks import GoalTask, HoldTask
from longlive_env.envs.wrappers import SlotPrompts
from longlive_env.envs.wrappers.goal_values import values_in
from longlive_env.errors import ConfigError
from longlive_env.tiny.scene import Scene, in_split

RNG = np.random.default_rng


def disturbances(task: HoldTask, state: TaskState, blocks: int) -> dict[int, str]:
    """What disturbs an episode that nobody answers: block -> prompt."""
    found = {}
    for index in range(blocks):
        imposed = task.disturb(state)
        (verdict,) = task.judge([state], [grey(0.5)])
        assert verdict.info["disturbed"] is (imposed is not None)
        if imposed is not None:
            found[index] = imposed
        state = verdict.state
    return found


def test_disturbances_change_one_attribute_now_and_then() -> None:
    task = HoldTask(reward_fn=brightness, calm=(3, 5))
    for seed in range(5):
        opening = task.open(RNG(seed), None, {})
        assert opening.prompt is not None
        held = goals.parse(opening.prompt)
        found = disturbances(task, opening.state, 60)
        assert found == disturbances(task, opening.state, 60)
        gaps = np.diff([-1, *found]) - 1
        assert gaps.min() >= 3 and gaps.max() <= 5 and len(set(gaps.tolist())) > 1
        changed = set()
        for prompt in found.values():
            seen = goals.parse(prompt)
            (name,) = (name for name in held if seen[name] != held[name])
            changed.add(name)
        assert changed == {"setting", "weather"}
    other = task.open(RNG(99), None, {})
    assert disturbances(task, other.state, 60) != found


def test_when_something_changes_does_not_tell_what() -> None:
    task = HoldTask(reward_fn=brightness, calm=(2, 3))
    found: dict[int, set[str]] = {2: set(), 3: set()}
    for seed in range(30):
        opening = task.open(RNG(seed), None, {})
        held = goals.parse(opening.prompt or "")
        ((block, prompt),) = disturbances(task, opening.state, 4).items()
        found[block] |= {name for name in held if goals.parse(prompt)[name] != held[name]}
    assert found[2] == found[3] == {"setting", "weather"}


def test_a_state_goes_on_where_it_was() -> None:
    task = HoldTask(reward_fn=brightness)
    state = task.open(RNG(3), None, {}).state
    for _ in range(10):
        (verdict,) = task.judge([state], [grey(0.5)])
        state = verdict.state
    copy = json.loads(json.dumps(state))
    assert copy == state
    assert disturbances(task, copy, 40) == disturbances(task, state, 40)


def test_another_future_keeps_to_the_calm_that_is_left() -> None:
    task = HoldTask(reward_fn=brightness, calm=(3, 6))
    assert isinstance(task, Reseeds) and not isinstance(GoalTask(), Reseeds)
    state = task.open(RNG(1), None, {}).state
    for block in range(7):
        drawn = [task.reseed({**state, "block": block}, RNG(seed))["due"] for seed in range(50)]
        assert set(drawn) == set(range(max(3, block), 7))
    while not state["disturbances"]:
        (verdict,) = task.judge([state], [grey(0.5)])
        state = verdict.state
    futures = [disturbances(task, task.reseed(state, RNG(seed)), 60) for seed in (5, 5, 6)]
    assert futures[0] == futures[1] != futures[2] != disturbances(task, state, 60)
    for found in futures:
        gaps = np.diff([-1, *found]) - 1
        assert gaps.min() >= 3 and gaps.max() <= 6
    late = {**state, "block": state["since"] + 5}
    assert HoldTask(calm=(1, 2)).reseed(late, RNG(0))["due"] == late["block"], "of a task with longer calm"


def test_what_is_shown_is_read_from_pixels() -> None:
    task = HoldTask()
    opening = task.open(RNG(1), None, {})
    assert opening.prompt is not None
    scene = Scene(**goals.parse(opening.prompt))
    (held,) = task.judge([opening.state], [Block(shot(scene), "?")])
    assert held.info["success"] is True and held.reward > 0.95 and not held.terminated
    index = held.state["due"]
    imposed = task.disturb({**held.state, "block": index})
    assert imposed is not None
    (lost,) = task.judge([held.state], [Block(shot(Scene(**goals.parse(imposed))), "?")])
    assert lost.info["success"] is False and lost.reward == pytest.approx(0.75, abs=0.05)
    assert lost.info["held"] == 0.5


@pytest.mark.parametrize(("reward", "expected"), [("shaped", [0.6, 0.55, 1.0]), ("sparse", [0, -0.05, 1.0])])
def test_rewards(reward: Any, expected: list[float]) -> None:
    task = HoldTask(reward=reward, reward_fn=brightness)
    state = task.open(RNG(1), None, {}).state
    blocks = [grey(0.6), grey(0.6, asked=True), grey(1.0)]
    rewards = []
    for block in blocks:
        (verdict,) = task.judge([state], [block])
        state = verdict.state
        rewards.append(verdict.reward)
    assert rewards == pytest.approx(expected, abs=0.01)


def test_scenes_of_one_s_own() -> None:
    opening = HoldTask().open(RNG(1), None, {"goal": "a blue cat in the forest"})
    assert opening.state["goal"] == "a blue cat in the forest" and opening.prompt is not None
    assert goals.parse(opening.prompt).items() >= goals.parse("a blue cat in the forest").items()
    asked = HoldTask().open(RNG(1), "a cat in the snow", {})
    assert asked.prompt == "a cat in the snow" and asked.state["goal"] == "a cat in the snow"
    task = HoldTask(reward_fn=brightness)
    found = disturbances(task, task.open(RNG(1), None, {"goal": "a cat"}).state, 40)
    assert found and all(goals.parse(prompt)["subject"] != "cat" for prompt in found.values())
    with pytest.raises(ConfigError, match="the prompt 'hello' names nothing"):
        HoldTask().open(RNG(1), "hello", {})


def test_it_is_found_by_name() -> None:
    task = resolve_task({"name": "hold", "calm": [2, 4]}, PRESETS["tiny"])
    assert task == HoldTask(calm=(2, 4)) and isinstance(task, Task)
    with pytest.raises(ConfigError, match="varied is"):
        HoldTask(attributes=("subject",))


@pytest.mark.parametrize("calm", [(0, 3), (5, 4), (3,), 6, (6.5, 12), "ab", ("6", "12"), (True, 2), None])
def test_calm_is_two_whole_numbers(calm: Any) -> None:
    told = re.escape(f"calm is {calm!r}; expected two whole numbers, such as (6, 12)")
    with pytest.raises(ConfigError, match=told):
        HoldTask(calm=calm)


@pytest.mark.parametrize("goal", [5, " ", ["a cat"]])
def test_goals_are_texts(goal: Any) -> None:
    with pytest.raises(ConfigError, match=r"the goal is .*; expected a text"):
        HoldTask().open(RNG(1), None, {"goal": goal})


def test_what_is_held_of_a_prompt_is_what_the_task_holds() -> None:
    task = HoldTask(reward_fn=brightness, attributes=("setting",), varied=("setting",))
    opening = task.open(RNG(1), "a red cat jumps in the city at night", {})
    assert goals.parse(opening.state["goal"]) == {"setting": "city"}
    for prompt in disturbances(task, opening.state, 40).values():
        seen = goals.parse(prompt)
        assert (seen["subject"], seen["action"]) == ("cat", "jump") and seen["setting"] != "city"
    with pytest.raises(ConfigError, match="names none of setting to hold"):
        task.open(RNG(1), "a red cat at night", {})


@pytest.mark.parametrize("kind", ["texts", "slots"])
def test_asking_again_costs_in_any_space(small_world: World, kind: str) -> None:
    """Otherwise a policy that never looks, and always asks for the goal, would be as good as any."""
    env = PromptEnv(small_world, task=HoldTask(reward_fn=brightness, prompt_cost=1.0))
    _, info = env.reset(seed=1)
    adapted = env if kind == "texts" else SlotPrompts(env)
    again = info["prompt"] if kind == "texts" else values_in(info["goal"])
    asked = [float(adapted.step(again)[1]) for _ in range(3)]
    assert max(asked) < 0 < min(float(env.step("")[1]) for _ in range(2))


def test_scenes_to_hold_are_of_the_split() -> None:
    for split in ("train", "held_out"):
        task = resolve_task({"name": "hold", "split": split}, PRESETS["tiny"])
        assert task is not None
        scenes = [Scene(**task.open(RNG(seed), None, {}).state["scene"]) for seed in range(20)]
        assert all(in_split(scene, split) for scene in scenes)
    with pytest.raises(ConfigError, match="split is 'test'; expected 'train' or 'held_out'"):
        HoldTask(split="test")  # type: ignore[arg-type]
