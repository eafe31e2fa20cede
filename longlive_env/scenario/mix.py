"""Prompts on the way from one to another: weights of text embeddings.

Shapes: L text tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from longlive_env.engine.config import RecacheMode
    from longlive_env.engine.rollout import Rollout
    from longlive_env.engine.world import World


@dataclass(frozen=True)
class Mix:
    """What is in force: one prompt, or several whose embeddings are added.

    Attributes:
        weights: prompts and their weights, which sum to 1; the last prompt is the one being approached.
    """

    weights: tuple[tuple[str, float], ...]

    @classmethod
    def of(cls, prompt: str) -> Mix:
        """A single prompt."""
        return cls(((prompt, 1.0),))

    @property
    def prompt(self) -> str:
        """The prompt that is in force or being approached."""
        return self.weights[-1][0]

    @property
    def is_pure(self) -> bool:
        """Whether a single prompt is in force."""
        return len(self.weights) == 1

    def towards(self, prompt: str, share: float) -> Mix:
        """The mix that is a `share` of the way from here to `prompt`; a share of 1 arrives."""
        weights = dict(self.weights)
        own = share + (1 - share) * weights.pop(prompt, 0.0)
        if share >= 1 or not weights:
            return Mix.of(prompt)
        return Mix((*((text, (1 - share) * weight) for text, weight in weights.items()), (prompt, own)))

    def recaches(self, before: Mix, mode: RecacheMode) -> bool:
        """Whether the memory of earlier frames is rebuilt for a block of this mix.

        Args:
            before: mix of the previous block.
            mode: what a switch does to that memory.
        """
        return self != before and mode == "full"

    def embedding(self, world: World, before: str = "") -> Tensor | None:
        """The text embedding [1, L, text_dim]; None for a single prompt, which the world encodes itself.

        Args:
            world: world with a text encoder.
            before: the whole prompt in force, by which prompts are completed; see `World.completed`.
        """
        if self.is_pure:
            return None
        texts = world.encode_prompt([world.completed(text, before) for text, _ in self.weights])
        weights = texts.new_tensor([weight for _, weight in self.weights])
        mixed: Tensor = (weights[:, None, None] * texts).sum(dim=0, keepdim=True)
        return mixed


def switch_mix(rollout: Rollout, mix: Mix, recache: RecacheMode) -> None:
    """Switch a rollout of one world to a mix.

    On the way from one prompt to another, both are completed by what was in force before.
    """
    text = mix.embedding(rollout.world, rollout.whole_prompts[0])
    rollout.switch_prompt(mix.prompt, recache=recache, text=text)
