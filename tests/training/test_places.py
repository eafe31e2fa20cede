"""Distances from what the renderer draws, and haze, on numbers."""

from __future__ import annotations

import pytest
import torch

from longlive_env.tiny.scene import SETTINGS, WEATHERS
from longlive_env.training.latents import Bank
from longlive_env.training.places import haze_of, place_distances, weighed


def test_haze_is_the_spread_of_places_in_each_setting_and_weather() -> None:
    torch.manual_seed(0)
    latents = torch.randn(3, 5, 2, 4, 6, 8)
    labels = torch.tensor([[0, 0, 1, 2, 0], [1, 1, 1, 2, 1], [0, 0, 3, 0, 0]])
    latents[2] *= 2
    haze = haze_of(Bank(latents, torch.zeros(3, 5), labels[:, None].expand(-1, 5, -1)))
    assert haze.shape == (len(SETTINGS), len(WEATHERS))
    centred = latents - latents.mean(dim=1, keepdim=True)
    spread = centred.square().flatten(1).sum(dim=1) / (4 * latents[0, 0].numel())
    torch.testing.assert_close(haze[1, 2], spread[:2].mean())
    torch.testing.assert_close(haze[3, 0], spread[2])
    torch.testing.assert_close(haze[5, 5], spread.mean())


def test_distances_are_those_of_every_place() -> None:
    latents, places = torch.randn(2, 3, 4, 5, 6), torch.randn(2, 7, 3, 4, 5, 6)
    found = place_distances(latents, places)
    assert found.shape == (2, 7)
    torch.testing.assert_close(found[1, 2], (latents[1] - places[1, 2]).square().mean())


def test_plain_scenery_counts_more_but_not_without_bound() -> None:
    error = torch.full((3,), 0.02)
    plain, usual, busy = weighed(error, torch.tensor([0.0, 0.15, 0.4])).tolist()
    assert usual == pytest.approx(0.02)
    assert plain == pytest.approx(6 * usual)
    assert busy < usual
