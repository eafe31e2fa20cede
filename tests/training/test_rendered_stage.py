"""What the renderer teaches a small world: places of first blocks, and takes that go on from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_stages import CONFIG, follow, save_student_and_teacher

from longlive_env.engine.config import to_dict
from longlive_env.engine.noise import WorldNoise
from longlive_env.engine.viewpoint import viewpoints
from longlive_env.engine.world import World
from longlive_env.errors import ConfigError
from longlive_env.tiny.captions import caption
from longlive_env.tiny.scene import SETTINGS, WEATHERS, Take, block_start
from longlive_env.training.clips import scene_of_labels
from longlive_env.training.follow_stage import FollowStage
from longlive_env.training.latents import FIRST_PLACES, encode_blocks, encode_each
from longlive_env.training.places import PLAIN, USUAL_HAZE, weighed
from longlive_env.training.prompts import TinyPrompts
from longlive_env.training.rendered_stage import Camera
from longlive_env.training.rollout_stage import Generated

FRAMES = CONFIG.frames_per_block


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rendered")
    save_student_and_teacher(path, CONFIG)
    return path


def test_first_blocks_come_with_what_their_prompts_may_show(folder: Path) -> None:
    stage = follow(folder)
    seeds = [5, 2, 11]
    made = stage.open(stage.build().generator, seeds, steps=2)
    assert made.latents.shape[1] == FRAMES
    entries = [seed % 4 for seed in seeds]
    bank, places = stage.banks["train"], [FIRST_PLACES[place] for place in made.told.tolist()]
    assert places == places_of(seeds)
    drawn = bank.latents[entries, made.told].float()
    torch.testing.assert_close(made.errors, (made.latents - drawn).square().flatten(1).mean(dim=1))
    labels = bank.labels[entries, 0]
    prompts = [
        caption(scene_of_labels(row), np.random.default_rng(seed), "train")
        for row, seed in zip(labels, seeds, strict=True)
    ]
    torch.testing.assert_close(made.text, stage.world.encode_prompt(prompts), rtol=1e-4, atol=1e-5)


def test_a_bank_of_places_shows_one_scene_from_each_of_them(folder: Path) -> None:
    stage = follow(folder)
    bank = stage.banks["train"]
    for index, place in enumerate(FIRST_PLACES):
        take = Take(((0, scene_of_labels(bank.labels[1, 0])),), place)
        expected = encode_blocks(take, 0, 1, stage.world.codec)[0]
        torch.testing.assert_close(bank.latents[1, index].float(), expected, rtol=0, atol=2e-3)


def test_first_blocks_of_held_out_scenes_are_measured(folder: Path) -> None:
    stage = follow(folder)
    found = stage.evaluate(stage.build())
    assert found["held_out_opening"] > 0 and 0 <= found["held_out_placed"] <= 1
    bank = stage.banks["held_out"].latents.float()
    told = [FIRST_PLACES.index(int(place)) for place in places_of([0, 1])]
    elsewhere = [(place + 1) % len(FIRST_PLACES) for place in told]
    for shown, placed in ((told, 1), (elsewhere, 0)):
        made = bank[[0, 1], shown]
        stage.roll_out = lambda *_, made=made, **__: Generated(  # type: ignore[method-assign]
            made, torch.zeros(2, 1, 1), torch.ones(2, FRAMES)
        )
        found = stage.evaluate(stage.build())
        assert found["held_out_placed"] == placed and (found["held_out_opening"] == 0) == bool(placed)
        takes = stage.open(stage.build().generator, [0, 1], 2, "held_out").takes()
        assert [take.camera for take in takes] == [FIRST_PLACES[place] for place in shown]


def rendered(stage: FollowStage, blocks: int) -> torch.Tensor:
    """Blocks of the takes under way from their prompts and cameras [B, blocks * F, C, h, w]."""
    stream, clips = stage.takes.stream, []
    assert stream is not None
    for seed, switch, camera in zip(stream.seeds, stream.switches, stage.cameras, strict=True):
        before, after = stage.prompts.scenes(np.random.default_rng(seed), "train")
        segments = ((0, before), (block_start(switch), after))
        take = Take(segments, camera.first, (0.0, camera.offset))
        clips.append(encode_blocks(take, 0, blocks, stage.world.codec).flatten(0, 1))
    return torch.stack(clips)


def chunks(stage: FollowStage, monkeypatch: pytest.MonkeyPatch) -> tuple[list[float], list[torch.Tensor]]:
    """What two chunks of a take, of three blocks and then two, are off by; and latents as generated."""
    generator, made, errors = stage.build().generator, list[torch.Tensor](), []
    chunk = stage.takes.chunk

    def watched(*given: Any) -> Any:
        clips = chunk(*given)
        made.append(clips.latents)
        return clips

    monkeypatch.setattr(stage.takes, "chunk", watched)
    for step in range(2):
        errors.append(stage.following(generator, stage.batch(step)).item())
    return errors, made


@pytest.mark.parametrize("trust", [0.0, 1e9], ids=["renderer", "generator"])
def test_takes_remember_whom_they_trust(folder: Path, monkeypatch: pytest.MonkeyPatch, trust: float) -> None:
    stage = follow(folder, switch_share=1.0, trust=trust)
    _, made = chunks(stage, monkeypatch)
    stream = stage.takes.stream
    assert stream is not None and stream.age == 5
    kept = stream.rollout.state.history
    expected = torch.cat((made[0], made[1][:, FRAMES:]), dim=1) if trust else rendered(stage, 5)
    torch.testing.assert_close(kept, expected[:, -kept.shape[1] :], rtol=0, atol=2e-3)
    torch.testing.assert_close(stream.tail, kept[:, -FRAMES:], rtol=0, atol=0)


def test_a_world_that_has_lost_its_way_goes_on_from_the_renderers_block(folder: Path) -> None:
    """Each world for itself: of two first blocks the threshold lets the nearer one pass."""

    def first(trust: float) -> tuple[FollowStage, torch.Tensor]:
        stage = follow(folder, blocks=2, overlap=1, length=2, trust=trust)
        stage.following(stage.build().generator, stage.batch(0))
        assert stage.takes.stream is not None
        return stage, stage.takes.stream.rollout.state.history[:, -2 * FRAMES : -FRAMES]

    _, made = first(1e9)
    stage, drawn = first(0.0)
    torch.testing.assert_close(drawn, rendered(stage, 1), rtol=0, atol=2e-3)
    assert stage.takes.stream is not None
    haze = stage._haze(stage._shows(stage.takes.stream, 0))
    shares = (made - drawn).square().flatten(1).mean(dim=1) / haze
    nearer, farther = shares.argsort().tolist()
    _, kept = first(shares.mean().item())
    assert torch.equal(kept[nearer], made[nearer]) and torch.equal(kept[farther], drawn[farther])
    assert not torch.equal(made[farther], drawn[farther])


def places_of(seeds: list[int]) -> list[float]:
    """Places that the noise of first blocks tells of, in pixels."""
    noise = WorldNoise(seeds).block(CONFIG.block_shape, 2)[0]
    return [float(FIRST_PLACES[at]) for at in viewpoints(noise, len(FIRST_PLACES)).tolist()]


def walk_that_turns(stage: FollowStage, same_setting: bool) -> int:
    """A seed whose take walks before its prompt changes."""
    for seed in range(1000):
        before, after = stage.prompts.scenes(np.random.default_rng(seed), "train")
        if (before.setting == after.setting) == same_setting and before.action in ("left", "right"):
            return seed
    raise AssertionError("no such take")


def lead(stage: FollowStage, blocks: Mapping[int, torch.Tensor]) -> None:
    """Let blocks of some ages be given ones [1, F, C, h, w], whatever the generator makes of them."""
    compare = stage.compare
    stage.compare = lambda stream, made: compare(  # type: ignore[method-assign]
        stream, blocks.get(stream.age, made)
    )


@pytest.mark.parametrize("place", FIRST_PLACES)
def test_a_take_is_seen_from_the_place_that_its_first_block_resembles(folder: Path, place: int) -> None:
    stage = follow(folder, clips=1)
    batch = stage.batch(0)
    before, _ = stage.prompts.scenes(np.random.default_rng(int(batch["seeds"])), "train")
    lead(stage, {0: encode_blocks(Take(((0, before),), place), 0, 1, stage.world.codec)})
    stage.following(stage.build().generator, batch)
    assert stage.cameras == [Camera(float(place))]


@pytest.mark.parametrize("place", FIRST_PLACES)
def test_a_new_setting_is_seen_from_the_place_that_its_first_block_resembles(
    folder: Path, place: int
) -> None:
    stage = follow(folder, clips=1, blocks=5, switch_share=1.0)
    seed = walk_that_turns(stage, same_setting=False)
    batch, generator = {"steps": torch.tensor(2), "seeds": torch.tensor([seed])}, stage.build().generator
    before, after = stage.prompts.scenes(np.random.default_rng(seed), "train")
    shown = encode_blocks(Take(((0, after),), place), 0, 1, stage.world.codec)
    turn = stage.takes.begin(generator, [seed]).switches[0]
    lead(stage, {turn: shown})
    stage.following(generator, batch)
    drawn = rendered(stage, turn + 1)[0, -FRAMES:]
    torch.testing.assert_close(drawn[-1], shown[0, -1], rtol=0, atol=1e-3)  # where the pose has changed, too
    unmoved = encode_blocks(Take(((0, before),), stage.cameras[0].first), 0, turn, stage.world.codec)
    torch.testing.assert_close(rendered(stage, turn)[0], unmoved.flatten(0, 1), rtol=0, atol=1e-3)


def test_any_other_change_leaves_the_camera(folder: Path) -> None:
    stage = follow(folder, clips=1, blocks=5, switch_share=1.0)
    seed = walk_that_turns(stage, same_setting=True)
    stage.following(stage.build().generator, {"steps": torch.tensor(2), "seeds": torch.tensor([seed])})
    stream = stage.takes.stream
    assert stream is not None and stream.switches[0] < stream.age
    assert [camera.offset for camera in stage.cameras] == [0.0]


def test_a_take_that_keeps_its_prompt_ends_without_a_turn(folder: Path) -> None:
    stage = follow(folder, switch_share=0.0)
    model = stage.build()
    for step in range(2):
        stage.following(model.generator, stage.batch(step))
    assert stage.takes.stream is not None and stage.takes.stream.age == stage.options.length
    assert [camera.offset for camera in stage.cameras] == [0.0, 0.0]


def test_the_renderer_keeps_its_precision_under_autocast(folder: Path) -> None:
    stage = follow(folder)
    stage.following(stage.build().generator, stage.batch(0))
    stream = stage.takes.stream
    assert stream is not None
    takes, codec = [stage._as_take(stream, 0, stage.cameras[0])], stage.world.codec
    expected = encode_each(takes, 1, codec)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(encode_each(takes, 1, codec), expected)


@pytest.mark.parametrize("trust", [0.0, 1e9], ids=["renderer", "generator"])
def test_new_blocks_count_but_those_that_begin_a_take(
    folder: Path, monkeypatch: pytest.MonkeyPatch, trust: float
) -> None:
    stage = follow(folder, trust=trust)
    errors, made = chunks(stage, monkeypatch)
    truth, stream = rendered(stage, 5), stage.takes.stream
    assert stream is not None
    for error, latents, blocks in zip(errors, made, (range(1, 3), range(3, 5)), strict=True):
        new = latents[:, FRAMES:]  # without the block that begins the take, or the overlap
        drawn = truth[:, blocks.start * FRAMES : blocks.stop * FRAMES]
        distances = (new - drawn).square().unflatten(1, (-1, FRAMES)).flatten(2).mean(dim=2)
        haze = torch.stack([stage._haze(stage._shows(stream, block)) for block in blocks], dim=1)
        expected = (distances * (USUAL_HAZE + PLAIN) / (haze + PLAIN)).mean().item()
        assert error == pytest.approx(expected, rel=1e-5)


def test_the_first_block_of_a_new_setting_counts_for_several(folder: Path) -> None:
    plain, heavy = (follow(folder, clips=1, blocks=5, switch_share=1.0, setting_weight=w) for w in (1, 4))
    batch = {"steps": torch.tensor(2), "seeds": torch.tensor([walk_that_turns(plain, same_setting=False)])}
    generator, found = plain.build().generator, list[float]()
    compare = plain.compare

    def watched(*given: Any) -> Any:
        compared = compare(*given)
        found.append(weighed(compared.error, compared.haze).item())
        return compared

    plain.compare = watched  # type: ignore[method-assign]
    once, more = (stage.following(generator, batch).item() for stage in (plain, heavy))
    stream = plain.takes.stream
    assert stream is not None and once == pytest.approx(sum(found[1:]) / 4)
    assert more == pytest.approx(once + 3 * found[stream.switches[0]] / 4)


def test_haze_is_that_of_the_scene_in_force(folder: Path) -> None:
    stage = follow(folder, clips=1, switch_share=1.0)
    stage.haze = torch.arange(48.0).reshape(8, 6)
    seed = walk_that_turns(stage, same_setting=False)
    stream, _ = stage.takes.ready(
        stage.build().generator, {"steps": torch.tensor(2), "seeds": torch.tensor([seed])}
    )
    for scene, age in zip(
        stage.prompts.scenes(np.random.default_rng(seed), "train"),
        (stream.switches[0] - 1, stream.switches[0]),
        strict=True,
    ):
        expected = 6 * SETTINGS.index(scene.setting) + WEATHERS.index(scene.weather)
        assert stage._haze(stage._shows(stream, age)).tolist() == [expected]


def test_scenes_are_those_of_the_prompts() -> None:
    prompts = TinyPrompts()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        scenes = prompts.scenes(rng, "train")
        captions = tuple(caption(scene, rng, "train") for scene in scenes)
        assert captions == prompts.draw(np.random.default_rng(seed), "train")


def test_clear_errors(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ConfigError, match="follow stage needs a folder for encoded first blocks; give --set bank=DIR"
    ):
        FollowStage(start=str(folder / "world"))
    for option, least in (("openings", 1), ("trust", 0), ("setting_weight", 0)):
        with pytest.raises(ConfigError, match=f"{option} is -1.*; expected at least {least}"):
            follow(folder, **{option: -1})
    for share in ("setting_share", "walking_share", "night_share", "lively_share"):
        with pytest.raises(ConfigError, match=f"{share} is 1.5; expected 0 to 1"):
            follow(folder, **{share: 1.5})
    monkeypatch.setattr(World, "load", lambda name: pytest.fail("the world was loaded"))
    for config, message in (
        (replace(CONFIG, height=192), "rendered takes are for worlds of 160x96"),
        (replace(CONFIG, frames_per_block=1), "rendered blocks have 3"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(to_dict(config)))
        with pytest.raises(ConfigError, match=message):
            follow(folder, start=str(tmp_path))
    monkeypatch.undo()
    stage = follow(folder, openings=4)
    with pytest.raises(ConfigError, match="the follow stage runs its worlds in one batch"):
        stage.split(stage.batch(0), 2)
