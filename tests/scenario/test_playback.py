"""Playing and replaying: embeddings on their way, choices and branches that were logged, and the score."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from longlive_env.engine.text_encoder import UMT5Encoder
from longlive_env.engine.text_encoding import TextEncoding
from longlive_env.engine.world import World
from longlive_env.errors import PromptError, RecordingError, ScenarioError
from longlive_env.frames import Frames
from longlive_env.recording import LogHeader, Recording, digest, read_log
from longlive_env.scenario import Mix, Plan, Reading, parse_scenario, play, replay_plan, sight_of
from longlive_env.viewer.session import Session

CAT, CAR = "a red cat jumps in the city", "a blue car moves left on the beach"
STORY = f"""\
name: walk
seed: 3
duration: 9 blocks
prompt: {CAT}
timeline:
  - {{at: block 1, choose: [{{weather: in the rain}}, {{weather: at night}}, {{weather: in the fog}}]}}
  - {{at: block 3, when: weather == rain, then: {CAR}, else: {{setting: on the moon, blend: 3 blocks}}}}
goals:
  - {{name: rain, when: weather == rain, points: 5, hold: 2}}
  - {{name: late snow, when: weather == snow, after: block 4}}
  - {{name: early fog, when: weather == fog, by: block 3}}
  - {{name: snow, when: weather == snow, points: -2}}
"""


def plan_of(world: World, text: str = STORY) -> Plan:
    return parse_scenario(text, "walk.yaml").plan(world.config)


class Told:
    """A sight that says in turn what it is told to."""

    def __init__(self, *values: str) -> None:
        self._values = iter(values)

    def __call__(self, frames: Frames) -> Reading:
        return {"weather": next(self._values)}


def test_a_blend_mixes_the_embeddings(small_world: World) -> None:
    a, b = small_world.encode_prompt([CAT]), small_world.encode_prompt([CAR])
    assert Mix.of(CAT).embedding(small_world) is None  # the world encodes it
    assert torch.allclose(Mix.of(CAT).towards(CAR, 0.25).embedding(small_world), 0.75 * a + 0.25 * b)
    cue = f"timeline: [{{at: block 2, prompt: {CAR}, blend: 2 blocks}}]"
    text = f"name: b\nduration: 5 blocks\nprompt: {CAT}\n{cue}"
    plan = plan_of(small_world, text)
    played = [block.frames for block in play(small_world, plan)]
    rollout = small_world.start(CAT, seed=0)
    frames = [rollout.step(), rollout.step()]
    for mixed in ((a + b) / 2, b):  # recached at each
        rollout.switch_prompt(CAR, text=mixed)
        frames.append(rollout.step())
    frames.append(rollout.step())
    assert [digest(one) for one in played] == [digest(one[0].numpy()) for one in frames]
    agreed = play(small_world, replace(plan, live=True), steer=lambda rollout, block, prompt: prompt)
    assert [digest(block.frames) for block in agreed] == [digest(one) for one in played]


def test_goals_and_branches_go_by_what_is_seen(small_world: World) -> None:
    seen = Told("clear", "rain", "rain", "fog", "snow", "snow", "snow", "snow", "snow")
    blocks = list(play(small_world, plan_of(small_world), seen))
    assert blocks[3].prompt == CAR and "when weather == rain: yes" in blocks[3].notes
    assert {block.index: [goal.name for goal in block.reached] for block in blocks if block.reached} == {
        2: ["rain"],
        4: ["late snow", "snow"],
    }
    assert blocks[4].notes == ("goal late snow: +1", "goal snow: -2")


def recorded(world: World, plan: Plan, seen: Told | None, folder: Path) -> Path:
    header = LogHeader(
        "walk", "tiny", plan.seed, plan.recache, 32, 48, 16, "cpu", 1, {}, goals=plan.logged_goals
    )
    with Recording(folder, header) as recording:
        for block in play(world, plan, seen):
            mix = None if block.mix.is_pure else dict(block.mix.weights)
            recording.add(
                block.frames,
                block.prompt,
                mix=mix,
                notes=block.notes,
                remarks=block.remarks,
                reached=block.reached,
            )
    return folder / "actions.jsonl"


@pytest.mark.parametrize("weather", ["rain", "fog"])
def test_a_replay_decides_nothing_anew(small_world: World, tmp_path: Path, weather: str) -> None:
    log = read_log(recorded(small_world, plan_of(small_world), Told(*[weather] * 9), tmp_path / "run"))
    assert any(block.mix for block in log.blocks) == (weather == "fog")
    again = replay_plan(log, small_world.config)
    assert not again.looks
    replayed = read_log(recorded(small_world, again, None, tmp_path / "again"))
    assert replayed == log
    assert any("choice at block 1" in note for block in replayed.blocks for note in block.notes)
    told = [(block.block, goal.name) for block in replayed.blocks for goal in block.reached]
    assert (told[:1] == [(1, "rain")]) == (weather == "rain")


@pytest.mark.parametrize("viewed", [False, True])
def test_a_text_encoder_that_is_freed_is_loaded_once_for_all_prompts(
    small_world: World, viewed: bool
) -> None:
    loads, encoder = list[int](), small_world.text_encoding.model
    assert encoder is not None

    def load() -> UMT5Encoder:
        loads.append(1)
        return encoder

    world = copy_of(small_world, TextEncoding(load, freed=True))
    told = f"name: two\nduration: 3 blocks\nprompt: {CAT}\ntimeline:\n  - {{at: block 1, prompt: {CAR}}}\n"
    plan = plan_of(world, told)
    if viewed:
        session = Session(world, plan)
        shown = [session.advance().beat.prompt for _ in range(3)]
    else:
        shown = [block.prompt for block in play(world, plan)]
    assert shown == [CAT, CAR, CAR] and len(loads) == 1
    world.encode_prompt(["a green ghost in the forest"])  # nobody could know
    assert len(loads) == 2


def copy_of(world: World, encoding: TextEncoding) -> World:
    """The same world with another source of embeddings."""
    return World(world.config, world.transformer, world.codec, encoding, world.tokenizer)


def test_a_damaged_mix(small_world: World, tmp_path: Path) -> None:
    path = recorded(small_world, plan_of(small_world), Told(*["fog"] * 9), tmp_path)
    text = path.read_text(encoding="utf-8")
    for old, new in (('"mix": {', '"mix": {"x": 7, '), ('"mix": {', '"prompt": "x", "mix": {')):
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        with pytest.raises(RecordingError, match="block 3 of the log has the mix"):
            replay_plan(read_log(path), small_world.config)


def test_notes_that_are_none(small_world: World, tmp_path: Path) -> None:
    path = recorded(small_world, plan_of(small_world), Told(*["fog"] * 9), tmp_path)
    text = path.read_text(encoding="utf-8").replace('"notes": ["choice', '"notes": ["\\u0007", "choice', 1)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecordingError, match=r"block 1 of the log has the notes \['\\x07', 'choice"):
        replay_plan(read_log(path), small_world.config)


@pytest.mark.parametrize(
    ("timeline", "place"),
    [
        (f"[{{at: block 2, prompt: {'cat ' * 40}}}]", "walk.yaml:4"),
        (
            f"\n  - {{at: block 1, action: waits}}\n  - {{at: block 2, setting: {'in a city ' * 9}in town}}",
            "walk.yaml:6",
        ),
    ],
)
def test_what_a_world_cannot_read_is_said_with_its_place(
    small_world: World, timeline: str, place: str
) -> None:
    text = f"name: b\nduration: 5 blocks\nprompt: {CAT}\ntimeline: {timeline}"
    with pytest.raises(PromptError, match=f"{place}: the prompt .* is longer than the 32 tokens"):
        play(small_world, plan_of(small_world, text))
    with pytest.raises(PromptError, match=r"^the prompt holds the control character"):
        play(small_world, replace(plan_of(small_world, text), prompt="a\acat", place=""))


def test_a_world_without_a_probe_cannot_judge(small_world: World) -> None:
    with pytest.raises(ScenarioError, match=r"no probe for .* of world 'tiny', whose vocabulary is ''"):
        sight_of(replace(small_world.config, vocabulary=""))


def test_the_probe_reads_the_short_first_block_too(small_world: World) -> None:
    see = sight_of(small_world.config)
    rollout = small_world.start(CAT)
    for _ in range(2):
        reading = see(rollout.step()[0].numpy())
        assert set(reading) == {"subject", "colour", "setting", "weather", "action"}
