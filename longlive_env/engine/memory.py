"""Memory plans: where the parts of a world go, so that it fits on the device.

A plan is a pure function of the configuration and a budget: the first arrangement (of text encoder, codec,
type of keys and values, weights on the host) that fits, from a ladder on which each rung costs more speed or
quality than the one before.
"""

from __future__ import annotations

import gc
import logging
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from longlive_env.engine import world_files
from longlive_env.engine.compile import captures
from longlive_env.engine.config import (
    PUBLISHED_CODECS,
    CodecKind,
    CompileMode,
    KvPrecision,
    LightVAEConfig,
    Precision,
    WanVAEConfig,
    WorldConfig,
)
from longlive_env.engine.devices import usable
from longlive_env.engine.footprint import Footprint, footprint
from longlive_env.engine.text_encoding import Placement
from longlive_env.errors import ConfigError

MemoryLimit = str | int | float  # "auto", or GiB
GIB = 1 << 30
RESERVE_BYTES = GIB  # for the driver's context, libraries' workspaces and gaps between allocations

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MemoryPlan:
    """Where the parts of a world go, and how much device memory that takes.

    Attributes:
        text_encoder: "resident" stays on the device, "freed" is there only to encode, "cpu" runs on the host.
        codec: published codec to use; None if the world has its own.
        kv_precision: type of cached keys and values; None is the world's type.
        offload: whether the transformer's linear layers stay on the host, and visit the device to run.
        running_bytes: predicted peak while blocks are generated, reserve included.
        encoding_bytes: predicted peak while a prompt is encoded, reserve included.
        budget_bytes: memory available.
        reasons: better arrangements, which do not fit, and what each would have taken.
    """

    text_encoder: Placement
    codec: CodecKind | None
    kv_precision: KvPrecision | None
    offload: bool
    running_bytes: int
    encoding_bytes: int
    budget_bytes: int
    reasons: tuple[str, ...] = ()

    @property
    def peak_bytes(self) -> int:
        """The larger of the two peaks."""
        return max(self.running_bytes, self.encoding_bytes)

    def holds_text_encoder(self, device: torch.device | str) -> bool:
        """Whether the text encoder stays in the planned memory; "cpu" does if the world runs there, too."""
        return self.text_encoder in ("resident", torch.device(device).type)

    @property
    def arrangement(self) -> str:
        """The arrangement in words, without figures."""
        parts = [f"text encoder {self.text_encoder}"]
        parts += [f"{self.codec} codec"] if self.codec else []
        parts += [f"keys and values in {self.kv_precision}"] if self.kv_precision else []
        parts += ["weights on the host"] if self.offload else []
        return ", ".join(parts)

    def __str__(self) -> str:
        sizes = f"{_gib(self.peak_bytes)} of {_gib(self.budget_bytes)} GiB predicted"
        too_large = f" (too large: {'; '.join(self.reasons)})" if self.reasons else ""
        return f"{self.arrangement}: {sizes}{too_large}"


def plan(
    config: WorldConfig,
    budget_bytes: int,
    *,
    batch: int = 1,
    states: int = 1,
    device: torch.device | str = "cuda",
    dtype: torch.dtype = torch.bfloat16,
    codec: CodecKind | None = None,
    kv_precision: KvPrecision | None = None,
    own_codec: bool = False,
    captured: bool = False,
) -> MemoryPlan:
    """Find the best arrangement that fits.

    Args:
        config: the world's configuration; a codec of a published kind may be replaced by another.
        budget_bytes: memory of the device.
        batch: number of worlds that run together.
        states: number of states of these worlds kept at the same time, the running one included.
        device: device the world runs on; its type determines whether temporary tensors share their memory.
        dtype: type of weights and arithmetic.
        codec: codec to use for a published world; None leaves the choice to the plan.
        kv_precision: type of cached keys and values to use; None leaves the choice to the plan.
        own_codec: whether the world has only the codec of its configuration, even one of a published kind.
        captured: whether recurring work is captured in CUDA graphs.

    Raises:
        ConfigError: nothing fits; the message has the numbers.
    """
    reasons: list[str] = []
    choice = not own_codec and isinstance(config.codec, WanVAEConfig | LightVAEConfig)
    for rung in _ladder(choice, codec, kv_precision):
        found = _predict(rung, config, budget_bytes, batch, states, device, dtype, captured)
        if found.peak_bytes <= budget_bytes:
            return replace(found, reasons=tuple(reasons))
        reasons.append(f"{found.arrangement} {_gib(found.peak_bytes)}")
        least = found
    parts = footprint(_with_codec(config, least.codec), dtype, batch, _kv_dtype(least))
    workspace = parts.workspace_on(device, captured and not least.offload)
    sizes = _listed(parts, least, states, workspace, least.holds_text_encoder(device))
    raise ConfigError(
        f"{batch} world{'s' * (batch > 1)} of {config.name} at {config.width}x{config.height}"
        f"{f', in {states} states at once,' if states > 1 else ''} need "
        f"{_gib(least.peak_bytes)} GiB at least ({sizes}), and there are "
        f"{_gib(budget_bytes)}; use fewer worlds, a smaller picture or another device"
    )


def arrange(
    config: WorldConfig,
    memory: MemoryLimit,
    *,
    device: torch.device | str,
    dtype: torch.dtype | None = None,
    codec: CodecKind | None = None,
    precision: Precision | None = None,
    kv_precision: KvPrecision | None = None,
    batch: int = 1,
    states: int = 1,
    compile: CompileMode = "off",
    merge: bool | None = None,
    own_codec: bool = False,
) -> MemoryPlan:
    """Make and log the plan for a world that is to be loaded; for the arguments see `World.load` and `plan`.

    Raises:
        ConfigError: nothing fits, or only with weights on the host, which other arguments rule out.
    """
    found = plan(
        config,
        budget(memory, device),
        batch=batch,
        states=states,
        device=device,
        dtype=world_files.default_dtype(device) if dtype is None else dtype,
        codec=codec,
        kv_precision=kv_precision,
        own_codec=own_codec,
        captured=captures(compile, torch.device(device)),
    )
    logger.info("memory: %s", found)
    if found.offload:
        _check_offload(found, precision, merge, compile)
    return found


def _check_offload(
    plan: MemoryPlan, precision: Precision | None, merge: bool | None, compile: CompileMode
) -> None:
    """Check that no option rules out weights on the host, where the plan has put them."""
    excluded = {
        f"precision {precision}": precision is not None and precision != "bf16",
        "merged projections": bool(merge),
        f"compile {compile}": compile != "off",
    }
    asked = [name for name, is_asked in excluded.items() if is_asked]
    if asked:
        raise ConfigError(
            f"what fits keeps weights on the host, which excludes {' and '.join(asked)}: {plan}; leave that "
            "out, or give more memory"
        )


def budget(memory: MemoryLimit, device: torch.device | str = "cuda") -> int:
    """Bytes that a plan may use.

    Args:
        memory: size in GiB, or "auto" for what is free on the device (for a CPU, what is installed). Memory
            that PyTorch has reserved without using it counts as free.
        device: device to ask if `memory` is "auto".

    Raises:
        ConfigError: `memory` is not a size, or the device does not report its memory.
    """
    if memory != "auto":
        try:
            gib = float(memory)
        except (TypeError, ValueError):
            gib = math.nan
        if not 0 < gib < math.inf:
            raise ConfigError(f"memory is {memory!r}; expected GiB, such as 24, or 'auto' for what is free")
        return int(gib * GIB)
    place = usable(device)
    if place.type == "cuda":
        gc.collect()  # a compiled codec refers to itself
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info(place)[0]
    if place.type == "cpu" and hasattr(os, "sysconf"):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    raise ConfigError(f"the memory of {place} is not known; give it in GiB, such as 24")


def _ladder(
    codec_choice: bool, codec: CodecKind | None, kv_precision: KvPrecision | None
) -> Iterator[MemoryPlan]:
    """Arrangements from the best to the smallest, without figures."""
    first: CodecKind | None = (codec or "wan") if codec_choice else None
    rung = MemoryPlan("resident", first, kv_precision, False, 0, 0, 0)
    yield rung
    yield (rung := replace(rung, text_encoder="freed"))
    yield (rung := replace(rung, text_encoder="cpu"))
    smaller = replace(rung, kv_precision="fp8")
    if smaller != rung:
        yield smaller
    if codec_choice and codec is None:
        yield (rung := replace(rung, codec="light"))
        smaller = replace(rung, kv_precision="fp8")
        if smaller != rung:
            yield smaller
    yield replace(smaller, offload=True)


def _predict(
    rung: MemoryPlan,
    config: WorldConfig,
    budget_bytes: int,
    batch: int,
    states: int,
    device: torch.device | str,
    dtype: torch.dtype,
    captured: bool,
) -> MemoryPlan:
    captured = captured and not rung.offload  # offloading rules out capturing
    parts = footprint(_with_codec(config, rung.codec), dtype, batch, _kv_dtype(rung))
    weights = parts.resident_transformer(offload=rung.offload) + parts.codec
    base = RESERVE_BYTES + weights + states * parts.state
    resident = parts.text_encoder if rung.holds_text_encoder(device) else 0
    visiting = parts.text_encoder if rung.text_encoder == "freed" else 0
    captured_here = captured and torch.device(device).type == "cuda"
    graphs = parts.captured_peak if captured_here else 0  # they stay while a prompt is encoded
    return replace(
        rung,
        running_bytes=base + resident + parts.workspace_on(device, captured),
        encoding_bytes=base + resident + visiting + graphs,
        budget_bytes=budget_bytes,
    )


def _with_codec(config: WorldConfig, codec: CodecKind | None) -> WorldConfig:
    if codec is None or isinstance(config.codec, PUBLISHED_CODECS[codec]):
        return config
    return replace(config, codec=PUBLISHED_CODECS[codec]())


def _kv_dtype(rung: MemoryPlan) -> torch.dtype | None:
    return torch.float8_e4m3fn if rung.kv_precision else None


def _listed(parts: Footprint, rung: MemoryPlan, states: int, workspace: int, encoder: bool) -> str:
    sizes = {"text encoder": parts.text_encoder} if encoder else {}
    sizes |= {
        "transformer": parts.resident_transformer(offload=rung.offload),
        "codec": parts.codec,
        "keys and values": states * parts.kv_cache,
        "other state": states * (parts.state - parts.kv_cache),
        "workspace": workspace,
        "reserve": RESERVE_BYTES,
    }
    return ", ".join(f"{name} {_gib(size)}" for name, size in sizes.items())


def _gib(size: int) -> str:
    return f"{size / GIB:.2f}"
