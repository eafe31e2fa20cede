"""The base of stages that learn from the tiny world's renderer, which can draw any block exactly.

A prompt leaves one thing open: where the camera stands. The generator's first block shows which place it has
chosen, or was told by noise (`engine.viewpoint`). What follows has one right answer, until a new setting
leaves the place open again. A running take remembers the generator's block if that is near enough to what the
renderer draws, and otherwise the renderer's, so that no take goes astray. This is imitation of an expert who
intervenes in time (DAgger: Ross and others, 2011; with such a rule: Zhang and Cho, 2017, "Query-Efficient
Imitation Learning for End-to-End Simulated Driving").

Shapes: B clips, P places, F latent frames of a block, C latent channels, h x w latent size.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from longlive_env.engine.noise import WorldNoise
from longlive_env.engine.transformer import CausalWanTransformer
from longlive_env.engine.viewpoint import viewpoints
from longlive_env.errors import ConfigError
from longlive_env.tiny.captions import caption
from longlive_env.tiny.render import camera_speed
from longlive_env.tiny.scene import (
    BLOCK_FRAMES,
    SCENERY_WIDTH,
    SETTINGS,
    WEATHERS,
    Scene,
    Take,
    block_start,
)
from longlive_env.training.clips import scene_of_labels
from longlive_env.training.latents import (
    FIRST_PLACES,
    FRAMES,
    SHARD,
    BankPlan,
    encode_each,
    encode_places,
    open_bank,
)
from longlive_env.training.places import haze_of, place_distances
from longlive_env.training.prompts import TinyPrompts
from longlive_env.training.rollout_stage import Generated, RolloutStage
from longlive_env.training.running_takes import RunningOptions, Stream
from longlive_env.training.stages import check_least, check_shares
from longlive_env.training.world_model import world_config

SHARES = tuple(field.name for field in fields(TinyPrompts))


@dataclass(frozen=True)
class RenderedOptions(RunningOptions):
    """Options of running takes, and of the bank of first blocks and their places.

    Attributes:
        bank: folder of encoded first blocks, filled on first use.
        scenes: number of encoded scenes to learn from, each at several places.
        held_out: number of encoded scenes to evaluate on.
        scenes_a_file: number of encoded scenes in a file of the bank.
        clips: number of running takes in a step; an update of the generator sees a chunk of `blocks` blocks.
        length: number of blocks in a running take.
        trust: largest distance from the renderer's block at which a running take remembers the generator's
            own, as a share of what the haze of all places would be off by; 0 always remembers the renderer's
            (teacher forcing).
        setting_share: share of the switches of one attribute that are sure to change the setting; the others
            change any attribute.
        walking_share: share of takes that are sure to begin with a walk.
        night_share: share of these walks that are sure to be at night, where little shows that they move on.
        lively_share: share of takes that are sure to begin with a jump or a dance; what remains begins with
            any action.
    """

    bank: str = ""
    scenes: int = 600
    held_out: int = 50
    scenes_a_file: int = SHARD
    clips: int = 2
    length: int = 31
    trust: float = 0.0
    setting_share: float = 0.0
    walking_share: float = 0.0
    night_share: float = 0.0
    lively_share: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, scenes=1, held_out=1, scenes_a_file=1, trust=0)
        check_shares(self, *SHARES)

    def banks(self) -> tuple[BankPlan, ...]:
        """First blocks of scenes at several places."""
        scenes = {"train": self.scenes, "held_out": self.held_out}
        return (BankPlan("places", encode_places, scenes, self.scenes_a_file),)


@dataclass(frozen=True)
class Camera:
    """Camera of a running take.

    Attributes:
        first: start of the camera, in pixels.
        offset: its offset from its path once the setting has changed.
    """

    first: float
    offset: float = 0.0


@dataclass(frozen=True)
class Opening(Generated):
    """First blocks that the generator made.

    Attributes:
        scenes: B scenes that they should show.
        told: numbers of the places in `FIRST_PLACES` that their noise tells of, int64 ``[B]``.
        distances: from what the renderer draws at every place ``[B, P]``, see `place_distances`.
        haze: error of haze in each ``[B]``, see `haze_of`.
    """

    scenes: list[Scene]
    told: Tensor
    distances: Tensor
    haze: Tensor

    @property
    def errors(self) -> Tensor:
        """Distances from what the renderer draws where the noise tells ``[B]``."""
        return self.distances.gather(1, self.told[:, None])[:, 0]

    @property
    def nearest(self) -> Tensor:
        """Numbers of the places that the blocks resemble most, int64 ``[B]``."""
        return self.distances.argmin(dim=1)

    def takes(self) -> list[Take]:
        """Takes of the scenes, seen from the places that the blocks resemble most."""
        cameras = (float(FIRST_PLACES[place]) for place in self.nearest.tolist())
        return [Take(((0, scene),), camera) for scene, camera in zip(self.scenes, cameras, strict=True)]


@dataclass(frozen=True)
class Compared:
    """Blocks of running takes beside what the renderer draws for them.

    Attributes:
        takes: B takes that they should show.
        error: mean squared distance of the two ``[B]``.
        haze: error of haze ``[B]``, see `haze_of`.
        kept: the generator's latents where they are near enough to the renderer's, else the renderer's,
            without gradients ``[B, F, C, h, w]``.
    """

    takes: list[Take]
    error: Tensor
    haze: Tensor
    kept: Tensor


class RenderedStage(RolloutStage):
    """A stage that learns from the renderer; see the module.

    Attributes:
        cameras: cameras of the running takes that are compared.
        banks: encoded first blocks, by split.
        haze: see `haze_of`.
    """

    options: RenderedOptions
    prompts: TinyPrompts

    def __init__(self, seed: int = 0, **options: Any) -> None:
        super().__init__(seed, **options)
        self.prompts = TinyPrompts(**{name: getattr(self.options, name) for name in SHARES})
        self.encode([""])  # fails without a text encoder, before the bank is filled
        self.cameras = list[Camera]()
        (plan,), folder = self.options.banks(), Path(self.options.bank)
        self.banks = {split: open_bank(folder, plan, split, self.world.codec, seed) for split in plan.takes}
        self.haze = haze_of(self.banks["train"])

    def check(self) -> None:
        """Require also a bank, and a world of the renderer's size."""
        if not self.options.bank:
            raise ConfigError(
                f"the {self.name} stage needs a folder for encoded first blocks; give --set bank=DIR"
            )
        super().check()
        config = world_config(None, self.options.start)
        if config.frames_per_block != FRAMES:
            raise ConfigError(
                f"world {config.name!r} has blocks of {config.frames_per_block} latent frames; "
                f"rendered blocks have {FRAMES}: start from a world with such"
            )

    def open(
        self, generator: CausalWanTransformer, seeds: list[int], steps: int, split: str = "train"
    ) -> Opening:
        """Generate first blocks of scenes of the bank, determined by seeds.

        Args:
            generator: network that draws them, with gradients if they are enabled.
            seeds: seeds of scene, wording and noise.
            steps: number of denoising steps.
            split: "train" or "held_out".
        """
        bank = self.banks[split]
        entries = [seed % len(bank) for seed in seeds]
        scenes = [scene_of_labels(bank.labels[entry, 0]) for entry in entries]
        prompts = [
            caption(scene, np.random.default_rng(seed), split)
            for scene, seed in zip(scenes, seeds, strict=True)
        ]
        made = self.roll_out(generator, prompts, seeds, steps, blocks=1)
        noise = WorldNoise(seeds).block(self.config.block_shape, 1)[0]
        told = viewpoints(noise, len(FIRST_PLACES)).to(made.latents.device)
        distances = place_distances(made.latents, bank.latents[entries].to(made.latents))
        haze = self._haze(scenes).to(made.latents)
        return Opening(made.latents, made.text, made.weights, scenes, told, distances, haze)

    def compare(self, stream: Stream, made: Tensor) -> Compared:
        """Compare a new block of running takes with the renderer's, before it is remembered; moves cameras.

        Args:
            stream: the takes.
            made: the block ``[B, F, C, h, w]``.
        """
        age = stream.age  # age of the block, which counts once it is remembered
        if age == 0:
            self.cameras = [Camera(0.0)] * len(stream.seeds)
        self._look(stream, made)
        takes = [self._as_take(stream, world, camera) for world, camera in enumerate(self.cameras)]
        drawn = encode_each(takes, age, self.world.codec)
        error = (made.float() - drawn).square().flatten(1).mean(dim=1)
        haze = self._haze(self._shows(stream, age)).to(error)
        near = error <= self.options.trust * haze
        kept = torch.where(near.view(-1, 1, 1, 1, 1), made, drawn).detach()
        return Compared(takes, error, haze, kept)

    def describe(self) -> dict[str, Any]:
        """Add the scenes to learn from."""
        names = ("scenes", *SHARES)
        return {**super().describe(), **{name: getattr(self.options, name) for name in names}}

    @torch.no_grad()
    def _look(self, stream: Stream, made: Tensor) -> None:
        """Move cameras to the places that blocks resemble most, where nothing before tells the place.

        That is in a take's first block, and in the first of a new setting; the old setting fades where it is.
        """
        worlds = self.turning(stream, stream.age) if stream.age else list(range(len(stream.seeds)))
        if not worlds:
            return
        possible = [self._possible(stream, world) for world in worlds]
        takes = [
            self._as_take(stream, world, camera)
            for world, cameras in zip(worlds, possible, strict=True)
            for camera in cameras
        ]
        places = encode_each(takes, stream.age, self.world.codec).unflatten(0, (len(worlds), -1))
        nearest = place_distances(made[worlds], places).argmin(dim=1).tolist()
        for world, cameras, place in zip(worlds, possible, nearest, strict=True):
            self.cameras[world] = cameras[place]

    def _possible(self, stream: Stream, world: int) -> list[Camera]:
        """Cameras that stand at one of the places in a take's next block."""
        if stream.age == 0:
            return [Camera(float(place)) for place in FIRST_PLACES]
        (before, _), first = self._scenes(stream.seeds[world]), self.cameras[world].first
        walked = stream.age * BLOCK_FRAMES * camera_speed(before.action)
        return [Camera(first, (place - walked - first) % SCENERY_WIDTH) for place in FIRST_PLACES]

    def turning(self, stream: Stream, age: int) -> list[int]:
        """Indices of the takes whose setting changes at a block."""
        pairs = zip(stream.seeds, stream.switches, strict=True)
        scenes = [self._scenes(seed) if switch == age else None for seed, switch in pairs]
        return [world for world, pair in enumerate(scenes) if pair and pair[0].setting != pair[1].setting]

    def _shows(self, stream: Stream, age: int) -> list[Scene]:
        """The scene that a block of each running take should show."""
        pairs = zip(stream.seeds, stream.switches, strict=True)
        return [self._scenes(seed)[age >= switch] for seed, switch in pairs]

    def _haze(self, scenes: list[Scene]) -> Tensor:
        """Error of haze in each scene ``[B]``."""
        places = [(SETTINGS.index(scene.setting), WEATHERS.index(scene.weather)) for scene in scenes]
        return torch.stack([self.haze[place] for place in places])

    def _as_take(self, stream: Stream, world: int, camera: Camera) -> Take:
        """What a running take should show, seen by a camera."""
        before, after = self._scenes(stream.seeds[world])
        segments = ((0, before), (block_start(stream.switches[world]), after))
        return Take(segments, camera.first, (0.0, camera.offset))

    def _scenes(self, seed: int) -> tuple[Scene, Scene]:
        """Scenes of a running take before and after its prompt changes."""
        return self.prompts.scenes(np.random.default_rng(seed), "train")
