"""Compiled and captured block steps, behind one switch.

`compile_world` transforms a world's models, like `quantize`: the same functions run the same operations. All
blocks of the transformer share one compiled function for each kind of pass, so compiling thirty layers takes
as long as compiling one. What changes from video block to video block is passed in tensors (see
`cache_pass`), so nothing is compiled again in steady state.

The device replays a captured function by itself, without the host launching each kernel. Its inputs are at
fixed addresses; those of the caches are fixed anyway.

A compiled world is for generating, not for training.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from longlive_env.engine.attention import available, choose_backend
from longlive_env.engine.cache_pass import Pass
from longlive_env.engine.codec import Codec, Compiler
from longlive_env.engine.config import CompileMode
from longlive_env.engine.fused import choose_fused
from longlive_env.engine.linear import gelu_in_product
from longlive_env.engine.offload import is_offloaded
from longlive_env.engine.transformer import Block, CausalWanTransformer, KeysValues, Memory
from longlive_env.errors import BackendError, ConfigError

_THREAD = threading.local()
KINDS_AT_MOST = 1024  # kinds of passes: filling contexts, mixed ages, recaches of some worlds


class CompiledBlock(Block):
    """A transformer block whose passes over a cache run compiled; see `compile_world`."""

    run: Callable[..., Tensor]  # `_run_block`, compiled
    keep: Callable[..., None]  # `_store_block`, compiled

    def forward(
        self, x: Tensor, conditioning: Tensor, cross: KeysValues, memory: Memory, layer: int
    ) -> Tensor:
        """See `Block`."""
        if torch.is_grad_enabled() or not isinstance(memory, Pass):
            return super().forward(x, conditioning, cross, memory, layer)
        return self.run(self, x, conditioning, cross, memory.layers[layer])

    def store(self, x: Tensor, conditioning: Tensor, memory: Memory, layer: int) -> None:
        """See `Block`; without compilation, torchao's int8 product reads values, which no capture allows."""
        if torch.is_grad_enabled() or not isinstance(memory, Pass):
            super().store(x, conditioning, memory, layer)
        else:
            self.keep(self, x, conditioning, memory.layers[layer])


def _run_block(block: Block, x: Tensor, conditioning: Tensor, cross: KeysValues, memory: Pass) -> Tensor:
    return Block.forward(block, x, conditioning, cross, memory, 0)


def _store_block(block: Block, x: Tensor, conditioning: Tensor, memory: Pass) -> None:
    Block.store(block, x, conditioning, memory, 0)


def compile_world(transformer: CausalWanTransformer, codec: Codec, mode: CompileMode) -> None:
    """Make the blocks of a transformer and the decoder of a codec run compiled, in place.

    Compilation itself happens when a kind of pass first runs; `warm_up` runs them all.

    Args:
        transformer: transformer in its final precision, on the device where it runs.
        codec: codec of the same world.
        mode: "default" compiles; "graphs" also captures recurring work in CUDA graphs; "max" also lets
            kernels compete for each matrix product, which takes minutes; "off" leaves everything as it is.

    Raises:
        ConfigError: the models are offloaded or compiled already; for other errors see `check_mode`.
    """
    check_mode(mode, transformer.patch_embedding.weight.device)
    if mode == "off":
        return
    blocks = [block for block in transformer.blocks if isinstance(block, Block)]
    if any(isinstance(block, CompiledBlock) for block in blocks):
        raise ConfigError("the world is compiled already; load it again to compile it in another mode")
    if is_offloaded(transformer):
        raise ConfigError(
            "weights that stay on the host cannot be compiled; choose one of compile and offload"
        )
    fix_choices()
    compiler = compiler_of(mode)
    run, keep = compiler(_run_block), compiler(_store_block)
    for block in blocks:
        block.__class__ = CompiledBlock
        object.__setattr__(block, "run", run)  # shared by all blocks, a submodule of none
        object.__setattr__(block, "keep", keep)
    codec.compile_decoding(compiler)


def keep_compiled_in(folder: Path) -> None:
    """Make PyTorch cache compiled code in a folder, unless TORCHINDUCTOR_CACHE_DIR names another.

    PyTorch looks only at that variable, so this applies to the whole process.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder))


def fix_choices() -> None:
    """Tell the compiler that choices of kernels are constant, so that it need not trace them.

    Marking the functions where they are defined would import the compiler, which takes a second.
    """
    for choice in (choose_backend, available, choose_fused, gelu_in_product):
        torch.compiler.assume_constant_result(choice)


def captures(mode: CompileMode, device: torch.device) -> bool:
    """Whether recurring work is captured in CUDA graphs.

    A capture is global: while it lasts, many CUDA calls from other threads, such as allocations, fail and end
    it. Threads that share a device therefore have to take turns, as in `viewer.seat`.
    """
    return mode in ("graphs", "max") and device.type == "cuda"


@functools.cache
def capture_stream(device: torch.device) -> torch.cuda.Stream:
    """The stream on which graphs of a GPU are captured, always the same one.

    By default, PyTorch takes a stream of the GPU that was current at its first capture, so on any other GPU
    nothing would be captured. Besides, a memory pool should be used from one stream.
    """
    return torch.cuda.Stream(device)


@contextmanager
def plain_tensors() -> Iterator[None]:
    """Disable gradients, and inference mode as well: compiled functions need inputs of one kind."""
    with torch.inference_mode(False), torch.no_grad():
        yield


def compiler_of(mode: CompileMode) -> Compiler:
    """Return a transform that compiles a function as one graph, for any mode except "off"."""
    kind = "max-autotune-no-cudagraphs" if mode == "max" else "default"

    def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
        run = torch.compile(function, fullgraph=True, dynamic=False, mode=kind)

        @functools.wraps(function)
        def with_limits(*args: Any) -> Any:
            _raise_limits()
            return run(*args)

        return with_limits

    return compiled


def _raise_limits() -> None:
    """Raise the compiler's limits to all possible kinds: as no graph may break, exceeding them is an error.

    From torch 2.12 on, limits are per thread, so each thread raises them when it first runs something.
    """
    if hasattr(_THREAD, "raised"):
        return
    limits = torch._dynamo.config
    limits.recompile_limit = max(limits.recompile_limit, KINDS_AT_MOST)
    limits.accumulated_recompile_limit = max(limits.accumulated_recompile_limit, 8 * KINDS_AT_MOST)
    _THREAD.raised = True


def check_mode(mode: CompileMode, device: torch.device) -> None:
    """Check that worlds on a device can be compiled in a mode.

    Raises:
        ConfigError: the mode is unknown.
        BackendError: the device or the machine lacks what the mode needs.
    """
    if mode not in get_args(CompileMode):
        raise ConfigError(f"compile is {mode!r}; expected one of {', '.join(get_args(CompileMode))}")
    if mode == "off":
        return
    if mode == "graphs" and device.type != "cuda":
        raise BackendError(f"compile 'graphs' on {device}: CUDA graphs need a CUDA GPU; use 'default'")
    default = {"win32": "cl", "darwin": "clang++"}.get(sys.platform, "g++")  # as PyTorch chooses
    compiler = os.environ.get("CXX", default)
    if device.type == "cpu" and shutil.which(compiler) is None:
        place = " with Visual Studio's Build Tools and put it on PATH" if default == "cl" else ""
        raise BackendError(
            f"compiling for a CPU needs a C++ compiler, and {compiler!r} is not found; "
            f"install {default}{place}, or use compile 'off'"
        )
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        raise BackendError("compiling for CUDA needs triton; install it, or use compile 'off'")


@contextmanager
def capturing(graph: torch.cuda.CUDAGraph, device: torch.device, pool: Any = None) -> Iterator[None]:
    """Capture what runs inside; no other thread may use the device meanwhile, see `captures`.

    A failed capture leaves its own stream current; entering the current one first restores it.
    """
    with (
        torch.cuda.device(device),
        torch.cuda.stream(torch.cuda.current_stream(device)),
        torch.cuda.graph(graph, pool, capture_stream(device)),
    ):
        yield


class GraphPool:
    """Memory that graphs share; keep this object as long as any graph captured in it."""

    def __init__(self) -> None:
        self.handle = torch.cuda.graph_pool_handle()


_POOLS: WeakValueDictionary[torch.cuda.Stream, GraphPool] = WeakValueDictionary()


def graph_pool(device: torch.device) -> GraphPool:
    """The memory shared by all graphs, of any world, that replay on the current stream.

    The graphs run one after the other, and the output of one is copied out on that stream before the next
    runs, so no two threads may run them at once, see `captures`. A handle whose graphs are all gone cannot be
    used again, so a pool lives only as long as its holders.
    """
    stream = torch.cuda.current_stream(device)
    pool = _POOLS.get(stream)
    if pool is None:
        pool = _POOLS[stream] = GraphPool()
    return pool


class Graphs:
    """Runs functions of a tensor and a pass; a kind that recurs is captured, then replayed.

    The first run does whatever a capture must not contain (compilation, creating library handles).
    """

    def __init__(self) -> None:
        self._captured: dict[tuple[object, ...], Captured | None] = {}

    def run(
        self, name: str, function: Callable[[Tensor, Pass], Tensor | None], x: Tensor, memory: Pass
    ) -> Tensor | None:
        """Return ``function(x, memory)``; all else that it reads must be constant or at fixed addresses."""
        key = (name, tuple(x.shape), *memory.kind)
        if key not in self._captured:
            self._captured[key] = None
            return function(x, memory)
        captured = self._captured[key]
        if captured is None:
            captured = self._captured[key] = Captured(function, x, memory)
        return captured(x, memory)


class Captured:
    """One captured function of a tensor and a pass.

    Attributes:
        x: copy of the tensor, at a fixed address.
        memory: copy of the pass, at fixed addresses.
    """

    def __init__(self, function: Callable[[Tensor, Pass], Tensor | None], x: Tensor, memory: Pass) -> None:
        self.x, self.memory = x.clone(), memory.at_fixed_addresses()
        self._capture(function)

    def __call__(self, x: Tensor, memory: Pass) -> Tensor | None:
        """Run the function on new contents."""
        self.x.copy_(x, non_blocking=True)
        self.memory.take(memory)
        out = self._replay()
        return None if out is None else out.clone()

    def _capture(self, function: Callable[[Tensor, Pass], Tensor | None]) -> None:
        self._pool = graph_pool(self.x.device)
        self._graph = torch.cuda.CUDAGraph()
        with capturing(self._graph, self.x.device, self._pool.handle):
            self._out = function(self.x, self.memory)

    def _replay(self) -> Tensor | None:
        self._graph.replay()
        return self._out
