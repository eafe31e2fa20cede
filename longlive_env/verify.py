"""Compare this engine with recorded outputs of a reference implementation, number by number.

A folder of recordings has `cases/` with inputs and outputs, one safetensors file each, and `mini/` with
checkpoints of any size in the published layout. The recordings are float32, as is the engine by default;
other precisions and devices have tolerances of their own.

Legend: B worlds, F latent frames, C latent channels, h x w latent size.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from longlive_env.engine import published
from longlive_env.engine.codec import Codec, CodecState, put_channels_last
from longlive_env.engine.config import (
    PRESETS,
    Backend,
    CodecKind,
    CompileMode,
    Precision,
    SamplerConfig,
    WorldConfig,
)
from longlive_env.engine.devices import usable
from longlive_env.engine.noise import RecordedNoise
from longlive_env.engine.rollout import Rollout
from longlive_env.engine.schedule import add_noise, denoising_sigmas, training_sigmas
from longlive_env.engine.weights import read_json, read_tensors
from longlive_env.engine.world import World
from longlive_env.errors import LongLiveError, VerificationError

TOLERANCE = 1e-5  # in float32
ON_CUDA = 1e-4  # in float32, with products by other libraries
# In bfloat16 the published codec's own error is 2e-2, that of a rollout's latents 7e-3 (int8: 1e-2).
BY_PRECISION = {"bf16": 3e-2, "fp8": 1e-1, "int8": 3e-2, "int8-weight-only": 3e-2}

Case = dict[str, Tensor]
Compared = tuple[str, Tensor, Tensor]  # name, ours, theirs


@dataclass(frozen=True)
class Setting:
    """How the engine runs the cases.

    Attributes:
        device: device to run on.
        precision: precision of the transformer, see `World.load`; if set, codec and text encoder run in
            bfloat16.
        compile: whether passes run compiled.
        attention: backend of the transformer's attention.
    """

    device: str = "cpu"
    precision: Precision | None = None
    compile: CompileMode = "off"
    attention: Backend = "auto"

    @property
    def dtype(self) -> torch.dtype:
        """Type of weights and arithmetic."""
        return torch.float32 if self.precision is None else torch.bfloat16

    @property
    def tolerance(self) -> float:
        """The largest relative error that passes."""
        if self.precision is not None:
            return BY_PRECISION[self.precision]
        return TOLERANCE if usable(self.device).type == "cpu" else ON_CUDA


@dataclass(frozen=True)
class Result:
    """Outcome of one case.

    Attributes:
        case: name of the case.
        relative_error: the largest among its outputs, see `relative_error`; NaN if it could not run.
        tolerance: largest relative error that passes.
        detail: the output that differs most, or why the case could not run.
    """

    case: str
    relative_error: float
    tolerance: float
    detail: str

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance."""
        return self.relative_error <= self.tolerance  # False for NaN

    @property
    def verdict(self) -> str:
        """One of "pass", "fail" and, for a case that could not run, "error"."""
        if math.isnan(self.relative_error):
            return "error"
        return "pass" if self.passed else "fail"


def verify_cases(
    cases_dir: str | Path, tolerance: float | None = None, setting: Setting | None = None
) -> list[Result]:
    """Run every case of a folder through the public engine.

    Args:
        cases_dir: folder with `cases/` and `mini/`.
        tolerance: largest relative error that passes; by default that of the setting.
        setting: device, precision and so on; float32 on the CPU by default.

    Returns:
        One result for each case, by name. A case that is unknown, damaged or without its checkpoint has the
        verdict "error"; none is left out.

    Raises:
        VerificationError: the folder is missing or holds no cases.
        LongLiveError: the device cannot be used.
    """
    root = Path(cases_dir)
    if not root.is_dir():
        raise VerificationError(f"there is no folder {root}; name one that has cases/ and mini/")
    files = sorted((root / "cases").glob("*.safetensors"))
    if not files:
        raise VerificationError(
            f"{root / 'cases'} holds no cases (*.safetensors); name the folder above cases/"
        )
    setting = setting or Setting()
    usable(setting.device)
    limit = setting.tolerance if tolerance is None else tolerance
    return [_run(root, file, limit, setting) for file in files]


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    """`||ours - theirs|| / ||theirs||` in float64; infinite if shapes differ or there is NaN."""
    if ours.shape != theirs.shape:
        return math.inf
    ours, theirs = ours.cpu().double(), theirs.cpu().double()
    difference = torch.linalg.vector_norm(ours - theirs).item()
    scale = torch.linalg.vector_norm(theirs).item()
    if difference == 0:
        return 0.0
    error = difference / scale if scale else math.inf
    return error if math.isfinite(error) else math.inf


def _run(root: Path, file: Path, tolerance: float, setting: Setting) -> Result:
    name = file.stem
    if name not in CASES:
        reason = f"unknown case; known are {', '.join(CASES)}"
        return Result(name, math.nan, tolerance, reason)
    try:
        with torch.inference_mode(), _without_tf32():
            inputs = {name: tensor.to(setting.device) for name, tensor in read_tensors(file).items()}
            outputs = list(CASES[name](root, inputs, setting))
    except KeyError as error:
        return Result(name, math.nan, tolerance, f"{file.name} lacks the tensor {error}")
    except (LongLiveError, ValueError, RuntimeError, IndexError, TypeError) as error:
        return Result(name, math.nan, tolerance, " ".join(str(error).split()))
    errors = {what: relative_error(ours, theirs) for what, ours, theirs in outputs}
    worst = max(errors, key=errors.__getitem__)
    return Result(name, errors[worst], tolerance, worst)


@contextmanager
def _without_tf32() -> Iterator[None]:
    """Compute convolutions in full float32, where cuDNN would keep ten bits of each factor."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _scheduler(root: Path, case: Case, setting: Setting) -> Iterator[Compared]:
    sampler = SamplerConfig()
    sigmas = torch.tensor(denoising_sigmas(sampler), device=setting.device)
    yield "sigmas", training_sigmas(sampler), case["sigmas"]
    yield "timesteps", training_sigmas(sampler) * sampler.train_steps, case["timesteps"]
    yield "warped_steps", sigmas * sampler.train_steps, case["warped_steps"]
    yield "noised", add_noise(case["x0"], case["noise"], sigmas.view(-1, 1, 1, 1)), case["noised"]


def _tokenizer(root: Path, case: Case, setting: Setting) -> Iterator[Compared]:
    texts = read_json(root / "cases" / "tokenizer_texts.json")
    ids, mask = published.load_tokenizer(root / "mini")(texts, case["ids"].shape[1])
    yield "ids", ids, case["ids"]
    yield "mask", mask, case["mask"]
    yield "embeddings", _embeddings(root, ids, mask, setting), case["embeddings"]


def _umt5(root: Path, case: Case, setting: Setting) -> Iterator[Compared]:
    yield "embeddings", _embeddings(root, case["ids"], case["mask"], setting), case["embeddings"]


def _embeddings(root: Path, ids: Tensor, mask: Tensor, setting: Setting) -> Tensor:
    encoder = published.load_text_encoder(root / "mini", setting.device, setting.dtype)
    embeddings: Tensor = encoder(ids.to(setting.device), mask.to(setting.device))
    return embeddings


def _vae(root: Path, case: Case, setting: Setting) -> Iterator[Compared]:
    codec = _codec(root, "wan", setting)
    latents, pixels = case["latents"].to(setting.dtype), case["encode_pixels"].to(setting.dtype)
    yield "mean", codec.get_buffer("latent_mean"), case["mean"]
    yield "std", codec.get_buffer("latent_std"), case["std"]
    yield "pixels_raw", codec.decode(latents, CodecState.fresh(len(latents))).pixels, case["pixels_raw"]
    yield "encoded", codec.encode(pixels, CodecState.fresh(len(pixels))).latents, case["encoded"]


def _light_vae(root: Path, case: Case, setting: Setting) -> Iterator[Compared]:
    codec = _codec(root, "light", setting)
    latents, pixels = case["latents"].to(setting.dtype), case["encode_pixels"].to(setting.dtype)
    decoded = codec.decode(latents, CodecState.fresh(len(latents))).pixels
    yield "pixels", (decoded / 2 + 0.5).clamp(0, 1), case["pixels"]
    # The reference starts with a whole group of frames, like a running world that remembers nothing.
    blank = CodecState(ages=(1,) * len(pixels))
    yield "encoded", codec.encode(pixels * 2 - 1, blank).latents, case["encoded"]


def _codec(root: Path, kind: CodecKind, setting: Setting) -> Codec:
    """A codec laid out as in a world on its device."""
    codec = published.load_codec(root / "mini", kind, setting.device, setting.dtype)
    if torch.device(setting.device).type == "cuda":
        put_channels_last(codec)
    return codec


def _rollout(
    root: Path, case: Case, setting: Setting, *, lora: bool = False, **settings: Any
) -> Iterator[Compared]:
    mini, place = root / "mini", (setting.device, setting.dtype)
    transformer = published.load_transformer(mini, *place, lora=lora)
    transformer.attend_by(setting.attention)
    codec = published.load_codec(mini, "wan", *place)
    text_encoder = published.load_text_encoder(mini, *place)
    batch, frames, _, rows, columns = case["noise"].shape
    config: WorldConfig = dataclasses.replace(
        PRESETS["1.3b"],
        height=rows * codec.spatial_factor,
        width=columns * codec.spatial_factor,
        frames_per_block=case["step_noise"].shape[1] // batch,
        transformer=transformer.config,
        text_encoder=text_encoder.config,
        codec=codec.config,
        **settings,
    )
    world = World(config, transformer, codec)
    world.optimize(precision=setting.precision)
    world.compile(setting.compile)
    noise = RecordedNoise(case["noise"].cpu(), case["step_noise"].cpu())  # noise sources are on the host
    rollout = world.start(["0"] * batch, text=case["context_0"], noise=noise)
    yield "latents", _play(rollout, frames // config.frames_per_block, case), case["latents"]


def _play(rollout: Rollout, blocks: int, case: Case) -> Tensor:
    """The latents [B, F, C, h, w] of a recorded rollout, with its prompt switches."""
    frames_per_block = rollout.world.config.frames_per_block
    switches = {frame: f"{number}" for number, frame in enumerate(case["switch_frames"].tolist(), start=1)}
    between = [frame for frame in switches if frame % frames_per_block]
    if between:
        raise ValueError(
            f"switches at latent frames {between}, not at the start of a block of {frames_per_block}"
        )
    clips = []
    for block in range(blocks):
        prompt = switches.get(block * frames_per_block)
        if prompt is not None:
            rollout.switch_prompt(prompt, text=case[f"context_{prompt}"])
        clips.append(rollout.step_latents())
    return torch.cat(clips, dim=1)


# Every case by name, with the settings that its recording was made with.
CASES: dict[str, Callable[[Path, Case, Setting], Iterator[Compared]]] = {
    "scheduler": _scheduler,
    "tokenizer": _tokenizer,
    "umt5": _umt5,
    "vae": _vae,
    "taew2_1": _light_vae,
    "rollout_single": _rollout,
    "rollout_batch2": _rollout,
    "rollout_lora": partial(_rollout, lora=True),
    "rollout_switch_global_sink": partial(_rollout, keep_sink=True),
    "rollout_switch_recached_sink": partial(_rollout, keep_sink=False),
    "rollout_no_sink": partial(_rollout, context_frames=9, sink_frames=0),
    "rollout_relative_rope": partial(_rollout, rope="relative"),
}
