"""Steps on CUDA, followed by tensors without data: PyTorch has to be built for CUDA, a GPU is not needed.

Such a tensor cannot be read: a step that waits for the device to learn a value fails here, and so does an
operation on tensors of two devices. What has no tensors (streams, events, graphs) is stood in for.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._pytree import tree_leaves

from longlive_env.engine import compile as compile_module
from longlive_env.engine import delivery, linear, snapshot
from longlive_env.engine.codec import CodecState, layout_of, put_channels_last
from longlive_env.engine.config import PRESETS, CodecConfig, CompileMode, LightVAEConfig, WorldConfig
from longlive_env.engine.merge import merge_projections
from longlive_env.engine.noise import WorldNoise
from longlive_env.engine.rollout import Rollout
from longlive_env.engine.world import World

DEVICE = torch.device("cuda:1")  # not the one that is current at first
COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.to.dtype_layout, torch.ops.aten.to.device)
CONVOLUTIONS = (torch.ops.aten.conv2d.default, torch.ops.aten.conv3d.default)

pytestmark = pytest.mark.skipif(torch.version.cuda is None, reason="PyTorch is built without CUDA")


class Traced(FakeTensorMode):
    """Tensors without data; while a graph is captured, none may come from the host.

    Attributes:
        capturing: whether a graph is being captured.
        hurried: whether a copy from the host that it has to wait for is a mistake.
        convolved: inputs of convolutions larger than one pixel.
    """

    capturing = False
    hurried = False

    def __init__(self) -> None:
        super().__init__()
        self.convolved: list[Tensor] = []

    def dispatch(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        leaves = tree_leaves((args, kwargs))
        if self.capturing and any(
            isinstance(x, Tensor) and x.device.type == "cpu" and x.dim() for x in leaves
        ):
            raise AssertionError(f"{func} reads the host's memory while a graph is captured")
        if func in COPIES and args[0].device.type == "cpu" and _on_cuda((kwargs or {}).get("device")):
            assert kwargs.get("non_blocking") or not self.hurried, "the host waits for a copy to the device"
            args[0].constant = None  # a number that is known here would be copied to a GPU
        if func in CONVOLUTIONS and set(args[1].shape[2:]) == {3}:
            self.convolved.append(args[0])
        return super().dispatch(func, types, args, kwargs)


def _on_cuda(device: torch.device | str | None) -> bool:
    return device is not None and torch.device(device).type == "cuda"


class Event:
    def __init__(self, enable_timing: bool = False) -> None:
        pass

    def record(self, stream: object = None) -> None:
        pass

    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, end: Event) -> float:
        return 1.0


class Stream:
    current: list[Stream]  # the innermost is the last

    def __init__(self, device: object, priority: int = 0) -> None:
        assert device in (DEVICE, DEVICE.index)
        self.priority = priority

    device = DEVICE

    def wait_stream(self, other: Stream) -> None:
        pass

    def synchronize(self) -> None:
        Stream.waits += 1

    waits = 0


class Graph:
    replays: list[tuple[Stream, Stream]]  # where each was captured, and where it was replayed
    pools: set[object]  # where they were captured
    stream: Stream

    def replay(self) -> None:
        Graph.replays.append((self.stream, Stream.current[-1]))


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[Traced]:
    mode = Traced()
    kept = (delivery._beside, compile_module.capture_stream)

    @contextmanager
    def captured(graph: Graph, pool: object = None, stream: Stream | None = None) -> Iterator[None]:
        assert stream is not None, "PyTorch would take a stream of the device that was current at first"
        graph.stream = stream
        Graph.pools.add(pool)
        mode.capturing = True
        try:
            yield
        finally:
            mode.capturing = False

    @contextmanager
    def on_stream(stream: Stream) -> Iterator[None]:
        Stream.current.append(stream)
        try:
            yield
        finally:
            Stream.current.pop()

    monkeypatch.setattr(Graph, "replays", [], raising=False)
    monkeypatch.setattr(Graph, "pools", set(), raising=False)
    handles = itertools.count()
    monkeypatch.setattr(Stream, "current", [Stream(DEVICE)], raising=False)
    for one in kept:
        one.cache_clear()
    for name, stand_in in {
        "Event": Event,
        "Stream": Stream,
        "stream": on_stream,
        "current_stream": lambda device: Stream.current[-1],
        "device": nullcontext,
        "CUDAGraph": Graph,
        "graph": captured,
        "graph_pool_handle": lambda: next(handles),
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    # a tensor without data proves nothing, and what was found of it would be kept
    monkeypatch.setattr(linear, "gelu_in_product", lambda dtype, device: device.type == "cuda")
    monkeypatch.setattr(Tensor, "pin_memory", lambda self: self)
    monkeypatch.setattr(Tensor, "record_stream", lambda self, stream: None)
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *args, pin_memory=False, **kwargs: empty(*args, **kwargs))
    yield mode
    for one in kept:
        one.cache_clear()


def started(world: World, mode: Traced, worlds: int = 2) -> Rollout:
    """The world's models on CUDA, without data, and a rollout."""
    for module in itertools.chain(world.transformer.modules(), world.codec.modules()):
        for own in (module._parameters, module._buffers):
            for name, tensor in own.items():
                if tensor is not None:
                    there = mode.from_tensor(tensor).to(DEVICE)
                    own[name] = nn.Parameter(there) if isinstance(tensor, nn.Parameter) else there
    return world.start(["a prompt"] * worlds, text=text_of(world, worlds))


def text_of(world: World, worlds: int) -> Tensor:
    shape = world.config.transformer
    return torch.zeros(worlds, shape.text_len, shape.text_dim, device=DEVICE)


def published(**changes: Any) -> WorldConfig:
    """The published world with few layers."""
    config = PRESETS["1.3b"]
    return replace(config, transformer=replace(config.transformer, layers=2), **changes)


@pytest.mark.parametrize("compiled", ["off", "graphs"])
@pytest.mark.parametrize(
    "changes",
    [{}, {"rope": "relative"}, {"keep_sink": False}, {"codec": LightVAEConfig()}],
    ids=["published", "relative positions", "sink rebuilt", "light codec"],
)
@pytest.mark.parametrize("eight_bits", [False, True], ids=["", "merged, fp8 cache"])
def test_steps_never_wait_and_stay_on_the_device(
    traced: Traced, changes: dict[str, Any], eight_bits: bool, compiled: CompileMode
) -> None:
    world = World.from_config(published(**changes), dtype=torch.bfloat16, text_encoder=False)
    if eight_bits:
        merge_projections(world.transformer)
        world.transformer.kv_dtype = torch.float8_e4m3fn
    world.compiled = compiled  # what is captured is the same without the compiler
    with traced:
        rollout = started(world, traced)
        traced.hurried = True
        blocks = [rollout.step() for _ in range(7)]
        rollout.switch_prompt("another", text=text_of(world, 2))
        blocks += [rollout.step(), rollout.step()]
        rollout.switch_prompt("a third", worlds=[1], text=text_of(world, 1))
        blocks += rollout.stream([None] * 3)
        rollout.reset_world(0, "a new one", 3, text=text_of(world, 1))
        blocks += [rollout.step() for _ in range(2)]
    assert {block.device.type for block in blocks} == {"cpu"}
    assert blocks[-1].shape == (2, 12, 480, 832, 3)
    assert bool(Graph.replays) == (compiled == "graphs")


def test_decoding_is_captured_where_it_replays_and_nothing_else_is(
    traced: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libraries keep a workspace for each stream, and two graphs that run at once must not share one."""
    world = World.from_config(published(codec=LightVAEConfig()), dtype=torch.bfloat16, text_encoder=False)
    world.compiled = "graphs"
    drawn, draw = list[int](), WorldNoise._drawn
    monkeypatch.setattr(WorldNoise, "_drawn", lambda *arguments: (drawn.append(1), draw(*arguments))[1])
    with traced:
        rollout = started(world, traced, 1)
        for _ in range(7):
            rollout.step()
    assert len(drawn) == 8  # what is drawn ahead is used
    beside, own = delivery._beside(DEVICE.index), compile_module.capture_stream(DEVICE)
    default = Stream.current[0]
    assert len({beside, own, default}) == 3 and beside.priority < default.priority
    assert set(Graph.replays) == {(beside, beside), (own, default)}


def test_a_state_is_kept_on_the_host_and_waited_for_once(
    traced: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stream, "waits", 0)
    monkeypatch.setattr(WorldNoise, "states", lambda self: torch.zeros(1, 8))  # those of generators have data
    world = World.from_config(published(codec=LightVAEConfig()), dtype=torch.bfloat16, text_encoder=False)
    with traced:
        rollout = started(world, traced, 1)
        rollout.step()
        waits, kept = Stream.waits, snapshot.keep(rollout.state, "of these weights")
        assert Stream.waits == waits + 1
        assert {tensor.device.type for tensor in kept.tensors.values()} == {"cpu"}


def test_rollouts_share_the_memory_of_their_graphs(traced: Traced) -> None:
    """One part for passes and one for decoding, of which every rollout would take gigabytes."""
    world = World.from_config(published(codec=LightVAEConfig()), dtype=torch.bfloat16, text_encoder=False)
    world.compiled = "graphs"
    with traced:
        first = started(world, traced, 1)
        rollouts = [first, world.start("another", text=text_of(world, 1))]
        for _ in range(7):
            for rollout in rollouts:
                rollout.step()
    assert len(Graph.pools) == 2 and None not in Graph.pools


def layout_of_cudnn(x: Tensor, weight: Tensor, backend: object) -> torch.memory_format:
    """Where cuDNN puts the channels of what it returns, which PyTorch asks it only where there is a GPU."""
    last = torch.channels_last if x.dim() == 4 else torch.channels_last_3d
    is_last = any(y.is_contiguous(memory_format=last) and not y.is_contiguous() for y in (x, weight))
    return last if is_last else torch.contiguous_format


@pytest.mark.parametrize(
    ("codec", "batch", "least"),
    [(PRESETS["1.3b"].codec, 1, 100), (LightVAEConfig(), 1, 60), (LightVAEConfig(), 2, 60)],
    ids=["wan", "light", "light, two worlds"],
)
def test_codecs_keep_channels_last(
    traced: Traced, monkeypatch: pytest.MonkeyPatch, codec: CodecConfig, batch: int, least: int
) -> None:
    monkeypatch.setattr(torch._C, "_conv_determine_backend_memory_format", layout_of_cudnn)
    world = World.from_config(replace(published(), codec=codec), dtype=torch.bfloat16, text_encoder=False)
    put_channels_last(world.codec)  # as on CUDA
    with traced:
        rollout = started(world, traced, batch)
        rollout.step()
        traced.convolved.clear()
        rollout.step()
    memory = {name: value.contiguous() for name, value in rollout.state.codec.memory.items()}
    rollout.state.codec = CodecState(rollout.state.codec.ages, memory)  # as from a snapshot
    with traced:
        rollout.decode(torch.zeros(batch, 3, *world.config.latent_shape, device=DEVICE))
    inner = [x for x in traced.convolved if x.shape[1] > world.config.codec.latent_channels]
    assert len(inner) > least
    assert all(layout_of(x) != torch.contiguous_format for x in inner)


def capture(work: Callable[[], object]) -> None:
    with torch.cuda.graph(torch.cuda.CUDAGraph(), stream=torch.cuda.current_stream(DEVICE)):
        work()


@pytest.mark.parametrize(
    ("mistake", "error"),
    [
        (lambda there, host: there.sum().item(), DataDependentOutputException),
        (lambda there, host: there + host, RuntimeError),
        (lambda there, host: capture(lambda: host.to(DEVICE)), AssertionError),
        (lambda there, host: host.to(DEVICE), AssertionError),
        (lambda there, host: there[[0, 1]], AssertionError),
    ],
    ids=["waits", "two devices", "copies in a capture", "waits for a copy", "indexed by a list"],
)
def test_mistakes_are_found(
    traced: Traced, mistake: Callable[[Tensor, Tensor], object], error: type[Exception]
) -> None:
    traced.hurried = True
    with traced, pytest.raises(error):
        mistake(torch.zeros(3, device=DEVICE), torch.zeros(3))
