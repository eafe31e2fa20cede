"""Distances of the tiny world's blocks from what the renderer draws, from each place of the camera.

Haze is the mean of all places: what regression draws if it cannot tell them apart.

Shapes: B blocks, P places, F latent frames of a block, C latent channels, h x w latent size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from longlive_env.tiny.scene import ATTRIBUTES, SETTINGS, WEATHERS
from longlive_env.training.latents import Bank

USUAL_HAZE = 0.15  # error of haze in an average scene, in standardised latents
PLAIN = 0.03  # added to haze: bounds how much more plain scenery counts


def haze_of(bank: Bank) -> Tensor:
    """Error of the haze of all places in each setting and weather.

    Args:
        bank: first blocks, each at several places.

    Returns:
        The variance among places, averaged over the bank's scenes of each setting and weather, or over all
        scenes if it has none of them; float32 ``[settings, weathers]``.
    """
    spread = bank.latents.float().var(dim=1).flatten(1).mean(dim=1)
    names, labels = list(ATTRIBUTES), bank.labels[:, 0]
    shown = torch.stack([labels[:, names.index(name)] for name in ("setting", "weather")])
    haze = spread.mean().repeat(len(SETTINGS), len(WEATHERS))
    for setting, weather in shown.unique(dim=1).T.tolist():
        haze[setting, weather] = spread[(shown[0] == setting) & (shown[1] == weather)].mean()
    return haze


def weighed(error: Tensor, haze: Tensor) -> Tensor:
    """Weigh squared distances ``[B]`` so that those in plain scenery count more.

    Where the error of haze is small, a walk changes little, and would not be learned beside other scenes.

    Args:
        error: squared distances, float32 ``[B]``.
        haze: error of haze in each ``[B]``.
    """
    return error * (USUAL_HAZE + PLAIN) / (haze + PLAIN)


def place_distances(latents: Tensor, places: Tensor) -> Tensor:
    """Mean squared distances of first blocks from what the renderer draws at each place.

    Args:
        latents: first blocks ``[B, F, C, h, w]``.
        places: rendered blocks ``[B, P, F, C, h, w]``.

    Returns:
        float32 ``[B, P]``.
    """
    distances: Tensor = (latents.float()[:, None] - places.float()).square().flatten(2).mean(dim=2)
    return distances
