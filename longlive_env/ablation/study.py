"""An ablation on disk: one file per way of running a world, which grows by a batch of rollouts at a time.

What is in the files is not measured again, so a study can be stopped at any time and extended by more
rollouts later. Ways that amount to the same run share one file: the unchanged world is in every group, and
without a switch it does not matter what a switch would do.
"""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch

from longlive_env.ablation import switches
from longlive_env.ablation.strips import LONG_MOMENTS, PICTURED, Film, switch_moments
from longlive_env.ablation.switches import Switches
from longlive_env.ablation.variants import VARIANTS, Variant
from longlive_env.engine import world_files
from longlive_env.engine.whole_files import write_whole
from longlive_env.engine.world import World
from longlive_env.errors import ConfigError
from longlive_env.evaluate import SETTLE_BLOCKS, EvalConfig, Trial, trials
from longlive_env.long_take import LongTake, check_length
from longlive_env.long_take import roll_out as roll_out_long
from longlive_env.provenance import digest, files_digest, provenance
from longlive_env.tiny.probe import PROBE_PATH, Probe

if TYPE_CHECKING:
    from longlive_env.engine.config import WorldConfig

Part = Literal["switch", "long"]
_PLACE = ("commit", "machine", "device", "torch")


@dataclass(frozen=True)
class StudyConfig:
    """Settings of the measurements of each variant.

    Attributes:
        world: name or folder of the world under study.
        eval: number and length of takes with a switch.
        seconds: length of the long takes; 0 for none.
        long_rollouts: number of long takes.
        device: device on which worlds run.
        dtype: dtype of their weights, by torch's name; None for the device's default, which rows record.
    """

    world: str
    eval: EvalConfig
    seconds: float = 0.0
    long_rollouts: int = 64
    device: str = "cpu"
    dtype: str | None = None

    def __post_init__(self) -> None:
        if self.long_rollouts < 1:
            raise ConfigError(f"long_rollouts is {self.long_rollouts}; it must be at least 1")
        if self.seconds:
            check_length(self.seconds)

    def rollouts(self, part: Part) -> int:
        """Return the number of takes of a kind."""
        return self.eval.rollouts if part == "switch" else self.long_rollouts


@dataclass(frozen=True)
class Result:
    """Results of a variant so far."""

    variant: Variant
    switch: Switches | None
    long: LongTake | None

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "variant": self.variant.name,
            "group": self.variant.group,
            "switch": self.switch.to_json() if self.switch else None,
            "long": self.long.to_json() if self.long else None,
        }


class Measured:
    """Rows of rollouts of one way of running a world, in a JSON file.

    Args:
        path: file, which need not exist.
        settings: everything that the rows depend on, except the rollout's number.

    Attributes:
        rows: rows by number of the rollout.
        spent_s: seconds that they took.
        origins: origins of the rows, see `provenance`; one per commit, machine and version of torch.

    Raises:
        ConfigError: the file holds rows of other settings.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path, self.settings = path, settings
        self.rows: dict[int, Any] = {}
        self.spent_s = 0.0
        self.origins: list[dict[str, Any]] = []
        if path.is_file():
            known = json.loads(path.read_text(encoding="utf-8"))
            for name, wanted in json.loads(json.dumps(settings)).items():
                if (found := known["settings"].get(name)) != wanted:
                    raise ConfigError(
                        f"{path} was measured with {name} {found!r}, and this study has {wanted!r}; write to "
                        "another folder, or remove the file"
                    )
            self.rows = {int(number): row for number, row in known["rollouts"].items()}
            self.spent_s, self.origins = known["spent_s"], known["origins"]

    def add(self, rows: dict[int, Any], spent_s: float, origin: dict[str, Any]) -> None:
        """Add rows; the file is replaced atomically."""
        self.rows |= rows
        self.spent_s += spent_s
        others = [one for one in self.origins if any(one.get(name) != origin.get(name) for name in _PLACE)]
        self.origins = [*others, origin]
        written = {
            "settings": self.settings,
            "origins": self.origins,
            "spent_s": round(self.spent_s, 1),
            "rollouts": {str(number): self.rows[number] for number in sorted(self.rows)},
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.path, json.dumps(written) + "\n")


@dataclass(frozen=True)
class Job:
    """One way of running a world in takes of one kind."""

    part: Part
    variant: Variant
    blocks: int
    measured: Measured


class Study:
    """The ablation of a world, kept in a folder.

    Args:
        folder: folder of its files.
        config: what is measured.
        variants: variants to compare.

    Raises:
        ConfigError: the folder holds measurements of another world or with other settings.
    """

    def __init__(self, folder: Path, config: StudyConfig, variants: tuple[Variant, ...] = VARIANTS) -> None:
        self.folder, self.config, self.variants = folder, config, variants
        self._probe: Probe | None = None
        self._loaded: tuple[str, World] | None = None  # only one world is in memory at a time
        self._known: dict[str, tuple[str, WorldConfig]] = {}  # files' digest and configuration by name
        self._jobs: dict[tuple[Part, Variant], Job] = {}
        by_settings: dict[str, Job] = {}
        parts: tuple[Part, ...] = ("switch", "long") if config.seconds else ("switch",)
        for part in parts:
            for variant in variants:
                blocks, settings = self._settings(part, variant)
                key = json.dumps(settings, sort_keys=True)
                if key not in by_settings:
                    slug = re.sub(r"[^a-z0-9]+", "-", variant.name.lower()).strip("-")
                    measured = Measured(folder / f"{part}-{slug}.json", settings)
                    by_settings[key] = Job(part, variant, blocks, measured)
                self._jobs[part, variant] = by_settings[key]
        self.jobs = list(by_settings.values())

    def run(
        self,
        only: Collection[str] = (),
        on_block: Callable[[], object] | None = None,
        on_round: Callable[[], object] | None = None,
    ) -> None:
        """Measure what is missing: first the switches of all variants, then the long takes.

        Variants take turns, a batch each, so that all have about equally many rollouts whenever it is
        stopped.

        Args:
            only: names of variants; all by default.
            on_block: called after each block of a batch, `blocks_left` times in total.
            on_round: called each time that every variant has had its turn.
        """
        chosen = self._chosen(only)
        for part in get_args(Part):
            left = [[(job, batch) for batch in self._missing(job)] for job in chosen if job.part == part]
            for turn in itertools.zip_longest(*left):
                for job, batch in filter(None, turn):
                    begin = time.monotonic()
                    rows = self._roll_out(job, batch, on_block or (lambda: None))
                    found = {number: row for (number, _), row in zip(batch, rows, strict=True)}
                    job.measured.add(found, time.monotonic() - begin, provenance(self.config.device))
                if on_round is not None:
                    on_round()

    def blocks_left(self, only: Collection[str] = ()) -> int:
        """Return the number of blocks of batches that `run` has to generate."""
        return sum(job.blocks * len(list(self._missing(job))) for job in self._chosen(only))

    def results(self) -> list[Result]:
        """Return the results of each variant, in the order of `variants`."""
        return [
            Result(
                variant,
                switch=Switches.of(rows) if (rows := self._rows("switch", variant)) else None,
                long=LongTake.of(rows, variant.long_s(self.config.seconds))
                if (rows := self._rows("long", variant))
                else None,
            )
            for variant in self.variants
        ]

    @property
    def files_digest(self) -> str:
        """Digest of the files of the world under study."""
        return self._about(self.config.world)[0]

    @property
    def dtype(self) -> str:
        """Dtype of the weights, by torch's name."""
        usual = world_files.default_dtype(self.config.device)
        return self.config.dtype or str(usual).removeprefix("torch.")

    @property
    def block_seconds(self) -> float:
        """Duration of a block of the world under study."""
        return self._about(self.config.world)[1].block_seconds

    @property
    def steps(self) -> int:
        """Denoising steps of a block of the unchanged world under study."""
        return len(self._about(self.config.world)[1].sampler.steps)

    def picture(self, part: Part, variant: Variant, rollout: int) -> Path:
        """Return the file with a rollout's frames at the moments that strips show; it need not exist."""
        return self._jobs[part, variant].measured.path.with_suffix("") / f"{rollout}.png"

    def _rows(self, part: Part, variant: Variant) -> list[Any]:
        """Return rows of the requested rollouts, by number."""
        if (part, variant) not in self._jobs:
            return []
        known = self._jobs[part, variant].measured.rows
        return [known[number] for number in sorted(known) if number < self.config.rollouts(part)]

    def _chosen(self, only: Collection[str]) -> list[Job]:
        unknown = set(only) - {variant.name for variant in self.variants}
        if unknown:
            names = ", ".join(variant.name for variant in self.variants)
            raise ConfigError(f"there is no variant {sorted(unknown)[0]!r}; variants are {names}")
        wanted = {job for (_, variant), job in self._jobs.items() if not only or variant.name in only}
        return [job for job in self.jobs if job in wanted]

    def _missing(self, job: Job) -> Iterator[list[tuple[int, Trial]]]:
        """Return batches of rollouts that are not in the file, with their numbers."""
        config = self.config.eval
        planned = trials(replace(config, rollouts=self.config.rollouts(job.part)))
        left = [(number, one) for number, one in enumerate(planned) if number not in job.measured.rows]
        for at in range(0, len(left), config.batch):
            yield left[at : at + config.batch]

    def _roll_out(
        self, job: Job, batch: list[tuple[int, Trial]], on_block: Callable[[], object]
    ) -> list[Any]:
        group, pictured = [one for _, one in batch], [number for number, _ in batch if number < PICTURED]
        config, variant = self.config, job.variant
        self._probe = self._probe or Probe.load(device=config.device)
        world = self._world(variant.world or config.world)
        world = variant.run(world, job.blocks * world.config.frames_per_block)
        if job.part == "switch":
            film = Film(switch_moments(config.eval.switch))
        else:
            film = Film(self._long_moments(job.blocks))

        def keep(block: int, frames: torch.Tensor) -> None:
            film.add(block, frames[: len(pictured)])  # the first rollouts come first
            on_block()

        rows: list[Any]
        if job.part == "switch":
            rows = list(switches.roll_out(world, group, config.eval, self._probe, variant.recache, keep))
        else:
            seconds = variant.long_s(config.seconds)
            rows = list(roll_out_long(world, group, seconds, self._probe, keep, film.blocks))
        film.save([self.picture(job.part, variant, number) for number in pictured])
        return rows

    def _long_moments(self, blocks: int) -> list[tuple[int, int]]:
        """Return blocks and frames of a long take that strips show; a shorter take only has the first."""
        total = self.config.seconds / self.block_seconds
        ends = [max(1, round(at * total)) for at in LONG_MOMENTS]
        return [(end - 1, -1) for end in ends if end <= blocks]

    def _settings(self, part: Part, variant: Variant) -> tuple[int, dict[str, Any]]:
        """Return the blocks of a take, and everything that determines its frames."""
        known, config = self._about(variant.world or self.config.world)
        if part == "switch":
            blocks = self.config.eval.switch + SETTLE_BLOCKS
        else:
            blocks = round(variant.long_s(self.config.seconds) / config.block_seconds)
        run = variant.config(config, blocks * config.frames_per_block)
        settings = {
            "part": part,
            "world": known,
            "probe": digest([PROBE_PATH]),
            "seed": self.config.eval.seed,
            "dtype": self.dtype,
            "blocks": blocks,
            "sink_frames": run.sink_frames,
            "context_frames": run.context_frames,
            "steps": run.sampler.steps,
        }
        return blocks, settings | ({"recache": variant.recache} if part == "switch" else {})

    def _about(self, world: str) -> tuple[str, WorldConfig]:
        """Return the digest of a world's files, and its configuration."""
        if world not in self._known:
            self._known[world] = files_digest(world), world_files.read_config(world)
        return self._known[world]

    def _world(self, name: str) -> World:
        if self._loaded is None or self._loaded[0] != name:
            dtype = getattr(torch, self.config.dtype) if self.config.dtype else None
            self._loaded = None  # frees the other world first
            self._loaded = name, World.load(name, device=self.config.device, dtype=dtype)
        return self._loaded[1]
