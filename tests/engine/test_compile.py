"""Compiled passes: traced whole, compiled once a kind, and equal to eager ones."""

import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_config import SMALL
from torch._inductor.async_compile import AsyncCompile
from torch._inductor.utils import run_and_get_code

from longlive_env.engine import kernel_timing
from longlive_env.engine.codec import CodecState, layout_of, put_channels_last
from longlive_env.engine.compile import (
    KINDS_AT_MOST,
    Captured,
    Graphs,
    capture_stream,
    check_mode,
    compile_world,
    compiler_of,
    graph_pool,
    keep_compiled_in,
)
from longlive_env.engine.config import CodecConfig, LightVAEConfig, PatchVAEConfig, WanVAEConfig
from longlive_env.engine.rollout import Rollout
from longlive_env.engine.transformer import Block
from longlive_env.engine.warmup import warm_up
from longlive_env.engine.world import World
from longlive_env.engine.world_files import make_codec
from longlive_env.errors import BackendError, ConfigError

Make = Callable[..., World]
FULL = 5  # blocks until the context of the small world is full and its sink turns
SHORT = 9  # frames of a context that grows once before it is full
WAN = WanVAEConfig(dim=4, residual_blocks=0)  # decodes alone
LIGHT = LightVAEConfig((8, 6, 4, 4), 4)
PUBLISHED = [WAN, LIGHT]


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class Traced:
    """Traces functions whole, and counts the graphs; what it makes runs them as they are."""

    def __init__(self) -> None:
        self.graphs = 0
        self.functions = list[str]()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        self.functions.append(function.__name__)
        return torch.compile(function, fullgraph=True, dynamic=False, backend=self._backend)

    def _backend(self, graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        self.graphs += 1
        return graph.forward


@pytest.fixture
def compiled(make_world: Make, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[World, Traced]]:
    def make(**changes: Any) -> tuple[World, Traced]:
        world, traced = make_world(**changes), Traced()
        monkeypatch.setattr("longlive_env.engine.compile.compiler_of", lambda mode: traced)
        compile_world(world.transformer, world.codec, "default")
        world.compiled = "default"
        return world, traced

    return make


def play(rollout: Rollout) -> torch.Tensor:
    """First block, growing context, full context, recache of both kinds, blocks after it, mixed ages."""
    out = []
    for block in range(FULL + 5):
        if block in (2, FULL + 1):
            rollout.switch_prompt("a blue dog")
        if block == FULL + 3:
            rollout.reset_world(1, "a cat", 7)
        out.append(rollout.step_latents())
    return torch.cat(out, 1)


@pytest.mark.parametrize(("rope", "keep_sink"), [("absolute", True), ("relative", False)])
def test_every_kind_of_step_is_one_graph_and_equals_eager(
    make_world: Make,
    compiled: Callable[..., tuple[World, Traced]],
    rope: str,
    keep_sink: bool,
) -> None:
    settings = {"rope": rope, "keep_sink": keep_sink, "context_frames": SHORT}
    want = play(make_world(**settings).start(["a red cat", "a dog"]))
    world, traced = compiled(**settings)
    got = play(world.start(["a red cat", "a dog"]))
    assert traced.graphs > 4
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_the_light_codec_decodes_without_breaks() -> None:
    plain, latents = make_codec(LIGHT).eval(), torch.randn(2, 6, 16, 4, 6)
    whole, _ = plain.decode(latents, CodecState.fresh(2))
    traced, state, parts = Traced(), CodecState.fresh(2), []
    plain.compile_decoding(traced)
    for part in latents.split(2, dim=1):
        pixels, state = plain.decode(part, state)
        parts.append(pixels)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-4, atol=1e-4)
    assert traced.graphs >= 2  # a first block and those after it


@pytest.mark.parametrize("codec", PUBLISHED, ids=["wan", "light"])
@torch.no_grad()
def test_worlds_of_mixed_ages_are_compiled_for_once(codec: CodecConfig) -> None:
    """However many of them are new."""
    plain, model, traced = make_codec(codec).eval(), make_codec(codec).eval(), Traced()
    model.load_state_dict(plain.state_dict())
    model.compile_decoding(traced)
    latents = torch.randn(4, 3, 16, 4, 6)
    running = plain.decode(latents, CodecState.fresh(4)).state
    graphs = list[int]()
    for fresh in ([1], [0, 2], [0, 1, 3]):
        got, want = (one.decode(latents, running.reset(fresh)) for one in (model, plain))
        torch.testing.assert_close(got.pixels, want.pixels, rtol=1e-4, atol=1e-4)
        for name, value in want.state.memory.items():
            torch.testing.assert_close(got.state.memory[name], value, rtol=1e-4, atol=1e-4)
        graphs.append(traced.graphs)
    assert graphs[0] == graphs[-1]


@torch.no_grad()
def test_detail_is_compiled_by_itself() -> None:
    """In one graph with the frames that it enlarges these would be computed for each pixel anew."""
    plain = make_codec(PatchVAEConfig((16, 8), (1, 1), (16, 8), (1, 1), detail=(8, 1))).eval()
    latents, traced = torch.randn(2, 3, 16, 4, 6), Traced()
    want = plain.decode(latents, CodecState.fresh(2)).pixels
    plain.compile_decoding(traced)
    torch.testing.assert_close(plain.decode(latents, CodecState.fresh(2)).pixels, want, rtol=1e-4, atol=1e-4)
    assert traced.graphs == 2


def laid_out_as_by_cudnn(x: torch.Tensor, weight: torch.Tensor, *others: Any) -> torch.Tensor:
    """A 3D convolution whose output has its kernel's memory format, or its input's if the kernel has both."""
    out = torch.conv3d(x, weight, *others)
    either = weight.is_contiguous() and weight.is_contiguous(memory_format=torch.channels_last_3d)
    return out.contiguous(memory_format=layout_of(x if either else weight))


@pytest.mark.parametrize(("worlds", "channels_last"), [(2, False), (1, True)])
@torch.no_grad()
def test_the_wan_vae_is_compiled_frame_by_frame_without_breaks(
    worlds: int, channels_last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames in one graph would be interleaved, and need the memory of them all."""
    codec, latents = make_codec(WAN).eval(), torch.randn(worlds, 9, 16, 4, 6)
    whole, _ = codec.decode(latents, CodecState.fresh(worlds))
    traced, state, parts = Traced(), CodecState.fresh(worlds), []
    if channels_last:  # as on CUDA
        put_channels_last(codec)
        monkeypatch.setattr(torch.nn.functional, "conv3d", laid_out_as_by_cudnn)
    codec.compile_decoding(traced)
    for part in latents.split((3, 1, 2, 3), dim=1):
        pixels, state = codec.decode(part, state)
        parts.append(pixels)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-4, atol=1e-4)
    assert traced.graphs == 3  # the first frame, the second, whose past is not whole, and all others


@pytest.mark.parametrize("codec", PUBLISHED, ids=["wan", "light"])
@torch.no_grad()
def test_latents_and_worlds_that_began_otherwise_need_no_other_graphs(codec: CodecConfig) -> None:
    model, latents, traced = make_codec(codec).eval(), torch.randn(1, 2, 16, 4, 6), Traced()
    model.compile_decoding(traced)
    first, state = model.decode(latents, CodecState.fresh(1))
    for _ in range(2):
        state = model.decode(latents, state).state
    before = traced.graphs
    strided = latents.transpose(3, 4).contiguous().transpose(3, 4)  # as an encoder may return them
    again = model.decode(strided, state.reset([0]))
    assert torch.equal(again.pixels, first)
    model.decode(strided, again.state)
    assert traced.graphs == before


@pytest.mark.parametrize("codec", PUBLISHED, ids=["wan", "light"])
@pytest.mark.parametrize("worlds", [1, 2])
@torch.no_grad()
def test_a_memory_from_elsewhere_is_laid_out_as_on_cuda(codec: CodecConfig, worlds: int) -> None:
    """One of a snapshot, or with a world that was replaced; compiled code asks for strides."""
    model, latents = make_codec(codec).eval(), torch.randn(worlds, 2, 16, 4, 6)
    put_channels_last(model)
    traced, state = Traced(), CodecState.fresh(worlds)
    for _ in range(2):
        state = model.decode(latents, state).state
    model.compile_decoding(traced)  # for blocks that are not the first
    state = model.decode(latents, state).state
    before, plain = traced.graphs, {name: value.contiguous() for name, value in state.memory.items()}
    assert any(plain[name].stride() != value.stride() for name, value in state.memory.items())
    for other in (CodecState(state.ages, plain), state.assign([0], state.select([0]))):
        again = model.decode(latents, other).state
        assert traced.graphs == before
        assert all(again.memory[name].stride() == value.stride() for name, value in state.memory.items())


def test_the_last_block_of_a_pass_that_remembers_is_compiled(
    compiled: Callable[..., tuple[World, Traced]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left to itself, torchao's product in int8 prints what it is given, which no capture allows."""
    modes, plain = list[bool](), Block.store

    def store(*args: Any) -> None:
        modes.append(torch.compiler.is_compiling())
        plain(*args)

    monkeypatch.setattr(Block, "store", store)
    world, traced = compiled()
    world.start("a red cat").step()
    assert modes == [True] and traced.functions == ["_run_block", "_store_block", "_decode"]


def test_every_thread_may_compile_as_many_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **settings: function)
    limit = compiler_of("default")(lambda: torch._dynamo.config.recompile_limit)
    with ThreadPoolExecutor(1) as other:
        assert min(limit(), other.submit(limit).result()) >= KINDS_AT_MOST


def test_nothing_is_compiled_in_steady_state_and_frames_are_those_of_eager_execution(
    make_world: Make, compiled: Callable[..., tuple[World, Traced]]
) -> None:
    """With relative positions, which do all that absolute ones do, and turn the sink."""
    settings = {"rope": "relative", "context_frames": SHORT}
    world, traced = compiled(**settings)
    done: list[tuple[int, int]] = []
    warm_up(world, on_step=lambda *step: done.append(step))
    assert done == [(number, len(done)) for number in range(1, len(done) + 1)]  # how far it is
    before = traced.graphs
    rollout, eager = world.start("a red cat"), make_world(**settings).start("a red cat")
    for block in range(2 * FULL):
        if block == FULL:
            for one in (rollout, eager):
                one.switch_prompt("a blue dog")
        assert (rollout.step().int() - eager.step().int()).abs().max() <= 1
    rollout.step_latents()  # outside of inference mode as well
    rollout.reset_world(0, "a white cat", 5)  # in place, as envs do
    for _ in range(3):
        rollout.step()
    assert traced.graphs == before
    assert world.start("a green cat").step().shape[1] == 9 and traced.graphs == before


def test_compiled_passes_write_to_the_cache_in_place(
    make_world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernels are read, not run, so no C++ compiler has to go over them."""
    monkeypatch.setattr(AsyncCompile, "cpp_pybinding", lambda *source: lambda *arguments: None)
    world = make_world(rope="relative", transformer=replace(SMALL.transformer, layers=1))
    compile_world(world.transformer, world.codec, "default")
    rollout = world.start(["a red cat", "a dog"])
    with torch._inductor.config.patch({"force_disable_caches": True, "cpp.vec_isa_ok": False}):
        _, codes = run_and_get_code(rollout.step_latents)
    shapes = re.findall(r"empty_strided_cpu\(\(([\d, ]+)\)", "".join(codes))
    largest = max(math.prod(int(size) for size in shape.split(",") if size.strip()) for shape in shapes)
    assert 0 < largest < rollout.state.cache.keys[0].numel()


def test_impossible_modes_are_refused(make_world: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world()
    with pytest.raises(ConfigError, match="expected one of off, default, graphs, max"):
        world.compile("fast")  # type: ignore[arg-type]
    with pytest.raises(BackendError, match="CUDA graphs need a CUDA GPU"):
        world.compile("graphs")
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(BackendError, match=r"C\+\+ compiler, and 'no-such-compiler' is not found; install"):
        world.compile("default")
    monkeypatch.undo()
    world.compile("off")
    world.compile("default")
    with pytest.raises(ConfigError, match="compiled already"):
        world.compile("default")


@pytest.mark.parametrize(
    ("system", "compiler", "remedy"),
    [
        ("linux", "g++", r"install g\+\+, or use"),
        ("darwin", "clang++", r"install clang\+\+, or use"),
        ("win32", "cl", "install cl with Visual Studio's Build Tools and put it on PATH, or use"),
    ],
)
def test_the_compiler_is_that_of_the_system(
    monkeypatch: pytest.MonkeyPatch, system: str, compiler: str, remedy: str
) -> None:
    found: list[str] = []
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(shutil, "which", found.append)
    with pytest.raises(BackendError, match=remedy):
        check_mode("default", torch.device("cpu"))
    assert found == [compiler]
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    check_mode("default", torch.device("cpu"))


class RunAgain(Captured):
    """What a captured graph does, without a GPU: runs on its own inputs, whatever it is called with."""

    def _capture(self, function: Any) -> None:
        self._function = function
        function(self.x, self.memory)  # capturing does not run anything; running it twice must not matter

    def _replay(self) -> torch.Tensor | None:
        return self._function(self.x, self.memory)


@pytest.mark.parametrize("rope", ["absolute", "relative"])
def test_captured_steps_see_new_contents_at_fixed_addresses(
    make_world: Make, monkeypatch: pytest.MonkeyPatch, rope: str
) -> None:
    monkeypatch.setattr("longlive_env.engine.compile.Captured", RunAgain)
    world = make_world(rope=rope)
    want = play(world.start(["a red cat", "a dog"]))
    rollout = world.start(["a red cat", "a dog"])
    rollout._steps.graphs = graphs = Graphs()
    torch.testing.assert_close(play(rollout), want, rtol=1e-6, atol=1e-6)
    assert sum(captured is not None for captured in graphs._captured.values()) >= 2


def test_captures_name_the_stream_of_their_device(make_world: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """What PyTorch takes else is one of the device that was current at first."""
    asked: list[object] = []

    class Graph:
        def replay(self) -> None:
            pass

    def graph(graph: Graph, pool: object = None, stream: object = None) -> AbstractContextManager[None]:
        asked.append(stream)
        return nullcontext()

    entered: list[object] = []

    def stream(chosen: object) -> AbstractContextManager[None]:
        entered.append(chosen)
        return nullcontext()

    for name, stand_in in {
        "CUDAGraph": Graph,
        "graph": graph,
        "device": nullcontext,
        "stream": stream,
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: "the present one")
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: f"a stream of {device}")
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 1))
    x, memory = torch.zeros(1), make_world().start("a red cat").state.cache.append(3)
    capture_stream.cache_clear()
    Captured(lambda x, memory: x, x, memory)
    kernel_timing._captured(lambda: None, 2, x.device)
    capture_stream.cache_clear()
    assert asked == ["a stream of cpu"] * 2
    assert entered == ["the present one"] * 2  # to which a capture that fails comes back


def test_graphs_of_a_stream_share_memory_while_there_are_any(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch fails where a graph is captured in a pool whose graphs have all gone."""
    stream, handles = "one", iter(range(9))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: next(handles))
    device = torch.device("cuda", 0)
    passes = graph_pool(device)
    assert graph_pool(device) is passes
    stream = "another"
    decoding = graph_pool(device)
    assert decoding.handle != passes.handle
    stream, gone = "one", passes.handle
    del passes
    assert graph_pool(device).handle not in (gone, decoding.handle)


@pytest.mark.parametrize("ahead", [False, True])
def test_a_stream_is_its_steps(make_world: Make, ahead: bool) -> None:
    world = make_world()
    one, other = world.start("a red cat"), world.start("a red cat")
    prompts = [None, None, "a blue dog", None]
    for prompt, frames in zip(prompts, one.stream(prompts, ahead=ahead), strict=True):
        if prompt:
            other.switch_prompt(prompt)
        assert torch.equal(frames, other.step())
    assert one.snapshot() == other.snapshot()


@pytest.mark.gpu
@pytest.mark.parametrize("mode", ["default", "graphs"])
@pytest.mark.parametrize("rope", ["absolute", "relative"])
def test_compiled_steps_on_cuda_equal_eager_ones(
    make_config: Callable[..., Any], mode: Any, rope: str
) -> None:
    results = []
    for chosen in ("off", mode):
        world = World.from_config(make_config(rope=rope), device="cuda")
        world.optimize()
        world.compile(chosen)
        results.append(play(world.start(["a red cat", "a dog"])).cpu())
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
def test_steady_state_never_waits_for_the_device(make_config: Callable[..., Any]) -> None:
    world = World.from_config(make_config(rope="relative"), device="cuda")
    world.optimize()
    world.compile("graphs")
    warm_up(world)
    rollout = world.start("a red cat")
    for _ in range(2 * FULL):
        rollout.step()
    with torch.profiler.profile() as profile:
        for _ in range(3):
            rollout.step_latents()
    names = [event.key for event in profile.key_averages()]
    assert any("cudaGraphLaunch" in name for name in names)
    assert not [name for name in names if "cudaStreamSynchronize" in name or name == "aten::item"]


@pytest.mark.gpu
@pytest.mark.parametrize("mode", ["off", "graphs"])
def test_a_stream_on_cuda_is_its_steps(make_config: Callable[..., Any], mode: Any) -> None:
    world = World.from_config(make_config(), device="cuda")
    world.optimize()
    world.compile(mode)
    one, other = world.start("a red cat"), world.start("a red cat")
    prompts = [None] * FULL + ["a blue dog", None, None]
    for prompt, frames in zip(prompts, one.stream(prompts), strict=True):
        if prompt:
            other.switch_prompt(prompt)
        assert torch.equal(frames, other.step())
    assert one.snapshot() == other.snapshot()


def test_compiled_code_is_kept_where_the_environment_says_or_else_in_the_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "elsewhere")
    keep_compiled_in(tmp_path)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "elsewhere"
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    keep_compiled_in(tmp_path)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path)


def test_a_world_that_is_not_compiled_never_loads_the_compiler() -> None:
    """Importing it takes as long as all the rest together."""
    code = (
        "import sys\n"
        "from longlive_env import World\n"
        "World.load('tiny').start('a red cat jumps in the city at night').step()\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
