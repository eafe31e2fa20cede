"""The contact sheet of `longlive eval`."""

import pytest
import torch

from longlive_env.cli.eval import _Pictures
from longlive_env.evaluate import Trial


def test_a_movement_with_the_period_of_a_block_shows_all_its_phases() -> None:
    pictures = _Pictures("x")
    trial = Trial(scenes=(None, None), prompts=("a", "b"), changed="", seed=1)  # type: ignore[arg-type]
    block = torch.arange(12, dtype=torch.uint8).view(1, 12, 1, 1, 1)
    for index in range(12):
        pictures.add([trial], index, index >= 6, block)
    kept = pictures._frames[1]
    assert {int(frame) for _, frame, _ in kept} == set(range(12))
    assert [ends for _, _, ends in kept[:3]] == [
        pytest.approx(at) for at in (1 / 12, 1 + 6 / 12, 2 + 11 / 12)
    ]
    assert kept[0][1].shape == (1, 1, 1, 1) and kept[6][0] == "b"
