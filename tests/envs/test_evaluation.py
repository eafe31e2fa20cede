"""The frozen protocol: the same episodes for every policy, whatever is around the env that it plays."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import TransformReward
from toy_task import Count

from longlive_env import World
from longlive_env.envs import evaluation_report, goals, world_cache
from longlive_env.envs.evaluation import RandomActions, Report, Row, asks, evaluate, silent
from longlive_env.envs.prompt_env import PromptEnv
from longlive_env.envs.task import Block, Opening, TaskState, Verdict
from longlive_env.envs.tasks import GoalTask
from longlive_env.envs.wrappers import DiscretePrompts, LastFrame
from longlive_env.errors import ConfigError, PromptError

ID = "LongLive/TinyGoal-v0"
GOALS = ("a red cat on the moon", "a blue robot in the city")
Make = Callable[..., gym.Env[Any, Any]]


@dataclass(frozen=True)
class Obeys(Count):
    """Pays 1 once the prompt in force names the goal, and ends; takes 0.1 for each step before."""

    def open(self, rng: np.random.Generator, prompt: str | None, options: Mapping[str, Any]) -> Opening:
        return Opening({"goal": GOALS[rng.integers(2)]}, "a green dog stands still in the desert at night")

    def disturb(self, state: TaskState) -> None:
        return None

    def _verdict(self, state: TaskState, block: Block) -> Verdict:
        named = goals.parse(state["goal"]).items() <= goals.parse_first(block.prompt).items()
        info = {"goal": state["goal"], "success": named}
        return Verdict(state, 1.0 if named else -0.1, named, info)


@pytest.fixture
def make(small_world: World) -> Make:
    """Makes an env of the small world; arguments as of `gym.make`."""
    given = {"world": small_world, "task": Obeys(), "max_episode_steps": 3}
    return lambda **others: gym.make(ID, **{**given, **others})


def at_second(observation: Any, info: Mapping[str, Any]) -> str:
    """Asks, but a step too late."""
    return "" if info["block"] == 0 else asks(observation, info)


def test_repeated_evaluations_are_equal(make: Make) -> None:
    def seen() -> gym.Env[Any, Any]:
        return make(task="goal")  # whose rewards follow every pixel

    first, second = (evaluate(RandomActions(), ID, make=seen, episodes=3) for _ in range(2))
    assert first == second and [row.seed for row in first.rows] == [0, 1, 2]
    assert evaluate(RandomActions(), ID, make=seen, episodes=2, baselines=False).rows == first.rows[:2]
    assert evaluate(silent, ID, make=seen, episodes=3, baselines=first).rows == first.baselines["silent"]
    assert first.rows != first.baselines["silent"]


def test_a_registered_id_is_played_as_it_is(small_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world_cache, "_worlds", {})
    monkeypatch.setattr(World, "load", lambda *args, **kwargs: small_world)
    report = evaluate(silent, ID, episodes=2, baselines=False)
    given = report.conditions
    assert (given.changed, given.max_steps, given.world) == ({}, 24, small_world.fingerprint)
    assert given.task["class"] == "GoalTask" and given.task["block_cost"] == 0.01
    env = gym.make(ID)
    _, info = env.reset(seed=1)
    total, steps, over = 0.0, 0, False
    while not over:
        _, reward, terminated, truncated, info = env.step("")
        total, steps, over = total + float(reward), steps + 1, terminated or truncated
    assert report.rows[1] == Row(1, total, steps, float(info["success"]))


def test_the_score_is_between_silent_and_asks(make: Make) -> None:
    report = evaluate(at_second, ID, make=make, episodes=4)
    assert [row.total for row in report.baselines["silent"]] == pytest.approx([-0.3] * 4)
    assert [row.total for row in report.baselines["asks"]] == [1.0] * 4
    assert report.returns.mean == pytest.approx(0.9) and report.steps.mean == 2
    assert report.success is not None and report.success.mean == 1
    assert report.score is not None and report.score.value == pytest.approx(1.2 / 1.3)
    for policy, score in ((silent, 0.0), (asks, 1.0)):
        again = evaluate(policy, ID, make=make, episodes=4, baselines=report)
        assert again.baselines == report.baselines and again.score is not None
        assert again.score.value == pytest.approx(score)
    line = "score    0.923 (95 %: 0.923 to 0.923), where 0 is silent (-0.300) and 1 is asks (1.000)"
    assert line in str(report)


def test_there_is_no_score_where_asking_does_not_pay(make: Make) -> None:
    def count() -> gym.Env[Any, Any]:
        return make(task=Count())

    report = evaluate(silent, ID, make=count, episodes=2, baselines=False)
    assert report.score is None and report.success is None and "score" not in str(report)
    assert report.returns.mean == 2 + 3 + 4
    level = replace(report, baselines={name: report.rows for name in evaluation_report.SCALE})
    assert level.score is None
    assert "none, since asks (9.000) earned no more than silent (9.000)" in str(level)
    with pytest.raises(ConfigError, match="baselines=False"):
        evaluate(silent, ID, make=count, episodes=2)


def test_standard_errors_are_those_of_means() -> None:
    values = np.array([0.0, 1.0, 1.0, 1.0, 0.0])
    figure = evaluation_report.Figure.of(values, share=True)
    assert figure.mean == 0.6 and figure.standard_error == pytest.approx(np.sqrt(0.3 / 5))
    assert figure.interval is not None and figure.interval[0] < 0.6 < figure.interval[1] < 1
    assert evaluation_report.Figure.of(values[:2]).interval is None


def test_wrappers_adapt_policies_and_change_no_figures(make: Make) -> None:
    """Rewards are the task's own, and baselines play prompts, whatever is around the env."""

    def wrapped() -> gym.Env[Any, Any]:
        env = DiscretePrompts(LastFrame(make(max_episode_steps=-1)), [*GOALS, "a dog"])
        return TransformReward(env, lambda reward: 100 * reward)

    def policy(observation: Any, info: Mapping[str, Any]) -> int:
        assert observation.shape == (32, 48, 3)
        return 1 + GOALS.index(info["goal"])

    def limited() -> gym.Env[Any, Any]:
        return make(max_episode_steps=24)

    report = evaluate(policy, ID, make=wrapped, episodes=2)
    plain = evaluate(lambda observation, info: info["goal"], ID, make=limited, episodes=2, baselines=report)
    assert report.rows == plain.rows and report.conditions == plain.conditions
    assert report.conditions.max_steps == 24  # the id's own
    assert [row.steps for row in report.baselines["silent"]] == [24, 24]
    assert [row.total for row in report.baselines["asks"]] == [1.0, 1.0]
    assert "DiscretePrompts" in report.env and "DiscretePrompts" not in plain.env


def test_an_agent_is_told_of_each_episode(make: Make) -> None:
    class Remembers:
        goals: list[str] = []  # noqa: RUF012

        def reset(self, env: gym.Env[Any, Any], info: Mapping[str, Any], /) -> None:
            assert isinstance(env.unwrapped, PromptEnv)
            self.goals.append(info["goal"])

        def act(self, observation: Any, info: Mapping[str, Any], /) -> str:
            return self.goals[-1]

    report = evaluate(Remembers(), ID, make=make, episodes=3, baselines=False)
    assert len(Remembers.goals) == 3 and [row.steps for row in report.rows] == [1, 1, 1]


def test_reports_survive_json(make: Make) -> None:
    report = evaluate(at_second, ID, make=make, episodes=2)
    values = json.loads(json.dumps(report.to_json()))
    assert Report.from_json(values) == report and Report.from_json(values).origin == report.origin
    with pytest.raises(ConfigError, match="a report of an evaluation has 'untold', and this one has not"):
        Report.from_json({name: value for name, value in values.items() if name != "untold"})
    assert values["id"] == ID and values["protocol"] == 1 and values["episodes"] == 2
    assert values["world"] and values["origin"]["torch"] and values["origin"]["version"]
    assert values["return"]["mean"] == 0.9 and values["rows"][1]["return"] == pytest.approx(0.9)
    changed = values["changed"]
    assert set(changed.pop("world")) == {"config", "dtype"}
    assert changed == {"task": "Obeys", "max_episode_steps": 3} and values["untold"] == []
    assert values["task"] == {"class": "Obeys", "length": 3, "storm_at": -1}


def test_baselines_of_other_conditions_are_refused(make: Make) -> None:
    report = evaluate(silent, ID, make=make, episodes=2, baselines=False)
    with pytest.raises(ConfigError, match="they were not played"):
        evaluate(silent, ID, make=make, episodes=2, baselines=report)
    other = replace(report, conditions=replace(report.conditions, world="0123"), baselines={"silent": ()})
    with pytest.raises(ConfigError, match="world was '0123', here it is"):
        evaluate(silent, ID, make=make, episodes=2, baselines=other)


def test_conditions_tell_worlds_apart_that_share_their_weights(make: Make, small_world: World) -> None:
    sampler = replace(small_world.config.sampler, steps=(1000,))
    quick = small_world.replaced(config=replace(small_world.config, sampler=sampler))
    report = evaluate(silent, ID, make=make, episodes=2)
    with pytest.raises(ConfigError, match="changed was"):
        evaluate(silent, ID, make=lambda: make(world=quick), episodes=2, baselines=report)


def test_baselines_are_not_used_again_where_a_name_is_all_that_is_known(make: Make) -> None:
    """Two functions may have one name, and settings of a task that is no dataclass are unknown."""

    class Plain:
        def __getattr__(self, name: str) -> Any:
            return getattr(Obeys(), name)

    def bright(frames: Any, texts: Any) -> Any:
        return np.full(len(texts), 0.5)

    for task, untold in ((GoalTask(reward_fn=bright), "reward_fn"), (Plain(), "task")):
        report = evaluate(silent, ID, make=lambda task=task: make(task=task), episodes=2, baselines=False)
        assert report.conditions.untold == [untold]
        earlier = replace(report, baselines={name: report.rows for name in evaluation_report.SCALE})
        with pytest.raises(ConfigError, match=f"{untold} may have been"):
            evaluate(silent, ID, make=lambda task=task: make(task=task), episodes=2, baselines=earlier)


def test_a_wrapper_that_ends_episodes_early_is_refused(make: Make) -> None:
    class Impatient(gym.Wrapper[Any, Any, Any, Any]):
        def step(self, action: Any) -> Any:
            observation, reward, terminated, _, info = self.env.step(action)
            return observation, reward, terminated, True, info

    with pytest.raises(ConfigError, match="a wrapper ended the episode of seed 0 after 1 of 3 steps"):
        evaluate(silent, ID, make=lambda: Impatient(make()), episodes=2)


def test_what_cannot_be_evaluated_is_named(make: Make, small_world: World) -> None:
    with pytest.raises(ConfigError, match="did you mean 'LongLive/TinyGoal-v0'"):
        evaluate(silent, "LongLive/TinyGaol-v0")
    with pytest.raises(ConfigError, match="expected a whole number from 2 on"):
        evaluate(silent, ID, make=make, episodes=1)
    with pytest.raises(ConfigError, match="the policy is 'silent'"):
        evaluate("silent", ID, make=make)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="LongLive/Tiny-v0 has no task"):
        evaluate(silent, "LongLive/Tiny-v0", make=lambda: gym.make("LongLive/Tiny-v0", world=small_world))
    others = (
        lambda: gym.make("LongLive/Tiny-v0", world=small_world),
        lambda: PromptEnv(small_world, task=Obeys()),
        lambda: gym.make_vec(ID, num_envs=2, world=small_world),
    )
    for other in others:
        with pytest.raises(ConfigError, match="make returned"):
            evaluate(silent, ID, make=other)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="make returned None"):
        evaluate(silent, ID, make=lambda: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(PromptError, match="the prompt is 3"):
        evaluate(lambda observation, info: 3, ID, make=make)


def test_the_env_is_closed_whatever_goes_wrong(make: Make, small_world: World) -> None:
    class Closes(gym.Wrapper[Any, Any, Any, Any]):
        def close(self) -> None:
            closed.append(self.spec.id)  # type: ignore[union-attr]
            super().close()

    closed: list[str] = []
    report = evaluate(silent, ID, make=lambda: Closes(make()), episodes=2, baselines=False)
    with pytest.raises(ConfigError, match="make returned"):
        evaluate(silent, ID, make=lambda: Closes(gym.make("LongLive/Tiny-v0", world=small_world)))
    with pytest.raises(ConfigError, match="they were not played"):
        evaluate(silent, ID, make=lambda: Closes(make()), episodes=2, baselines=report)
    assert closed == [ID, "LongLive/Tiny-v0", ID]


def test_a_baseline_that_fails_costs_no_episode_of_the_policy(make: Make) -> None:
    class Empty(Obeys):
        def open(self, rng: np.random.Generator, prompt: str | None, options: Mapping[str, Any]) -> Opening:
            return replace(super().open(rng, prompt, options), state={"goal": "nothing at all"})

    def unasked(observation: Any, info: Mapping[str, Any]) -> str:
        raise AssertionError("the policy has been asked")

    with pytest.raises(ConfigError, match="names nothing that a scene can show"):
        evaluate(unasked, ID, episodes=2, make=lambda: make(task=Empty()))


def test_an_agent_has_both_methods(make: Make) -> None:
    class Actor:
        def act(self, observation: Any, info: Any) -> str:
            return ""

    with pytest.raises(ConfigError, match=r"or an agent with reset\(env, info\) and act"):
        evaluate(Actor(), ID, episodes=2, make=make)  # type: ignore[arg-type]


def test_an_agent_asks_once() -> None:
    info = {"prompt": "a red cat jumps in the city in the rain", "goal": "a red cat on the moon"}
    asked = asks(None, info)
    assert asked == "a red cat jumps on the moon in the rain"
    assert asks(None, {**info, "prompt": asked}) == ""
