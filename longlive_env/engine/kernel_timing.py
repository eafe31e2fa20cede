"""Time every kernel that can run a world's calls, on the device where the world will run.

Shapes: B worlds, Q queries, K keys, H heads, D head width.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext

import torch
from torch import Tensor

from longlive_env.engine.attention import attention, backends, call_of
from longlive_env.engine.compile import capturing, compiler_of
from longlive_env.engine.config import WorldConfig
from longlive_env.engine.fused import WIDEST, Kernel, choose_fused, norm_rotate_store, why_absent
from longlive_env.engine.fused import call_of as fused_call
from longlive_env.engine.kernel_table import Call, KernelTable, device_name, table_of
from longlive_env.engine.rope import Rotation

CLOSE = {torch.float32: 1e-4}  # relative error against the reference kernel
CLOSE_IN_HALF = 3e-2
SCORES_AT_MOST = 1 << 30  # bytes of materialised scores; anything larger is left to fused kernels
REFERENCE = {"cuda": "sdpa-efficient"}  # here "sdpa" may be cuDNN's kernel, which needs checking itself
ROUNDS = 5  # of which the fastest counts
ROUND_S = 0.02  # a round is repeated until it takes about as long
RUNS_AT_MOST = 50  # in a round

OnCall = Callable[[int, int], None]  # calls done, calls in all

logger = logging.getLogger(__name__)


def attention_calls(config: WorldConfig, dtype: torch.dtype, batch: int = 1) -> list[Call]:
    """A world's kinds of attention: in blocks and recaches as the context fills, and to the prompt.

    Args:
        config: the world's configuration.
        dtype: type of its weights.
        batch: number of worlds that run together; those of different ages need masks.
    """
    block, context, tokens = config.frames_per_block, config.context_frames, config.frame_tokens
    shape = config.transformer
    contexts = [*range(block, context, block), context]
    kept = config.sink_frames if config.keep_sink else 0
    passes = [(block, seen) for seen in contexts]  # query frames, visible frames
    passes += [(seen, seen) for seen in contexts] + [(context - kept, context)]

    def call(queries: int, keys: int, masked: bool = False) -> Call:
        return call_of(dtype, (batch * shape.heads, queries, keys, shape.head_dim), masked)

    found = [call(asking * tokens, seen * tokens) for asking, seen in passes]
    found += [call(asking * tokens, shape.text_len) for asking, _ in passes]
    if batch > 1:
        found.append(call(block * tokens, context * tokens, masked=True))
    return list({one.kind: one for one in found}.values())


def world_calls(config: WorldConfig, device: torch.device, dtype: torch.dtype, batch: int = 1) -> list[Call]:
    """All kinds of calls of a world that offer a choice of kernels on a device; see `attention_calls`."""
    shape, tokens = config.transformer, batch * config.frame_tokens
    found = attention_calls(config, dtype, batch)
    if why_absent(device.type) is None and shape.dim <= WIDEST:
        passes = range(config.frames_per_block, config.context_frames + 1, config.frames_per_block)
        fusing = [fused_call(dtype, (frames * tokens, shape.heads, shape.head_dim)) for frames in passes]
        found += {call.kind: call for call in fusing}.values()
    return found


def missing_calls(
    config: WorldConfig, device: torch.device, dtype: torch.dtype, batch: int = 1
) -> list[Call]:
    """A world's calls that the table in use on a device does not cover."""
    table = table_of(device)
    return [
        call for call in world_calls(config, device, dtype, batch) if table is None or not table.times(call)
    ]


def measure(calls: list[Call], device: torch.device, on_call: OnCall | None = None) -> KernelTable:
    """Time every kernel of some calls on random tensors.

    Kernels that cannot run a call, or whose result differs from the reference, are left out and logged.

    Args:
        calls: calls to time.
        device: device to time them on.
        on_call: callback after each call.
    """
    timed = {"attention": _attention_times, "norm_rotate_store": _fused_times}
    us: dict[Call, Mapping[str, float]] = {}
    for done, call in enumerate(calls, 1):
        with torch.no_grad():
            times = timed[call.operation](call, device)
        if times:
            us[call] = times
        if on_call is not None:
            on_call(done, len(calls))
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return KernelTable(device_name(device), torch.__version__, us)


def _attention_times(call: Call, device: torch.device) -> dict[str, float]:
    """Microseconds by backend for one layer's attention."""
    rows, queries, keys, width = call.sizes  # rows are worlds times heads
    dtype = getattr(torch, call.dtype)
    generator = torch.Generator(device).manual_seed(0)

    def tensor(tokens: int) -> Tensor:
        return torch.randn(1, tokens, rows, width, generator=generator, device=device).to(dtype)

    q, k, v = tensor(queries), tensor(keys), tensor(keys)
    mask = torch.ones(1, 1, 1, keys, dtype=torch.bool, device=device) if call.masked else None
    if mask is not None:
        mask[..., keys // 2 :] = False
    runs: dict[str, Callable[[], Tensor]] = {
        backend: lambda backend=backend: attention(q, k, v, mask, backend=backend)  # type: ignore[misc]
        for backend in backends(device.type)
        if backend != "matmul" or rows * queries * keys * dtype.itemsize <= SCORES_AT_MOST
    }
    return times_of(runs, REFERENCE.get(device.type, "sdpa"), device, call)


def _fused_times(call: Call, device: torch.device) -> dict[str, float]:
    """Microseconds for one layer of PyTorch's kernels, of those its compiler makes, and of ours."""
    tokens, heads, width = call.sizes
    dtype, dim = getattr(torch, call.dtype), heads * width
    generator = torch.Generator(device).manual_seed(0)
    merged = torch.randn(1, tokens, 3 * dim, generator=generator, device=device).to(dtype)
    q, k, v = merged.chunk(3, -1)
    weight = torch.ones(dim, dtype=dtype, device=device)
    turn = torch.full((1, tokens, 1, width // 2), 0.5, device=device)
    rotation = Rotation(turn.cos(), turn.sin())
    slot = torch.ones(1, dtype=torch.int64, device=device)
    keys, values = (torch.zeros(2, tokens, heads, width, dtype=dtype, device=device) for _ in range(2))

    def run(kernel: Kernel) -> Tensor:
        return norm_rotate_store(kernel, q, k, v, weight, weight, 1e-6, rotation, slot, keys, values)

    compiled = compiler_of("default")(run)
    choose_fused("triton", device, dtype, (tokens, heads, width), False)  # loads it
    runs: dict[str, Callable[[], Tensor]] = {
        "plain": lambda: run("plain"),
        "compiled": lambda: compiled("plain"),
        "triton": lambda: run("triton"),
    }
    return times_of(runs, "plain", device, call)


def times_of(
    runs: Mapping[str, Callable[[], Tensor]], reference: str, device: torch.device, call: Call
) -> dict[str, float]:
    """Microseconds of each of some functions that should return the same; empty if none can run.

    Args:
        runs: functions by name of the kernel.
        reference: kernel that the others are compared with; if it cannot run, the first that can.
        device: device they run on.
        call: call that they run, for the log.
    """
    want: Tensor | None = None
    times: dict[str, float] = {}
    for name in (reference, *(name for name in runs if name != reference)):
        try:
            got = runs[name]().float()
            right = got if want is None else want
            error = float((got - right).norm() / right.norm())
            if not error <= CLOSE.get(getattr(torch, call.dtype), CLOSE_IN_HALF):
                logger.warning(
                    "%s of %s: %s is left out, it is off by %.1e", call.operation, call, name, error
                )
                continue
            want = right
            times[name] = round(_seconds(runs[name], device) * 1e6, 2)
        except Exception as problem:  # libraries raise anything, and other kernels may still run
            reason = (str(problem).splitlines() or [type(problem).__name__])[0]
            logger.info("%s of %s: %s cannot run it (%s)", call.operation, call, name, reason)
    return times


def _seconds(run: Callable[[], object], device: torch.device) -> float:
    """Seconds per run, in the fastest of several rounds."""
    on_cuda = device.type == "cuda"
    clock = _cuda_seconds if on_cuda else _host_seconds
    with torch.cuda.device(device) if on_cuda else nullcontext():  # where events are recorded
        clock(run)
        runs = min(RUNS_AT_MOST, max(1, math.ceil(ROUND_S / max(clock(run), 1e-9))))
        round_of_runs = _captured(run, runs, device) if on_cuda else _repeated(run, runs)
        return min(clock(round_of_runs) for _ in range(ROUNDS)) / runs


def _repeated(run: Callable[[], object], runs: int) -> Callable[[], None]:
    def round_of_runs() -> None:
        for _ in range(runs):
            run()

    return round_of_runs


def _captured(run: Callable[[], object], runs: int, device: torch.device) -> Callable[[], None]:
    """Successive runs as one graph, since small kernels end before the host has issued the next."""
    try:
        graph = torch.cuda.CUDAGraph()
        with capturing(graph, device):
            _repeated(run, runs)()
    except Exception:  # not every kernel can be captured
        return _repeated(run, runs)
    graph.replay()
    return graph.replay


def _host_seconds(run: Callable[[], object]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def _cuda_seconds(run: Callable[[], object]) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    run()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / 1e3
