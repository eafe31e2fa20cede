"""Matrices as 8-bit rows on disk."""

from pathlib import Path

import torch
from torch import nn

from longlive_env.engine.packing import SCALE, pack, unpack
from longlive_env.engine.weights import read_state, write_state


def test_values_are_off_by_half_a_step_at_most() -> None:
    torch.manual_seed(0)
    state = {"w": torch.randn(5, 7) * torch.logspace(-3, 3, 5)[:, None], "k": torch.randn(4, 3, 2, 2)}
    back = unpack(pack(state))
    for name, value in state.items():
        step = value.flatten(1).abs().amax(dim=1, keepdim=True) / 127
        assert ((back[name] - value).flatten(1).abs() <= step * 0.5001).all()


def test_only_matrices_are_packed() -> None:
    state = {"bias": torch.randn(3), "count": torch.arange(4).view(2, 2), "zero": torch.zeros(2, 2)}
    packed = pack(state)
    assert set(packed) == {"bias", "count", "zero", "zero" + SCALE}
    assert all(torch.equal(value, state[name]) for name, value in unpack(packed).items())


def test_a_packed_file_reads_like_a_plain_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(64, 32)
    write_state(tmp_path / "plain.safetensors", layer, torch.float16)
    write_state(tmp_path / "packed.safetensors", layer, torch.float16, packed=True)
    plain, packed = (read_state(tmp_path / f"{kind}.safetensors") for kind in ("plain", "packed"))
    assert plain.keys() == packed.keys()
    error = (packed["weight"] - layer.weight).norm() / layer.weight.norm()
    assert error < 0.01
    sizes = [(tmp_path / f"{kind}.safetensors").stat().st_size for kind in ("plain", "packed")]
    assert sizes[1] < 0.75 * sizes[0]
