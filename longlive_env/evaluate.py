"""How well a world obeys its prompts, read from its frames by the probe.

Each rollout begins with a prompt about a held-out combination in a held-out wording. Half-way the prompt
changes one attribute, again to a held-out combination. A block shows an attribute when the probe reads the
value that the prompt names.

Shapes: R rollouts, S blocks of a rollout, A attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from longlive_env.errors import ConfigError
from longlive_env.tiny.captions import caption
from longlive_env.tiny.probe import Probe, rendered_block
from longlive_env.tiny.scene import ATTRIBUTES, BLOCK_FRAMES, Scene, change_one, is_held_out, sample_scene

if TYPE_CHECKING:
    from longlive_env.engine.rollout import World

SETTLE_BLOCKS = 3  # a switch is judged by the third block that was generated under the new prompt
BARS = {
    "prompt": {"subject": 0.80, "colour": 0.80, "setting": 0.80, "weather": 0.80, "action": 0.70},
    "switch": {"changed": 0.75, "unchanged": 0.85},
    "probe": dict.fromkeys(ATTRIBUTES, 0.98),
}


@dataclass(frozen=True)
class EvalConfig:
    """What is generated to measure a world.

    Attributes:
        rollouts: how many videos.
        blocks: length of each; the prompt changes half-way.
        batch: rollouts that run together.
        seed: of scenes, wordings and noise.
        rendered: held-out scenes that the probe itself is tested on.
    """

    rollouts: int = 64
    blocks: int = 20
    batch: int = 16
    seed: int = 0
    rendered: int = 512

    def __post_init__(self) -> None:
        for name in ("rollouts", "batch", "rendered"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.blocks < 2 * SETTLE_BLOCKS:
            raise ConfigError(
                f"blocks is {self.blocks}; a switch half-way needs at least {2 * SETTLE_BLOCKS}"
            )

    @property
    def switch(self) -> int:
        """Index of the first block under the second prompt."""
        return self.blocks // 2


@dataclass(frozen=True)
class Episode:
    """One rollout's two prompts and what they say; `changed` is the attribute in which the scenes differ."""

    scenes: tuple[Scene, Scene]
    prompts: tuple[str, str]
    changed: str
    seed: int


@dataclass(frozen=True)
class Share:
    """A share with its 95 % Wilson interval; `count` is the number of independent trials."""

    successes: float
    count: int

    @property
    def share(self) -> float:
        """Successes over trials."""
        return self.successes / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end."""
        z, n, p = 1.959964, self.count, self.share
        centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
        return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True)
class Measure:
    """One line of the report; without a bar it is for information."""

    group: str
    name: str
    value: Share
    bar: float | None

    @property
    def passed(self) -> bool | None:
        """Whether the share reaches the bar; None without one."""
        return None if self.bar is None else self.value.share >= self.bar

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        low, high = self.value.interval
        return {
            "group": self.group,
            "name": self.name,
            "share": round(self.value.share, 4),
            "interval": [round(low, 4), round(high, 4)],
            "count": self.value.count,
            "bar": self.bar,
            "passed": self.passed,
        }


@dataclass(frozen=True)
class Report:
    """What was measured.

    Attributes:
        measures: the lines.
        by_block: share of rollouts that show each attribute of the prompt in force, for each block [S].
        after_switch: share that shows the changed attribute's new value, for each block after the switch.
    """

    measures: tuple[Measure, ...]
    by_block: dict[str, list[float]]
    after_switch: list[float]

    @property
    def passed(self) -> bool:
        """Whether every bar is reached."""
        return all(measure.passed is not False for measure in self.measures)

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "passed": self.passed,
            "measures": [measure.to_json() for measure in self.measures],
            "by_block": self.by_block,
            "after_switch": self.after_switch,
        }


def episodes(config: EvalConfig) -> Iterator[Episode]:
    """The rollouts of an evaluation; attributes take turns in changing."""
    for index in range(config.rollouts):
        rng = np.random.default_rng((config.seed, index))
        changed = list(ATTRIBUTES)[index % len(ATTRIBUTES)]
        first = second = sample_scene(rng, "held_out")
        while second == first or not is_held_out(second):
            first = sample_scene(rng, "held_out")
            second = change_one(first, changed, rng, "held_out")
        prompts = caption(first, rng, "held_out"), caption(second, rng, "held_out")
        yield Episode((first, second), prompts, changed, seed=config.seed * 1_000_000 + index)


OnBlock = Callable[[list[Episode], int, Tensor], None]


def evaluate(
    world: World, config: EvalConfig, probe: Probe | None = None, on_block: OnBlock | None = None
) -> Report:
    """Generate, read, and count.

    Args:
        world: a world of the tiny world's scenes.
        config: how much.
        probe: reads the frames; None loads the shipped one.
        on_block: is given the episodes of a batch, the index of a block and its frames uint8 [B, T, H, W, 3].
    """
    probe = probe or Probe.load(device=world.device)
    planned = list(episodes(config))
    shown = []
    for at in range(0, len(planned), config.batch):
        shown.append(_run(world, planned[at : at + config.batch], config, probe, on_block))
    rendered = probe_accuracy(probe, config.rendered, config.seed)
    return _report(planned, np.concatenate(shown), config, rendered)


def probe_accuracy(probe: Probe, blocks: int, seed: int) -> dict[str, Share]:
    """How often the probe reads rendered blocks of held-out combinations rightly."""
    right = dict.fromkeys(ATTRIBUTES, 0)
    for number in range(blocks):
        frames, scene = rendered_block(np.random.default_rng((seed, 1, number)), "held_out")
        for name, (value,) in probe.predict(frames[None]).items():
            right[name] += value == scene.attribute(name)
    return {name: Share(hits, blocks) for name, hits in right.items()}


def whole_block(frames: Tensor) -> Tensor:
    """Blocks [B, T, H, W, 3], brought to 12 frames by repeating the first one in front."""
    lead = frames[:, :1].expand(-1, BLOCK_FRAMES - frames.shape[1], -1, -1, -1)
    return torch.cat([lead, frames], dim=1)


def _run(
    world: World, batch: list[Episode], config: EvalConfig, probe: Probe, on_block: OnBlock | None
) -> npt.NDArray[np.bool_]:
    """Whether each block shows each attribute of the prompt in force [B, S, A]."""
    rollout = world.start([one.prompts[0] for one in batch], seed=[one.seed for one in batch])
    shown = np.zeros((len(batch), config.blocks, len(ATTRIBUTES)), dtype=np.bool_)
    for block in range(config.blocks):
        if block == config.switch:
            rollout.switch_prompt([one.prompts[1] for one in batch])
        frames = rollout.step()
        seen = probe.predict(whole_block(frames))
        for row, one in enumerate(batch):
            scene = one.scenes[block >= config.switch]
            shown[row, block] = [seen[name][row] == scene.attribute(name) for name in ATTRIBUTES]
        if on_block is not None:
            on_block(batch, block, frames)
    return shown


def _report(
    planned: list[Episode], shown: npt.NDArray[np.bool_], config: EvalConfig, rendered: dict[str, Share]
) -> Report:
    """Count what was shown [R, S, A]."""
    names, rollouts, switch = list(ATTRIBUTES), len(planned), config.switch
    judged = switch + SETTLE_BLOCKS - 1
    changed = np.array([[name == one.changed for name in names] for one in planned])  # [R, A]
    kept = shown[:, switch - 1] & ~changed
    survived = int((shown[:, judged] & kept).sum())
    values: dict[str, dict[str, Share]] = {
        # Blocks of a rollout resemble each other, so a rollout counts once, with its share of blocks.
        "prompt": {
            name: Share(float(shown[:, :switch, i].mean(axis=1).sum()), rollouts)
            for i, name in enumerate(names)
        },
        "after": {name: Share(int(shown[:, judged, i].sum()), rollouts) for i, name in enumerate(names)},
        "switch": {
            "changed": Share(int(shown[:, judged][changed].sum()), rollouts),
            "unchanged": Share(survived, max(1, int(kept.sum()))),
        },
        "probe": rendered,
    }
    measures = tuple(
        Measure(group, name, value, BARS.get(group, {}).get(name))
        for group, lines in values.items()
        for name, value in lines.items()
    )
    after = shown[:, switch:].transpose(0, 2, 1)[changed].mean(axis=0)  # [S - switch]
    return Report(
        measures=measures,
        by_block={name: np.round(shown[:, :, i].mean(axis=0), 4).tolist() for i, name in enumerate(names)},
        after_switch=np.round(after, 4).tolist(),
    )
