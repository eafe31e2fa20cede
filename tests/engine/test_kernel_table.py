"""Measured kernels: made, kept, joined, and followed by the choice of attention."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from longlive_env.engine import attention as attention_module
from longlive_env.engine import kernel_files, kernel_timing
from longlive_env.engine.attention import attention, backends, call_of, choose_backend
from longlive_env.engine.config import PRESETS
from longlive_env.engine.kernel_table import Call, KernelTable, table_of, use_table
from longlive_env.engine.world import World

CPU = torch.device("cpu")
SIZES = (6, 5, 9, 16)  # B * H, Q, K, D


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LONGLIVE_HOME", str(tmp_path))
    yield
    use_table(CPU, None)


def table(dtype: torch.dtype = torch.float32, masked: bool = False, **us: float) -> KernelTable:
    return KernelTable("CPU", torch.__version__, {call_of(dtype, SIZES, masked): us})


def chosen(dtype: torch.dtype = torch.float32, sizes: tuple[int, ...] = SIZES, masked: bool = False) -> str:
    return choose_backend(CPU, dtype, masked, sizes)


def test_calls_of_nearly_one_size_are_of_one_kind() -> None:
    call = call_of(torch.float32, (12, 4680, 18720, 128), False)
    assert call.kind == call_of(torch.float32, (12, 4000, 16000, 128), False).kind
    others = [(48, 4680, 18720, 128), (12, 4680, 9360, 128), (12, 4680, 18720, 64)]
    for other in [call_of(torch.float32, sizes, False) for sizes in others]:
        assert call.kind != other.kind
    assert call.kind != call_of(torch.bfloat16, call.sizes, False).kind
    assert call.kind != call_of(torch.float32, call.sizes, True).kind


def test_the_fastest_is_chosen_and_named(caplog: pytest.LogCaptureFixture) -> None:
    assert chosen() == "sdpa" and chosen(torch.bfloat16) == "matmul"  # today's reasons
    use_table(CPU, table(sdpa=30.0, matmul=20.4))
    with caplog.at_level(logging.INFO, logger=attention_module.__name__):
        assert chosen() == chosen() == "matmul"
    assert [record.message for record in caplog.records] == [
        "attention of 5 queries to 9 keys on CPU in torch.float32: matmul, because it was measured fastest "
        "(matmul 20 us, sdpa 30 us)"
    ]
    assert chosen(sizes=(6, 5, 900, 16)) == chosen(masked=True) == "sdpa"  # not measured
    use_table(CPU, table(torch.bfloat16, sdpa=1.0, matmul=2.0))
    assert chosen(torch.bfloat16) == "sdpa"
    use_table(CPU, None)
    assert chosen() == "sdpa"


def test_what_has_gone_since_is_not_chosen() -> None:
    use_table(CPU, table(flash=1.0, matmul=2.0, sdpa=3.0))
    assert backends("cpu") == ("sdpa", "matmul") and chosen() == "matmul"


def test_a_table_changes_the_kernel_and_not_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 5, 3, 16), torch.randn(2, 9, 3, 16), torch.randn(2, 9, 3, 16)
    want = attention(q, k, v)
    used = []
    matmul = attention_module._KERNELS["matmul"]
    monkeypatch.setitem(attention_module._KERNELS, "matmul", lambda *args: used.append(1) or matmul(*args))
    use_table(CPU, table(sdpa=2.0, matmul=1.0))
    torch.testing.assert_close(attention(q, k, v), want, rtol=1e-5, atol=1e-6)
    assert used == [1]


def test_the_choice_is_traced_whole() -> None:
    torch._dynamo.reset()
    for choice in (choose_backend, attention_module.available):  # as compiling a world does
        torch.compiler.assume_constant_result(choice)
    use_table(CPU, table(sdpa=2.0, matmul=1.0))
    graphs = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        graphs.append({node.target for node in graph.graph.nodes})
        return graph.forward

    q, k, v = torch.randn(2, 5, 3, 16), torch.randn(2, 9, 3, 16), torch.randn(2, 9, 3, 16)
    run = torch.compile(attention, fullgraph=True, dynamic=False, backend=backend)
    torch.testing.assert_close(run(q, k, v), attention(q, k, v, backend="sdpa"), rtol=1e-5, atol=1e-6)
    (nodes,) = graphs
    assert torch.nn.functional.scaled_dot_product_attention not in nodes
    torch._dynamo.reset()


def test_every_backend_of_a_world_is_timed(make_world: Any) -> None:
    config = make_world().config
    calls = kernel_timing.attention_calls(config, torch.float32, batch=2)
    assert len({call.kind for call in calls}) == len(calls) and any(call.masked for call in calls)
    found = kernel_timing.measure(calls[:2], CPU)
    assert all(set(times) == {"sdpa", "matmul"} and min(times.values()) > 0 for times in found.us.values())


def test_the_large_world_is_timed_at_a_full_context() -> None:
    calls = kernel_timing.attention_calls(PRESETS["1.3b"], torch.bfloat16)
    sizes = {call.sizes for call in calls}
    # denoising, recache behind the kept sink, and both to the prompt
    assert {(12, 4680, 18720, 128), (12, 14040, 18720, 128)} <= sizes
    assert (12, 4680, 512, 128) in sizes and not any(call.masked for call in calls)


def test_kernels_that_fail_or_differ_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> torch.Tensor:
        raise RuntimeError("no kernel for this shape")

    right = torch.ones(4)
    runs = {
        "right": lambda: right,
        "wrong": lambda: right * 1.2,
        "nan": lambda: right * torch.nan,
        "not": fails,
    }
    call = Call("attention", "float32", SIZES)
    with caplog.at_level(logging.INFO, logger=kernel_timing.__name__):
        assert list(kernel_timing.times_of(runs, "right", CPU, call)) == ["right"]
    assert "wrong is left out" in caplog.text and "no kernel for this shape" in caplog.text
    for broken in ("nan", "not"):  # then the first that runs is what others are compared with
        assert list(kernel_timing.times_of(runs, broken, CPU, call)) == ["right"]


def test_each_kind_of_device_has_its_reference(make_world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What SDPA takes by itself may be the kernel that is wrong."""
    calls = kernel_timing.attention_calls(make_world().config, torch.float32)[:1]
    sdpa = attention_module._KERNELS["sdpa"]
    monkeypatch.setitem(attention_module._KERNELS, "sdpa", lambda *args: sdpa(*args) * 1.1)
    monkeypatch.setattr(kernel_timing, "REFERENCE", {"cpu": "matmul"})
    (times,) = kernel_timing.measure(calls, CPU).us.values()
    assert set(times) == {"matmul"}


def test_a_call_that_its_reference_cannot_run_costs_that_kernel_alone(
    make_world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*tensors: object) -> torch.Tensor:
        raise RuntimeError("no plan for this shape")

    calls = kernel_timing.attention_calls(make_world().config, torch.float32)[:2]
    monkeypatch.setitem(attention_module._KERNELS, "sdpa", fails)
    found = kernel_timing.measure(calls, CPU)
    assert [set(times) for times in found.us.values()] == [{"matmul"}] * 2
    monkeypatch.setitem(attention_module._KERNELS, "matmul", fails)
    assert not kernel_timing.measure(calls, CPU).us


class Clock:
    """Stands in for torch's CUDA events: they are recorded on the stream of the present device."""

    device = 0

    def __init__(self, enable_timing: bool) -> None:
        self.recorded: int | None = None

    def record(self) -> None:
        self.recorded = Clock.device

    def synchronize(self) -> None: ...

    def elapsed_time(self, end: "Clock") -> float:
        assert self.recorded == end.recorded == 1
        return 5.0


def test_kernels_are_timed_on_the_device_where_they_run(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def present(device: torch.device) -> Iterator[None]:
        monkeypatch.setattr(Clock, "device", device.index)
        yield
        monkeypatch.setattr(Clock, "device", 0)

    monkeypatch.setattr("torch.cuda.Event", Clock)
    monkeypatch.setattr("torch.cuda.device", present)
    seconds = kernel_timing._seconds(lambda: None, torch.device("cuda", 1))
    assert seconds == pytest.approx(0.005 / 4)  # rounds of 4 runs


def test_a_folder_that_cannot_be_looked_into_has_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", refused)
    assert kernel_files.read_table(CPU) is None


def test_tables_are_kept_and_joined(make_world: Any, caplog: pytest.LogCaptureFixture) -> None:
    config = make_world().config
    calls = kernel_timing.attention_calls(config, torch.float32)
    assert kernel_timing.missing_calls(config, CPU, torch.float32) == calls
    first = kernel_files.measure_and_keep(calls[:1], CPU)
    kernel_files.measure_and_keep(calls[1:], CPU)
    assert not kernel_timing.missing_calls(config, CPU, torch.float32)
    kept = kernel_files.read_table(CPU)
    assert kept is not None and list(kept.us) == calls and kept.us[calls[0]] == first.us[calls[0]]
    again = kept.joined(KernelTable("CPU", "2", {calls[0]: {"sdpa": 1.0}}))
    assert len(again.us) == len(calls) and again.times(calls[0]) == {"sdpa": 1.0}
    file = kernel_files.table_file(CPU)
    assert file.parent.name == "kernels" and "torch-2." in file.name
    whole = json.loads(file.read_text())
    changes = [{"us": []}, {"sizes": []}, {"sizes": [6, 0, 9, 16]}]
    rows = [{**whole["calls"][0], **change} for change in changes]
    damaged = [{"version": 0}, {"version": 1, "calls": 3}, *({**whole, "calls": [row]} for row in rows)]
    for content in ("{", "[]", *map(json.dumps, damaged)):
        file.write_text(content)
        assert kernel_files.read_table(CPU) is None
    assert caplog.text.count("is left out, kernels are chosen without it") == 7


def test_loading_a_world_uses_the_kept_table(small_world_folder: Path) -> None:
    World.load(small_world_folder)
    assert table_of(CPU) is None
    kernel_files.keep_table(CPU, table(sdpa=1.0))
    World.load(small_world_folder)
    found = table_of(CPU)
    assert found is not None and found.times(call_of(torch.float32, SIZES, False)) == {"sdpa": 1.0}


def test_a_start_times_what_nobody_has_timed(make_world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from longlive_env.cli.world_options import time_kernels_shown

    world, timed = make_world(), []
    monkeypatch.setattr(
        kernel_timing, "_attention_times", lambda call, _: timed.append(call) or {"sdpa": 1.0}
    )
    time_kernels_shown(world)
    assert timed == kernel_timing.attention_calls(world.config, torch.float32)
    time_kernels_shown(world)
    assert len(set(timed)) == len(timed) and table_of(CPU) is not None
    time_kernels_shown(world, batch=2)
    assert timed[-1].masked


def test_a_home_that_cannot_be_written_costs_the_table_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LONGLIVE_HOME", str(tmp_path / "file"))
    kernel_files.keep_table(CPU, table(sdpa=1.0))
    assert "measured kernels are not kept in" in caplog.text


@pytest.mark.gpu
def test_tables_are_measured_on_cuda(make_world: Any) -> None:
    cuda = torch.empty(0, device="cuda").device
    calls = kernel_timing.attention_calls(PRESETS["tiny"], torch.bfloat16, batch=2)
    found = kernel_files.measure_and_keep(calls, cuda)
    assert all("sdpa" in times for times in found.us.values()) and table_of(cuda) is not None
    q = torch.randn(2, calls[0].sizes[1], calls[0].sizes[0] // 2, calls[0].sizes[3], device=cuda)
    want = attention(q, q, q, backend="sdpa")
    torch.testing.assert_close(attention(*(q.bfloat16(),) * 3).float(), want, rtol=3e-2, atol=3e-2)
    use_table(cuda, None)


@pytest.mark.gpu
@pytest.mark.parametrize("masked", [False, True])
def test_sdpa_is_checked_against_another_kernel_on_cuda(
    masked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = call_of(torch.bfloat16, (24, 256, 512, 64), masked)
    (times,) = kernel_timing.measure([call], torch.device("cuda", 0)).us.values()
    assert {"sdpa", "sdpa-efficient", "matmul"} <= set(times)
    sdpa = attention_module._KERNELS["sdpa"]
    monkeypatch.setitem(attention_module._KERNELS, "sdpa", lambda *args: sdpa(*args) * 1.1)
    (without,) = kernel_timing.measure([call], torch.device("cuda", 0)).us.values()
    assert "sdpa" not in without and {"sdpa-efficient", "matmul"} <= set(without)
