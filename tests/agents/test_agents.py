"""What agents do with what they see, and how they are found by name."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from longlive_env.agents import (
    AGENTS,
    Agent,
    GoalAgent,
    RandomAgent,
    ScriptedAgent,
    Seated,
    generator,
    look_ahead,
    make_agent,
    play_episode,
    seat,
)
from longlive_env.cli.parser import AGENT_NAMES
from longlive_env.engine.config import RecacheMode
from longlive_env.engine.world import World
from longlive_env.envs.prompt_env import PromptEnv
from longlive_env.envs.seat import Env, Info
from longlive_env.errors import AgentError, ConfigError, LongLiveError
from longlive_env.frames import Frames
from longlive_env.recording import digest
from longlive_env.scenario import parse_scenario, play

CAT, CAR = "a red cat jumps in the city", "a blue car moves left on the beach"


@pytest.fixture
def env(small_world: World) -> PromptEnv:
    return PromptEnv(small_world)


def test_the_commands_name_every_agent() -> None:
    """They write the names down themselves, as `--help` would have to load torch to ask."""
    takes = {True: ":{}", False: "[:{}]"}
    known = [name + takes[kind.needs].format(kind.takes) * bool(kind.takes) for name, kind in AGENTS.items()]
    assert ", ".join([*known, "or your own file.py:ClassName"]) == AGENT_NAMES


def test_random_prompts_follow_the_seed_of_the_env(env: PromptEnv) -> None:
    runs = [play_episode(env, RandomAgent(patience=2), seed=seed, steps=6).prompts for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]
    agent = RandomAgent(patience=2)
    again = [play_episode(env, agent, seed=seed, steps=6).prompts for seed in (1, None, 1, None)]
    assert again[0] == runs[0] == again[2] and again[1] == again[3] != again[0]


def test_an_agents_random_numbers_take_nothing_from_the_env(env: PromptEnv) -> None:
    env.reset(seed=5)
    state = env.np_random.bit_generator.state
    first, second = generator(env).random(4), generator(env).random(4)
    assert env.np_random.bit_generator.state == state
    assert np.array_equal(first, second)
    assert not np.array_equal(first, env.np_random.random(4))


def test_each_episode_since_a_seed_has_random_numbers_of_its_own(env: PromptEnv) -> None:
    env.reset(seed=5)
    drawn = [generator(env).random(200)]
    for _ in range(2):
        env.reset()
        drawn.append(generator(env).random(200))
    assert len(np.unique(np.concatenate(drawn))) == 600


def brightness(frames: Frames, texts: Sequence[str]) -> list[float]:
    """A stand-in for a reward, which tells any two pictures apart."""
    return [float(block.mean()) / 255 for block in frames]


@pytest.mark.parametrize("prompt", [CAT, CAR])
def test_what_is_seen_ahead_is_what_comes(env: PromptEnv, prompt: str) -> None:
    env.reset(seed=3, options={"prompt": CAT})
    before = digest(env.rollout.fork().step().numpy())
    seen = look_ahead(env.rollout, ["", prompt, CAR], 2)
    assert digest(env.rollout.fork().step().numpy()) == before  # the world has not moved
    env.step(prompt)
    frames = env.step("")[0]
    assert np.abs(seen[1].astype(int) - frames).max() <= 1  # rounding differs with the batch
    assert np.array_equal(seen[0], seen[1]) == (prompt == CAT)


def test_a_goal_agent_takes_what_turns_out_best(env: PromptEnv) -> None:
    agent = GoalAgent("a snail on the moon", horizon=2, enough=1.1, margin=0.0, reward_fn=brightness)
    observation, info = env.reset(seed=3, options={"prompt": CAT})
    agent.reset(env, info)
    choices = GoalAgent.candidates(agent, CAT)
    assert choices[:2] == [CAT, "a red snail jumps on the moon on a clear day"] and len(set(choices)) == 5
    agent.reset(env, info)  # the same random numbers again
    chosen = agent.act(observation, info)
    found = brightness(look_ahead(env.rollout, choices, 2), [])
    best = int(np.argmax(found))
    assert chosen == (choices[best] if best else "")
    info = env.step(chosen)[-1]
    if chosen:  # it waits until what it has seen has come
        assert agent.act(observation, info) == ""


def test_a_goal_agent_leaves_well_alone(env: PromptEnv) -> None:
    observation, info = env.reset(seed=3, options={"prompt": CAT})
    for agent in (
        GoalAgent("a snail on the moon", enough=0.0, reward_fn=brightness),
        GoalAgent("a snail on the moon", enough=1.1, margin=1.0, reward_fn=brightness),
    ):
        agent.reset(env, info)
        assert agent.act(observation, info) == ""


def test_a_goal_agent_follows_a_goal_that_moves_on(env: PromptEnv) -> None:
    observation, info = env.reset(seed=3, options={"prompt": CAT})
    agent = GoalAgent(horizon=1, branches=2, enough=1.1, margin=-1.0, reward_fn=brightness)
    agent.reset(env, {**info, "goal": "a snail"})
    agent.act(observation, {**info, "goal": "a snail"})
    agent.act(observation, {**info, "goal": "a ghost"})
    assert "ghost" in agent.candidates(CAT)[1]


def test_a_goal_agent_needs_a_goal(env: PromptEnv, small_world: World) -> None:
    with pytest.raises(AgentError, match="there is no goal"):
        play_episode(env, GoalAgent(), seed=1)
    with pytest.raises(ConfigError, match="names nothing"):
        GoalAgent("hello")
    with pytest.raises(AgentError, match="horizon is 0"):
        GoalAgent("a snail", horizon=0)
    agent = GoalAgent(horizon=1, branches=2)
    episode = play_episode(PromptEnv(small_world, task="goal"), agent, seed=1, steps=2)
    assert len(episode.prompts) == 3


def test_a_goal_in_words_of_another_world_is_tried_as_it_is(small_world: World) -> None:
    agent = GoalAgent("a lighthouse with a lamp", reward_fn=brightness)
    assert agent.candidates(CAT) == [CAT, "a lighthouse with a lamp"]


class Notes:
    """Writes down what it is told, and asks for a car in block 2."""

    def __init__(self) -> None:
        self.infos: list[Info] = []
        self.resets = 0

    def reset(self, env: Env, info: Info) -> None:
        self.resets += 1
        assert info["block"] == 0 and seat(env).rollout.prompts == [CAT]

    def act(self, observation: Frames, info: Info) -> str:
        assert observation.shape == (12, 32, 48, 3)
        self.infos.append(info)
        return CAR if info["block"] == 1 else ""


@pytest.mark.parametrize("recache", ["full", "none"])
@pytest.mark.parametrize("given", [False, True], ids=["prompt", "frames"])
def test_a_seat_in_a_scenario_is_like_an_env(small_world: World, given: bool, recache: RecacheMode) -> None:
    config = small_world.config
    plan = parse_scenario(f"name: w\nseed: 9\nduration: 5 blocks\nprompt: {CAT}\n", "w.yaml").plan(config)
    clip = np.zeros((9, 32, 48, 3), np.uint8) if given else None
    plan, agent = dataclasses.replace(plan, start=clip, recache=recache), Notes()
    blocks = list(play(small_world, plan, steer=Seated(agent, small_world, plan.seed)))
    assert [block.prompt for block in blocks] == [CAT, CAT, CAR, CAR, CAR] and agent.resets == 1
    env, options = PromptEnv(small_world, recache=recache), {"frames": clip} if given else {}
    infos = [env.reset(seed=0, options={"prompt": CAT, **options})[1]]
    infos += [env.step(CAR if block == 1 else "")[-1] for block in range(3)]
    assert all(info.pop("world_seed") is not None for info in infos)  # an agent has no use for it
    assert [dict(info) for info in agent.infos] == infos


@pytest.mark.parametrize(
    ("recache", "recached"), [("full", [False, True, True, True, False]), ("none", [False] * 5)]
)
def test_every_block_of_a_blend_is_recached(small_world: World, recache: str, recached: list[bool]) -> None:
    text = f"name: w\nduration: 6 blocks\nlive: true\nrecache: {recache}\nprompt: {CAT}\n"
    text += f"timeline: [{{at: block 1, prompt: {CAR}, blend: 3 blocks}}]\n"
    plan, agent = parse_scenario(text, "w.yaml").plan(small_world.config), Notes()
    blocks = list(play(small_world, plan, steer=Seated(agent, small_world, plan.seed)))
    assert [block.prompt for block in blocks] == [CAT, *[CAR] * 5]
    assert [info["recached"] for info in agent.infos] == recached
    assert [block.recached for block in blocks] == [*recached, False]


@pytest.mark.parametrize("live", [False, True])
def test_only_a_live_timeline_goes_on_under_an_agent(small_world: World, live: bool) -> None:
    text = f"name: w\nduration: 5 blocks\nlive: {str(live).lower()}\nprompt: {CAT}\ntimeline:\n"
    text += "  - {at: block 1, weather: at night}\n  - {at: block 3, weather: in the rain}\n"
    plan = parse_scenario(text, "w.yaml").plan(small_world.config)
    agent = Notes()
    prompts = [block.prompt for block in play(small_world, plan, steer=Seated(agent, small_world, 0))]
    if live:
        assert prompts == [CAT, f"{CAT}, at night", CAR, f"{CAR}, in the rain", f"{CAR}, in the rain"]
    else:
        assert prompts == [CAT, CAT, CAR, CAR, CAR]


def test_agents_need_a_world() -> None:
    import gymnasium as gym

    with pytest.raises(AgentError, match="runs no prompt world"):
        seat(gym.make("CartPole-v1"))


def test_agents_by_name() -> None:
    assert isinstance(make_agent("random"), RandomAgent)
    assert isinstance(make_agent("goal:a red robot at night"), GoalAgent)
    assert set(AGENTS) == {"random", "scripted", "goal", "llm", "sb3"}


OWN = """\
from __future__ import annotations
from dataclasses import dataclass
@dataclass
class Mine:
    patience: int = 3
    def reset(self, env, info): ...
    def act(self, observation, info): return ""
class Other: ...
class Asks(Mine):
    def __init__(self, what): ...
class Fails(Mine):
    def __init__(self): raise RuntimeError("no weights")
class Leaves(Mine):
    def __init__(self): raise SystemExit(3)
class Blind(Mine):
    def act(self): return ""
"""


def test_agents_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(OWN, encoding="utf-8")
    agent: Agent = make_agent(f"{file}:Mine")
    assert agent.act(np.zeros(1, np.uint8), {}) == ""
    (tmp_path / "beside_it.py").write_text("SAYS = 'hello'", encoding="utf-8")
    file.write_text(f"{OWN}from beside_it import SAYS\n", encoding="utf-8")
    assert make_agent(f"{file}:Mine") is not None


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("randm", "there is no agent 'randm'; did you mean 'random'"),
        ("zzz", "there is no agent 'zzz'; there are random, scripted, goal, llm, sb3. One of your own is"),
        ("random:x", "'random' takes nothing after its name"),
        ("goal", "'goal' needs GOAL; write goal:GOAL"),
        ("goal:hello", "names nothing"),
        ("sb3:none.zip", "cannot read none.zip: No such file"),
        ("DIR/own.py", "own.py may hold several agents; name one, as in"),
        ("DIR/none.py:Mine", "there is no file"),
        ("DIR/own.py:Mien", "has no agent 'Mien'; did you mean 'Mine'"),
        ("DIR/own.py:Other", "Other is not an agent; it lacks reset"),
        ("DIR/own.py:Asks", "cannot be made without arguments"),
        ("DIR/own.py:Fails", "own.py:Fails cannot be made: RuntimeError: no weights"),
        ("DIR/own.py:Leaves", "own.py:Leaves cannot be made: SystemExit: 3"),
        ("DIR/own.py:Blind", r"act\(observation, info\) cannot be called: too many positional arguments"),
        ("DIR/broken.py:Mine", "cannot be run: SyntaxError"),
    ],
)
def test_wrong_names(spec: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    (tmp_path / "broken.py").write_text("class", encoding="utf-8")
    with pytest.raises(LongLiveError, match=message):
        make_agent(spec.replace("DIR", str(tmp_path)))


def test_scripted_prompts_skip_what_nobody_can_know(env: PromptEnv) -> None:
    text = f"name: w\nduration: 9 blocks\nprompt: {CAT}\ntimeline:\n"
    text += f"  - {{at: block 2, when: weather == rain, then: x}}\n  - {{at: block 4, prompt: {CAR}}}\n"
    agent = ScriptedAgent(parse_scenario(text, "w.yaml"))
    agent.reset(env, env.reset(seed=1)[1])
    assert [agent.act(np.zeros(1, np.uint8), {"block": block}) for block in range(5)] == ["", "", "", CAR, ""]


def test_scripts_by_name_follow_a_scenario(env: PromptEnv, tmp_path: Path) -> None:
    file = tmp_path / "two.yaml"
    file.write_text(
        f"name: two\nduration: 4 blocks\nprompt: {CAT}\ntimeline:\n  - {{at: block 2, prompt: {CAR}}}\n",
        encoding="utf-8",
    )
    agent = ScriptedAgent.from_scenario(str(file))
    for script in (make_agent(f"scripted:{file}"), agent):
        episode = play_episode(env, script, options={"prompt": CAT}, steps=3)
        assert episode.prompts == (CAT, CAT, CAR, CAR)
    with pytest.raises(LongLiveError, match="did you mean 'demo'"):
        make_agent("scripted:demoo")
