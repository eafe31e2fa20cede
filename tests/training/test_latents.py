"""The bank of encoded takes."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from longlive_env.engine.codec.patch_vae import PatchVAE
from longlive_env.engine.config import PatchVAEConfig
from longlive_env.errors import CheckpointError
from longlive_env.tiny.scene import BLOCK_FRAMES, block_start, is_held_out, sample_take
from longlive_env.training import parallel
from longlive_env.training.checkpoint import load_tensors, save_tensors
from longlive_env.training.clips import later, scene_of_labels
from longlive_env.training.latents import (
    POSITIONS,
    SWITCH_AT,
    Bank,
    BankPlan,
    Encode,
    encode_blocks,
    encode_clip,
    encode_each,
    encode_opening,
    encode_take,
    open_bank,
    sample_blocks,
    sample_switch,
)


def codec() -> PatchVAE:
    torch.manual_seed(0)
    widths = {"encoder_widths": (8, 8), "decoder_widths": (8, 8)}
    return PatchVAE(PatchVAEConfig(**widths, encoder_blocks=(1, 1), decoder_blocks=(1, 1))).eval()


def test_later_blocks_equal_those_of_the_whole_take() -> None:
    take, small = sample_take(np.random.default_rng(0), 6 * BLOCK_FRAMES, 1), codec()
    whole = encode_blocks(take, 0, 6, small)
    for first in (1, 4):
        torch.testing.assert_close(encode_blocks(take, first, 2, small), whole[first : first + 2])
        both = encode_each([take, replace(take, camera=take.camera + 64)], first, small)
        torch.testing.assert_close(both[0], whole[first])
        assert not torch.allclose(both[1], both[0], atol=0.1)


def test_blocks_are_in_order_and_of_their_split() -> None:
    for number in range(20):
        take, blocks = sample_blocks(np.random.default_rng(number), "held_out")
        assert len(blocks) == POSITIONS
        assert blocks == sorted(set(blocks))
        assert all(is_held_out(scene) for _, scene in take.segments)


def test_a_switch_changes_what_it_says() -> None:
    counts = []
    for number in range(60):
        take, blocks = sample_switch(np.random.default_rng(number), "train")
        assert blocks == list(range(blocks[0], blocks[0] + POSITIONS))
        scenes = [take.scene_at(block_start(block)) for block in blocks]
        before, after = scenes[SWITCH_AT - 1 : SWITCH_AT + 1]
        assert set(scenes[:SWITCH_AT]) == {before}
        assert set(scenes[SWITCH_AT:]) == {after}
        assert not is_held_out(before)
        assert not is_held_out(after)
        counts.append(sum(a != b for a, b in zip(before.labels(), after.labels(), strict=True)))
    assert min(counts) == 1
    assert 30 < sum(count == 1 for count in counts) < 55


def test_an_interrupted_bank_is_completed(tmp_path: Path) -> None:
    small = codec()
    plan = BankPlan("", encode_take, {"train": 4}, 2)
    bank = open_bank(tmp_path, plan, "train", small, seed=0)
    newest = sorted(tmp_path.iterdir())[-1]
    newest.unlink()
    again = open_bank(tmp_path, plan, "train", small, seed=0)
    torch.testing.assert_close(bank.latents, again.latents)
    assert torch.equal(bank.labels, again.labels)


def test_a_bank_of_another_codec_seed_or_kind_is_refused(tmp_path: Path) -> None:
    small = codec()

    def opened(
        codec: PatchVAE = small, seed: int = 0, encode: Encode = encode_take, takes_a_file: int = 1
    ) -> Bank:
        return open_bank(tmp_path, BankPlan("", encode, {"train": 1}, takes_a_file), "train", codec, seed)

    opened()
    other = copy.deepcopy(small)
    with torch.no_grad():
        other.decoder.linear.bias += 1  # which latents know nothing of
        assert len(opened(codec=other.to(torch.float16).float())) == 1  # as a world keeps it
        other.latent_mean += 1
    for changes, message in (
        ({"codec": other}, "another codec, .*; choose another folder as bank="),
        ({"seed": 1}, "another seed, 0 instead of 1; choose"),
        ({"encode": encode_clip}, "another entry, encode_take instead of encode_clip"),
        ({"takes_a_file": 2}, "another takes, 1 instead of 2"),
    ):
        with pytest.raises(CheckpointError, match=f"was encoded with {message}"):
            opened(**changes)
    (file,) = tmp_path.iterdir()
    tensors, info = load_tensors(file)
    save_tensors(file, tensors, {name: info[name] for name in ("split", "seed", "number")})
    with pytest.raises(CheckpointError, match=r"another codec, None instead of .*; choose another folder"):
        opened()


@pytest.mark.parametrize("rank", [0, 1])
def test_a_bank_shows_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: int) -> None:
    """In a terminal, where tqdm sees to that, and by the first process alone."""
    shown: list[tuple[int, str, bool | None]] = []

    def bar(files: range, **settings: Any) -> range:
        shown.append((len(files), settings["desc"], settings["disable"]))
        return files

    monkeypatch.setattr(pytest.importorskip("tqdm"), "tqdm", bar)
    monkeypatch.setattr(parallel, "rank", lambda: rank)
    plan = BankPlan("", encode_opening, {"train": 3}, 2)
    opened = open_bank(tmp_path, plan, "train", PatchVAE(PatchVAEConfig()).eval(), 0)
    assert len(opened) == 4 and shown == [(2, "bank of train takes", True if rank else None)]


def bank_with_switch(at: int, blocks: list[int]) -> Bank:
    labels = torch.zeros(1, POSITIONS, 5, dtype=torch.int64)
    labels[0, at:, 1] = 3
    return Bank(torch.zeros(1, POSITIONS, 3, 16, 2, 2), torch.tensor([blocks]), labels)


def test_sink_after_a_switch_is_the_oldest_recached_block() -> None:
    bank = bank_with_switch(5, list(range(POSITIONS)))
    for number in range(20):
        positions, prompt = later(bank, 0, np.random.default_rng(number))
        assert positions[1:] == list(range(prompt - 2, prompt + 1))
        assert positions[0] == (1 if prompt >= 5 else 0)
        assert scene_of_labels(bank.labels[0, prompt]).colour == ("green" if prompt >= 5 else "red")


def test_a_gap_keeps_the_first_block_as_sink() -> None:
    bank = bank_with_switch(2, [0, 1, 2, 3, 20, 21, 22])
    assert later(bank, 0, np.random.default_rng(0)) == ([0, 4, 5, 6], 6)
