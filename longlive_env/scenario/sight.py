"""What pictures show, as far as a probe can read it: the senses of branches and goals.

Shapes: T pixel frames of a block, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Callable

from longlive_env.engine.config import WorldConfig
from longlive_env.envs.vocabulary import vocabulary_of
from longlive_env.errors import ScenarioError
from longlive_env.frames import Frames, whole_block
from longlive_env.scenario.condition import Reading

Sight = Callable[[Frames], Reading]  # what a block of frames, uint8 [T, H, W, 3], shows


def sight_of(config: WorldConfig) -> Sight:
    """The probe that reads pictures of such a world.

    Raises:
        ScenarioError: there is no such probe.
    """
    if not vocabulary_of(config.vocabulary).attributes:
        raise ScenarioError(
            f"there is no probe for the pictures of world {config.name!r}, whose vocabulary is "
            f"{config.vocabulary!r}, so conditions and goals cannot be judged; play it in the tiny world, or "
            "pass sight="
        )
    from longlive_env.envs.rewards import shared_probe  # torch loads here

    probe = shared_probe()

    def see(frames: Frames) -> Reading:
        import torch

        block = whole_block(frames, config.block_pixel_frames)
        return {name: values[0] for name, values in probe.predict(torch.from_numpy(block)[None]).items()}

    return see
