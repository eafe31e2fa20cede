"""How far the tiny world's blocks are from what the renderer draws, at each place where a camera may stand.

Haze is the mean of all places: what regression draws that cannot tell them apart.

Shapes: B blocks, P places, F latent frames of a block, C latent channels, h x w latent size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from longlive_env.tiny.scene import ATTRIBUTES, SETTINGS, WEATHERS
from longlive_env.training.latents import FIRST_PLACES, Bank

USUAL_HAZE = 0.15  # what haze is off by in an average scene, in standardised latents
PLAIN = 0.03  # added to haze: bounds how much more plain scenery counts


def haze_of(bank: Bank) -> Tensor:
    """What the haze of all places is off by in each setting and weather.

    Args:
        bank: first blocks, each at several places.

    Returns:
        The variance among places, a mean over the bank's scenes, float32 ``[settings, weathers]``; where the
        bank has none of them, over all.
    """
    spread = bank.latents.float().var(dim=1).flatten(1).mean(dim=1)
    names, labels = list(ATTRIBUTES), bank.labels[:, 0]
    shown = torch.stack([labels[:, names.index(name)] for name in ("setting", "weather")])
    haze = spread.mean().repeat(len(SETTINGS), len(WEATHERS))
    for setting, weather in shown.unique(dim=1).T.tolist():
        haze[setting, weather] = spread[(shown[0] == setting) & (shown[1] == weather)].mean()
    return haze


def weighed(error: Tensor, haze: Tensor) -> Tensor:
    """Squared distances ``[B]`` of which those in plain scenery count more.

    Where haze is off by little, a walk changes little, and would not be learned beside others.

    Args:
        error: float32 ``[B]``.
        haze: what haze would be off by in each ``[B]``.
    """
    return error * (USUAL_HAZE + PLAIN) / (haze + PLAIN)


def place_distances(latents: Tensor, places: Tensor) -> Tensor:
    """Mean squared distances of first blocks from what the renderer draws at each place.

    Args:
        latents: ``[B, F, C, h, w]``.
        places: ``[B, P, F, C, h, w]``.

    Returns:
        float32 ``[B, P]``.
    """
    distances: Tensor = (latents.float()[:, None] - places.float()).square().flatten(2).mean(dim=2)
    return distances


def nearest_places(latents: Tensor, places: Tensor) -> list[float]:
    """Where the camera stands that first blocks show most of, see `FIRST_PLACES`; operands as above."""
    return [float(FIRST_PLACES[place]) for place in place_distances(latents, places).argmin(dim=1).tolist()]
