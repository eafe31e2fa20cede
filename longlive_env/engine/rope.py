"""Rotary position embedding over three axes: time, height and width.

Shapes: B worlds, F latent frames, T tokens a frame (rows x columns), H heads, D head width, P = D/2 pairs.
Neighbouring channels ``(2i, 2i + 1)`` form a pair. The first ``P - 2 * (P // 3)`` pairs turn with time, then
``P // 3`` with the row and ``P // 3`` with the column. Angles are computed in float64, applied in float32.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from longlive_env.engine.transfer import to_device

THETA = 10000.0
ABSOLUTE_FRAMES = 1024  # number of absolute positions in the published implementation


def axis_pairs(head_dim: int) -> tuple[int, int, int]:
    """Number of rotated pairs per head for time, height and width."""
    pairs = head_dim // 2
    return pairs - 2 * (pairs // 3), pairs // 3, pairs // 3


def _angles(positions: Tensor, pairs: int) -> Tensor:
    """Angles of integer `positions` [...] for an axis of `pairs` pairs: float64 [..., pairs]."""
    rates = THETA ** -(torch.arange(pairs, dtype=torch.float64) / max(pairs, 1))
    return positions.to(torch.float64)[..., None] * rates


@dataclass(frozen=True)
class Rotation:
    """Rotation of the tokens of some frames; `cos` and `sin` are float32 ``[B or 1, F*T, 1, P]``."""

    cos: Tensor
    sin: Tensor

    @functools.cached_property
    def turns(self) -> Tensor:
        """Cosine and sine as one complex number."""
        return torch.complex(self.cos, self.sin)


class Rope:
    """Makes rotations for frames of one token grid; the angles of rows and columns are computed once."""

    def __init__(self, head_dim: int, grid: tuple[int, int], device: torch.device | str = "cpu") -> None:
        rows, columns = grid
        self.time_pairs, height_pairs, width_pairs = axis_pairs(head_dim)
        self.device = torch.device(device)
        row, column = _angles(torch.arange(rows), height_pairs), _angles(torch.arange(columns), width_pairs)
        space = torch.cat(
            (row[:, None].expand(-1, columns, -1), column[None].expand(rows, -1, -1)), dim=-1
        ).reshape(rows * columns, height_pairs + width_pairs)
        self._cos = space.cos().float().to(self.device)  # [T, P - time_pairs]
        self._sin = space.sin().float().to(self.device)

    def frames(self, positions: Sequence[Sequence[int]]) -> Rotation:
        """The rotation of frames at the given positions in time.

        Args:
            positions: position of each frame, for each world or once for all worlds.

        Returns:
            A rotation for tokens in frame-major order.
        """
        angles = _angles(torch.tensor(positions), self.time_pairs)  # [B, F, time_pairs]
        both = to_device(torch.stack((angles.cos(), angles.sin())).float(), self.device)
        return Rotation(self._join(both[0], self._cos), self._join(both[1], self._sin))

    def _join(self, time: Tensor, space: Tensor) -> Tensor:
        worlds, frames, _ = time.shape
        tokens = space.shape[0]
        joined = torch.cat(
            (
                time[:, :, None].expand(-1, -1, tokens, -1),
                space[None, None].expand(worlds, frames, -1, -1),
            ),
            dim=-1,
        )
        return joined.reshape(worlds, frames * tokens, 1, -1)


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Rotate queries or keys.

    Args:
        x: ``[B, F*T, H, D]`` in any float type.
        rotation: rotation of those frames.

    Returns:
        The rotated tensor, of the shape and type of `x`. The arithmetic is float32.
    """
    pairs: Tensor = x.float().unflatten(-1, (-1, 2))
    fused = x.device.type != "cpu" or torch.compiler.is_compiling()
    turned = (_turn_real if fused else _turn_complex)(pairs, rotation)
    return turned.flatten(-2).to(x.dtype)


def _turn_complex(pairs: Tensor, rotation: Rotation) -> Tensor:
    """One vectorised kernel: on a CPU five times faster than strided real arithmetic."""
    return torch.view_as_real(torch.view_as_complex(pairs.contiguous()) * rotation.turns)


def _turn_real(pairs: Tensor, rotation: Rotation) -> Tensor:
    """Real arithmetic, which compilers fuse."""
    even, odd = pairs.unbind(-1)
    cos, sin = rotation.cos, rotation.sin
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1)
