"""Measure how well a world follows its prompts, as read from its frames by the probe.

Each rollout begins with a prompt about a held-out combination in a held-out wording. Half-way, one attribute
of the prompt changes, again to a held-out combination. A block shows an attribute if the probe reads the
value that the prompt names.

Shapes: R rollouts, S blocks of a rollout, A attributes. Values are indices into `ATTRIBUTES[name]`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from longlive_env.errors import ConfigError
from longlive_env.frames import whole_block
from longlive_env.intervals import Share
from longlive_env.tiny.captions import caption
from longlive_env.tiny.probe import Probe, rendered_block
from longlive_env.tiny.scene import ATTRIBUTES, BLOCK_FRAMES, Scene, change_one, sample_scene

if TYPE_CHECKING:
    from longlive_env.engine.rollout import Rollout
    from longlive_env.engine.world import World

SETTLE_BLOCKS = 3  # a switch is judged by the third block generated under the new prompt
SOON_BLOCKS = 2  # and, for the targets, by the second
BARS = {
    "prompt": {"subject": 0.80, "colour": 0.80, "setting": 0.80, "weather": 0.80, "action": 0.70},
    "switch": {"changed": 0.75, "unchanged": 0.85},
    "probe": dict.fromkeys(ATTRIBUTES, 0.98),
}
TARGETS = {  # what a world should reach; bars are what it must
    "prompt": dict.fromkeys(ATTRIBUTES, 0.95),
    "soon": {"changed": 0.90, "unchanged": 0.95},
}


@dataclass(frozen=True)
class EvalConfig:
    """What is generated to measure a world.

    Attributes:
        rollouts: number of videos.
        blocks: length of each in blocks; the prompt changes half-way.
        batch: number of rollouts that run together.
        seed: seed of scenes, wordings and noise.
        rendered: number of held-out scenes that the probe itself is tested on.
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
class Trial:
    """One rollout's two prompts and their scenes; `changed` is the attribute in which the scenes differ."""

    scenes: tuple[Scene, Scene]
    prompts: tuple[str, str]
    changed: str
    seed: int


@dataclass(frozen=True)
class Measure:
    """One line of the report; a world that misses a bar fails, a target is what the next world aims at."""

    group: str
    name: str
    value: Share
    bar: float | None
    target: float | None

    @property
    def passed(self) -> bool | None:
        """Whether the share reaches the bar; None without one."""
        return None if self.bar is None else self.value.share >= self.bar

    @property
    def on_target(self) -> bool | None:
        """Whether the share reaches the target; None without one."""
        return None if self.target is None else self.value.share >= self.target

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "group": self.group,
            "name": self.name,
            **self.value.to_json(),
            "bar": self.bar,
            "passed": self.passed,
            "target": self.target,
            "on_target": self.on_target,
        }


@dataclass(frozen=True)
class ValueRead:
    """How the probe reads blocks whose prompt asks for one value of an attribute.

    Attributes:
        asked: the value.
        value: share of the blocks that show it; None if no rollout asks for it.
        read_as: share of the blocks that the probe reads as each other value, the largest first.
    """

    asked: str
    value: Share | None
    read_as: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {**(self.value.to_json() if self.value else {"count": 0}), "read_as": self.read_as}


@dataclass(frozen=True)
class Report:
    """What was measured.

    Attributes:
        measures: lines of the report.
        by_value: how each attribute's values are obeyed before the switch.
        by_block: share of rollouts that show each attribute of the prompt in force, for each block [S].
        after_switch: share that shows the changed attribute's new value, for each block after the switch.
    """

    measures: tuple[Measure, ...]
    by_value: dict[str, tuple[ValueRead, ...]]
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
            "by_value": {
                name: {one.asked: one.to_json() for one in values} for name, values in self.by_value.items()
            },
            "by_block": self.by_block,
            "after_switch": self.after_switch,
        }


def trials(config: EvalConfig) -> Iterator[Trial]:
    """The rollouts of an evaluation; attributes take turns to change."""
    for index in range(config.rollouts):
        rng = np.random.default_rng((config.seed, index))
        changed = list(ATTRIBUTES)[index % len(ATTRIBUTES)]
        first, second = scene_pair(sample_scene, changed, rng)
        prompts = caption(first, rng, "held_out"), caption(second, rng, "held_out")
        yield Trial((first, second), prompts, changed, seed=config.seed * 1_000_000 + index)


def scene_pair(
    sample: Callable[[np.random.Generator, str], Scene], changed: str, rng: np.random.Generator
) -> tuple[Scene, Scene]:
    """Two held-out scenes, drawn by `sample`, that differ in the attribute `changed` alone."""
    first = second = sample(rng, "held_out")
    while second == first:  # few held-out scenes have neighbours that are held out, too
        first = sample(rng, "held_out")
        second = change_one(first, changed, rng, "held_out")
    return first, second


def asked_values(planned: Sequence[Trial]) -> npt.NDArray[np.int64]:
    """Values that the first and the second prompt of each trial ask for [R, 2, A]."""
    return np.array([[scene.labels() for scene in one.scenes] for one in planned])


def changed_attributes(planned: Sequence[Trial]) -> npt.NDArray[np.bool_]:
    """Whether each attribute is the one that changes [R, A]."""
    return np.array([[name == one.changed for name in ATTRIBUTES] for one in planned])


def begin(world: World, group: Sequence[Trial]) -> Rollout:
    """Start the rollouts of a batch of trials, under their first prompts."""
    return world.start([one.prompts[0] for one in group], seed=[one.seed for one in group])


OnBlock = Callable[[list[Trial], int, Tensor], object]


def evaluate(
    world: World, config: EvalConfig, probe: Probe | None = None, on_block: OnBlock | None = None
) -> Report:
    """Generate videos, read them with the probe, and count.

    Args:
        world: world that shows the tiny world's scenes.
        config: what to generate.
        probe: probe that reads the frames; None loads the shipped one.
        on_block: callback, given the trials of a batch, the index of a block and its frames uint8
            [B, T, H, W, 3].
    """
    probe = probe or Probe.load(device=world.device)
    planned = list(trials(config))
    read = read_values(world, planned, config, probe, on_block)
    rendered = probe_accuracy(probe, config.rendered, config.seed)
    return _report(planned, read, config, rendered)


def probe_accuracy(probe: Probe, blocks: int, seed: int) -> dict[str, Share]:
    """How often the probe reads rendered blocks of held-out combinations correctly."""
    right = dict.fromkeys(ATTRIBUTES, 0)
    for number in range(blocks):
        frames, scene = rendered_block(np.random.default_rng((seed, 1, number)), "held_out")
        for name, (value,) in probe.predict(frames[None]).items():
            right[name] += value == scene.attribute(name)
    return {name: Share(hits, blocks) for name, hits in right.items()}


def padded_blocks(frames: Tensor) -> Tensor:
    """Bring blocks uint8 [B, T, H, W, 3] to 12 frames, see `whole_block`."""
    return torch.from_numpy(whole_block(frames.cpu().numpy(), BLOCK_FRAMES, axis=1))


def labels(probe: Probe, frames: Tensor) -> npt.NDArray[np.int64]:
    """Values that the probe reads from blocks uint8 [B, T, H, W, 3]: [B, A]."""
    likeliest = [rows.argmax(dim=1) for rows in probe.probabilities(frames).values()]
    return torch.stack(likeliest, dim=1).cpu().numpy()


def read_values(
    world: World, planned: list[Trial], config: EvalConfig, probe: Probe, on_block: OnBlock | None
) -> npt.NDArray[np.int64]:
    """Play trials batch by batch, and read their blocks: indices of values [R, S, A]."""
    groups = [planned[at : at + config.batch] for at in range(0, len(planned), config.batch)]
    return np.concatenate([_read_batch(world, group, config, probe, on_block) for group in groups])


def _read_batch(
    world: World, batch: list[Trial], config: EvalConfig, probe: Probe, on_block: OnBlock | None
) -> npt.NDArray[np.int64]:
    rollout = begin(world, batch)
    read = []
    for block in range(config.blocks):
        if block == config.switch:
            rollout.switch_prompt([one.prompts[1] for one in batch])
        frames = rollout.step()
        read.append(labels(probe, padded_blocks(frames)))
        if on_block is not None:
            on_block(batch, block, frames)
    return np.stack(read, axis=1)


def _report(
    planned: list[Trial], read: npt.NDArray[np.int64], config: EvalConfig, rendered: dict[str, Share]
) -> Report:
    """Count what was read [R, S, A]."""
    names, switch = list(ATTRIBUTES), config.switch
    asked, changed = asked_values(planned), changed_attributes(planned)
    shown = read == np.repeat(asked, [switch, config.blocks - switch], axis=1)
    judged = switch + SETTLE_BLOCKS - 1
    values: dict[str, dict[str, Share]] = {
        # Blocks of a rollout resemble each other, so a rollout counts once, with its share of blocks.
        "prompt": {name: Share.of(shown[:, :switch, i].mean(axis=1)) for i, name in enumerate(names)},
        "after": {name: Share.of(shown[:, judged, i]) for i, name in enumerate(names)},
        "soon": switched(shown[:, switch - 1], shown[:, switch + SOON_BLOCKS - 1], changed),
        "switch": switched(shown[:, switch - 1], shown[:, judged], changed),
        "probe": rendered,
    }
    measures = tuple(
        Measure(group, name, value, BARS.get(group, {}).get(name), TARGETS.get(group, {}).get(name))
        for group, lines in values.items()
        for name, value in lines.items()
    )
    after = shown[:, switch:].transpose(0, 2, 1)[changed].mean(axis=0)  # [S - switch]
    return Report(
        measures=measures,
        by_value=_by_value(asked[:, 0], read[:, :switch]),
        by_block={name: np.round(shown[:, :, i].mean(axis=0), 4).tolist() for i, name in enumerate(names)},
        after_switch=np.round(after, 4).tolist(),
    )


def switched(
    before: npt.NDArray[np.bool_], after: npt.NDArray[np.bool_], changed: npt.NDArray[np.bool_]
) -> dict[str, Share]:
    """How well attributes that change, and those that do not, survive a switch.

    Args:
        before: whether the last block under the old prompt shows what it asks for [R, A].
        after: the same for a block under the new prompt [R, A].
        changed: attribute in which the prompts differ, one for each rollout [R, A].

    Returns:
        "changed": share of rollouts that show the new value; "unchanged": share of the attributes right
        before and still asked for that are right afterwards. Attributes of one rollout are not independent,
        so the latter's interval is that of as many trials as there are rollouts with such an attribute.
    """
    kept = before & ~changed
    trials = max(1, int(kept.any(axis=1).sum()))
    survived = (after & kept).sum() / max(1, kept.sum())
    return {"changed": Share.of(after[changed]), "unchanged": Share(float(survived) * trials, trials)}


def _by_value(asked: npt.NDArray[np.int64], read: npt.NDArray[np.int64]) -> dict[str, tuple[ValueRead, ...]]:
    """Compare values that prompts ask for [R, A] with those read from the blocks [R, S, A]."""
    found = {}
    for i, (name, values) in enumerate(ATTRIBUTES.items()):
        lines = []
        for index, value in enumerate(values):
            blocks = read[asked[:, i] == index, :, i]  # [rollouts that ask for it, S]
            share = Share.of((blocks == index).mean(axis=1)) if len(blocks) else None
            others = {other: float((blocks == k).mean()) for k, other in enumerate(values)} if share else {}
            others.pop(value, None)
            ranked = sorted(others.items(), key=lambda item: -item[1])
            lines.append(ValueRead(value, share, {other: round(x, 4) for other, x in ranked if x}))
        found[name] = tuple(lines)
    return found
