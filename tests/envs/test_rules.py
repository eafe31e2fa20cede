"""Rules of envs: where a loaded world is."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from longlive_env.envs.rules import _is_on


@pytest.mark.parametrize(
    ("place", "device", "same"),
    [
        ("cpu", "cpu", True),
        ("cpu", "cuda", False),
        ("cuda:0", "cuda", True),
        ("cuda:1", "cuda", True),
        ("cuda:0", "cuda:0", True),
        ("cuda:0", "cuda:1", False),
        ("cuda", "cuda:0", True),
        ("cuda:1", "cpu", False),
    ],
)
def test_a_loaded_world_stays_on_its_device(place: str, device: str, same: bool) -> None:
    world: Any = SimpleNamespace(device=torch.device(place))
    assert _is_on(world, device) == same
