"""The probe stage: batches follow from seed and step, disturbances stay small, training learns."""

from pathlib import Path

import numpy as np
import pytest
import torch

from longlive_env.errors import ConfigError
from longlive_env.tiny.probe import Probe
from longlive_env.tiny.scene import ATTRIBUTES, Scene, is_held_out
from longlive_env.training.probe_stage import ProbeStage, disturb, half_block
from longlive_env.training.stages import make_stage
from longlive_env.training.trainer import TrainConfig, train


def small_stage(seed: int = 0) -> ProbeStage:
    return ProbeStage(seed, blocks=4, pool=4, held_out=2)


def test_it_is_a_stage_of_the_command_line() -> None:
    assert isinstance(make_stage("probe", blocks=1, held_out=1), ProbeStage)


def test_batches_follow_from_seed_and_step() -> None:
    first, second, other = small_stage(), small_stage(), small_stage(1)
    second.batch(0)  # what was drawn before does not matter
    one, same, different = first.batch(3), second.batch(3), other.batch(3)
    assert all(torch.equal(one[name], same[name]) for name in ("frames", "labels"))
    assert not torch.equal(one["frames"], different["frames"])


def test_splits_do_not_mix() -> None:
    for split in ("train", "held_out"):
        for number in range(8):
            _, labels = half_block(np.random.default_rng(number), split)
            values = [names[index] for names, index in zip(ATTRIBUTES.values(), labels.tolist(), strict=True)]
            assert is_held_out(Scene(*values)) == (split == "held_out")


def test_disturbances_stay_small_and_in_range() -> None:
    half = torch.stack([half_block(np.random.default_rng(i), "train")[0] for i in range(4)]).float() / 255
    out = disturb(half, torch.Generator().manual_seed(0))
    assert out.shape == half.shape and out.min() >= 0 and out.max() <= 1
    error = (out - half).abs().flatten(1).mean(dim=1)
    assert error.max() < 0.15 and error.max() > 0.005
    assert torch.equal(out, disturb(half, torch.Generator().manual_seed(0)))


def test_training_learns_and_its_weights_ship(tmp_path: Path) -> None:
    stage = small_stage()
    first = sum(
        value.item() for value in stage.losses(stage.build(), stage.batch(0), torch.Generator()).values()
    )
    probe = train(stage, TrainConfig(out=tmp_path, steps=25))
    assert isinstance(probe, Probe)
    last = sum(value.item() for value in stage.losses(probe, stage.batch(0), torch.Generator()).values())
    assert last < 0.7 * first
    loaded = Probe.load(tmp_path / "weights.safetensors").state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in probe.state_dict().items())


@pytest.mark.parametrize("name", ["blocks", "pool", "held_out"])
def test_sizes_of_nothing_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is 0; expected at least 1"):
        ProbeStage(**{name: 0})
