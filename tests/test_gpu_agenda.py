"""The items for a GPU run on a CPU at small sizes, so that no GPU time is lost to a slip."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from scripts import benchmark

from longlive_env.bench import BenchConfig
from longlive_env.engine.config import PRESETS
from longlive_env.engine.kernel_table import use_table
from longlive_env.engine.world import World


@pytest.fixture(scope="module")
def agenda() -> ModuleType:
    return benchmark("gpu_agenda")


def results(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return found


@pytest.fixture
def smaller(small_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights of the tiny world's sizes are of those of the tests' small world."""
    monkeypatch.setitem(PRESETS, "tiny", small_world.config)


@pytest.mark.usefixtures("smaller")
@pytest.mark.parametrize("item", ["check", "kernels", "profile", "without", "take", "endless"])
def test_items_run_small(
    agenda: ModuleType, item: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("longlive_env.engine.kernel_timing.ROUND_S", 1e-4)
    monkeypatch.setattr("longlive_env.roofline.ROUNDS", 1)
    arguments = [item, "--small", "--device", "cpu", "--blocks", "2", "--out", str(tmp_path)]
    assert agenda.main(arguments) == 0
    written = results(tmp_path)[item]
    assert "machine" in written and [*tmp_path.iterdir()] == [tmp_path / "results.json"]
    if item == "check":
        assert written["finite"] and 0 < written["relative_error_bf16"] < agenda.CLOSE
        assert len(written["block_ms"]) == 2
    elif item == "kernels":
        assert all(row["us"] for row in written["table"]["calls"])
    elif item in ("take", "endless"):
        assert written["blocks_done"] == len(written["all_ms"]) == 2 and written["ratio"] is None
    else:
        assert written["compile"] == "off" and written["matrix_tflops"] > 0
        for part in (written, written["transformer"], written["decode"]):
            kernels, busy, wall = part["kernels_ms"], part["busy_ms"], part["wall_ms"]
            assert kernels == pytest.approx(sum(part["by_kind_ms"].values()), abs=0.1)
            assert 0 < busy <= wall and part["gap_ms"] == pytest.approx(wall - busy, abs=0.02)
        assert (
            written["transformer"]["by_kind_ms"]["linear"] > 0 and written["decode"]["by_kind_ms"]["conv"] > 0
        )
        assert written["floor_ms"]["transformer"] > 0 and written["floor_ms"]["decode"] > 0


def test_memory_and_batches_run_small(
    agenda: ModuleType, small_world_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agenda, "TINY", str(small_world_folder))
    monkeypatch.setattr(agenda, "memory_settings", lambda: {"8 GB": {"memory": "8", "blocks": 1}})
    monkeypatch.setattr("longlive_env.bench.blocks.REPEATS", 1)
    base = agenda.large_config
    own = {"world": str(small_world_folder), "random_weights": False}
    monkeypatch.setattr(agenda, "large_config", lambda args: replace(base(args), **own))
    arguments = ["--small", "--device", "cpu", "--blocks", "1", "--out", str(tmp_path)]
    assert agenda.main(["memory", *arguments]) == 0
    assert results(tmp_path)["memory"]["peaks_mb"]["8 GB"]["predicted"] > 0
    clock = iter([0.0, 0.0, 1.0])  # the third batch is not begun
    monkeypatch.setattr(agenda.time, "monotonic", lambda: next(clock, 1e9))
    assert agenda.main(["batch", *arguments]) == agenda.LATE
    found = results(tmp_path)["batch"]["frames_per_second"]
    assert [*found] == ["off"] and [*found["off"]] == ["1", "2"]
    assert all(figures["fps"] > 0 for figures in found["off"].values())


def test_a_batch_cut_short_goes_on_where_it_was(
    agenda: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int] = []

    def figures(config: BenchConfig) -> dict[str, Any]:
        measured.append(config.batch)
        return {"end_to_end": {"fps": float(min(config.batch, 4))}}

    monkeypatch.setattr(agenda, "bench", figures)
    clock = iter([0.0, 0.0, 1.0, 1e9])  # the third batch is not begun
    monkeypatch.setattr(agenda.time, "monotonic", lambda: next(clock, 0.0))
    arguments = ["batch", "--small", "--device", "cpu", "--out", str(tmp_path)]
    assert agenda.main(arguments) == agenda.LATE and measured == [1, 2]
    assert results(tmp_path)["batch"]["status"] == agenda.LATE
    assert agenda.main(arguments) == 0 and measured == [1, 2, 4, 8]
    assert "status" not in results(tmp_path)["batch"]
    assert agenda.main(arguments) == 0 and len(measured) == 4  # nothing is left to measure
    assert agenda.main([*arguments, "--compile", "default"]) == 0 and measured[4:] == [1, 2, 4, 8]
    assert [*results(tmp_path)["batch"]["frames_per_second"]] == ["off", "default"]
    assert agenda.main([*arguments, "--blocks", "3"]) == 0 and measured[8:] == [1, 2, 4, 8]


def test_batches_end_for_good_where_memory_does(
    agenda: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int] = []

    def figures(config: BenchConfig) -> dict[str, Any]:
        measured.append(config.batch)
        if config.batch == 4:
            raise RuntimeError("out of memory")
        return {"end_to_end": {"fps": float(config.batch)}}

    monkeypatch.setattr(agenda, "bench", figures)
    arguments = ["batch", "--small", "--device", "cpu", "--out", str(tmp_path)]
    for _ in range(2):
        assert agenda.main(arguments) == 0 and measured == [1, 2, 4]
        assert "out of memory" in results(tmp_path)["batch"]["frames_per_second"]["off"]["4"]["error"]


@pytest.mark.usefixtures("smaller")
def test_an_endless_take_keeps_its_longest(
    agenda: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import large_world

    arguments = ["endless", "--small", "--device", "cpu", "--blocks", "9", "--out", str(tmp_path)]
    monkeypatch.setattr(large_world, "KEPT_EVERY", 2)
    waits = iter(range(99))

    def wait(device: str) -> None:
        if next(waits) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(large_world, "wait", wait)
    with pytest.raises(KeyboardInterrupt):
        agenda.main(arguments)
    cut = results(tmp_path)["endless"]
    assert (cut["status"], cut["blocks_done"]) == (agenda.LATE, 4)
    assert agenda.main([*arguments, "--minutes", "0"]) == agenda.LATE
    assert results(tmp_path)["endless"] == cut  # and not an empty one
    assert agenda.main(arguments) == 0
    whole = results(tmp_path)["endless"]
    assert whole["blocks_done"] == 9 and "status" not in whole


def test_early_and_late_blocks_are_told_apart_or_not_compared(agenda: ModuleType) -> None:
    import large_world

    times = [9e3] * 15 + [100.0] * 10 + [110.0] * 10
    figures = large_world.over_time(times, [*range(35)])
    assert (figures["block_20_ms"], figures["last_ms"], figures["ratio"]) == (100.0, 110.0, 1.1)
    assert (figures["bytes_at_block_20"], figures["bytes_at_the_last"]) == (20, 34)
    few = large_world.over_time(times[:34], [*range(34)])
    assert few["blocks_done"] == 34 and few["ratio"] is few["block_20_ms"] is few["last_ms"] is None
    assert large_world.over_time([], [])["blocks_done"] == 0
    assert figures["at_ms"] == {"10": 9e3}  # blocks are counted from 1
    assert large_world.over_time([*map(float, range(1, 301))], [0] * 300)["at_ms"] == {
        "10": 10.0,
        "100": 100.0,
        "300": 299.0,
    }


def test_the_ablation_goes_on_from_what_came_back(
    agenda: ModuleType, small_world_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time that is up costs the batch in hand alone; rows and shown pictures travel in one file."""
    import gpu_ablation

    few = tuple(one for one in gpu_ablation.with_worlds("tiny", {}) if one.name in ("recache", "1 step"))
    monkeypatch.setattr(gpu_ablation, "with_worlds", lambda own, others: few)
    monkeypatch.setattr(agenda, "TINY", str(small_world_folder))

    def run(work: str, minutes: str) -> dict[str, Any]:
        arguments = ["--small", "--device", "cpu", "--out", str(tmp_path), "--work", str(tmp_path / work)]
        assert agenda.main(["ablation", *arguments, "--minutes", minutes]) == 0
        written: dict[str, Any] = results(tmp_path)["ablation"]
        return written

    assert run("first", "0")["blocks_left"] > 0
    whole = run("first", "9")
    assert (
        whole["blocks_left"] == 0 and set(whole["rollouts"].values()) == {1} and len(whole["rollouts"]) == 4
    )
    again = run("second", "0")
    assert again["blocks_left"] == 0 and again["rollouts"] == whole["rollouts"]
    assert (tmp_path / "second" / "ablation" / "long-1-step" / "0.png").is_file()


GOES_ON = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {!r}]).wait()"
HEARD = "import time; heard = open({!r}, 'w', buffering=1); heard.write('begun'); {}"
LASTS = "heard.flush(); time.sleep(20); heard.write('went on')"
NESTED = """
import sys
sys.path.insert(0, {folder!r})
from child import end_with_children, run
end_with_children()
run([sys.executable, "-c", {command!r}], 60)
"""


def test_a_hang_up_ends_what_was_started(agenda: ModuleType, tmp_path: Path) -> None:
    import child

    pipe, folder = str(tmp_path / "pipe"), str(Path(child.__file__).parent)
    os.mkfifo(pipe)
    command = NESTED.format(folder=folder, command=HEARD.format(pipe, LASTS))
    hears = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # the tests may run under nohup
    begun = subprocess.Popen([sys.executable, "-c", hears + command], start_new_session=True)
    with begun as process, open(pipe) as heard:
        assert heard.read(5) == "begun"
        process.send_signal(signal.SIGHUP)
        assert process.wait(30) == child.LATE
        assert heard.read() == ""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux to end a process with its parent")
def test_what_is_killed_outright_leaves_nobody_behind(agenda: ModuleType, tmp_path: Path) -> None:
    import child

    pipe, folder = str(tmp_path / "pipe"), str(Path(child.__file__).parent)
    os.mkfifo(pipe)
    item = NESTED.format(folder=folder, command=HEARD.format(pipe, LASTS))
    command = [sys.executable, "-c", NESTED.format(folder=folder, command=item)]
    with subprocess.Popen(command) as process, open(pipe) as heard:
        assert heard.read(5) == "begun"
        process.kill()
        assert heard.read() == ""  # the item's own, too, has ended


def test_a_command_whose_parent_has_gone_does_not_begin(agenda: ModuleType, tmp_path: Path) -> None:
    import child

    mark = tmp_path / "mark"
    touch = [sys.executable, "-c", f"import pathlib; pathlib.Path({str(mark)!r}).touch()"]
    for parent, status in ((os.getppid(), child.LATE), (os.getpid(), 0)):
        assert not mark.exists()
        assert subprocess.run([sys.executable, child.__file__, str(parent), *touch]).returncode == status
    assert mark.exists()


@pytest.mark.parametrize("nested", [False, True])
def test_nothing_of_a_command_goes_on_when_its_time_is_up(
    agenda: ModuleType, nested: bool, tmp_path: Path
) -> None:
    import child

    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    command = GOES_ON.format(HEARD.format(pipe, LASTS))
    if nested:  # an item of all, and a setting of it
        command = NESTED.format(folder=str(Path(child.__file__).parent), command=command)
    told, limit_s = "", 0.5
    while not told and limit_s < 30:  # what has not begun yet cannot go on: a busy machine takes longer
        limit_s *= 2
        with open(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)) as heard:
            begin = time.monotonic()
            ended = child.run([sys.executable, "-c", f"print('begun', flush=True)\n{command}"], limit_s)
            assert ended.returncode == child.LATE and ended.stdout == "begun\n"
            assert time.monotonic() - begin < limit_s - 1.0 + child.GRACE_S
            os.set_blocking(heard.fileno(), True)
            told = heard.read()
    assert told == "begun"


INTERRUPTED = """
import time
print("begun", flush=True)
try:
    time.sleep(60)
except KeyboardInterrupt:
    print("so far", flush=True)
"""


def test_what_is_late_may_say_how_far_it_was(agenda: ModuleType, tmp_path: Path) -> None:
    import child

    hears = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    log = tmp_path / "log.txt"
    ended = child.run([sys.executable, "-c", hears + INTERRUPTED], 2.0, log=log)
    assert ended.returncode == child.LATE and log.read_text() == "begun\nso far\n"
    child.run([sys.executable, "-c", "import sys; print('out'); sys.exit('err')"], 60, log=log)
    assert sorted(log.read_text().split()) == ["err", "out"]


def test_the_tests_leave_all_that_they_print(
    agenda: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], limit_s: float, log: Path) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        log.write_text("\n".join(map(str, range(99))))
        return subprocess.CompletedProcess(command, 1, "", "")

    monkeypatch.setattr(agenda, "run", run)
    assert agenda.main(["tests", "--device", "cpu", "--out", str(tmp_path)]) == 1
    assert "--tb=short" in asked[0] and len((tmp_path / "tests.txt").read_text().splitlines()) == 99
    assert results(tmp_path)["tests"]["tail"][-1] == "98"


LEAVES = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"


def test_a_command_that_leaves_somebody_behind_has_ended_in_time(agenda: ModuleType) -> None:
    """One that it has started holds its output open, as compilers' workers do."""
    import child

    ended = child.run([sys.executable, "-c", f"{LEAVES}\nprint('figures', flush=True)"], 3.0)
    assert (ended.returncode, ended.stdout) == (0, "figures\n")


def test_figures_are_those_of_the_device_that_was_named(
    agenda: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    import large_world

    asked: list[object] = []
    monkeypatch.setattr("torch.cuda.synchronize", lambda device=None: asked.append(device))
    monkeypatch.setattr("torch.cuda.max_memory_allocated", lambda device=None: asked.append(device) or 2e9)
    large_world.wait("cuda:1")
    assert agenda.peak("cuda:1") == {"peak_gpu_gb": 2.0} and asked == ["cuda:1"] * 2


@pytest.mark.parametrize(("item", "work"), [("kernels", "measure_and_keep"), ("batch", "bench")])
def test_what_was_measured_before_the_end_of_time_is_written(
    agenda: ModuleType, item: str, work: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = iter(range(9))

    def measured(*args: object) -> dict[str, Any]:
        if next(counted) == 2:
            raise KeyboardInterrupt
        return {"end_to_end": {"fps": 1.0}}

    monkeypatch.setenv("LONGLIVE_HOME", str(tmp_path))  # where nothing was measured before
    monkeypatch.setattr(agenda, work, measured)
    with pytest.raises(KeyboardInterrupt):
        agenda.main([item, "--small", "--device", "cpu", "--out", str(tmp_path)])
    written = results(tmp_path)[item]
    assert "machine" in written and written["status"] == agenda.LATE
    if item == "batch":
        assert written["frames_per_second"] == {"off": {"1": {"fps": 1.0}, "2": {"fps": 1.0}}}


def test_a_failure_is_a_result(agenda: ModuleType) -> None:
    def fails() -> dict[str, object]:
        raise RuntimeError("out of memory")

    assert agenda._attempt(fails) == {"error": "RuntimeError: out of memory"}


@pytest.mark.parametrize(
    ("result", "status"),
    [
        ({"status": 0}, 0),
        ({"status": 124}, 124),
        ({"finite": False}, 1),
        ({"relative_error_bf16": float("nan")}, 1),
        ({"relative_error_bf16": 9e-3, "finite": True}, 0),
        ({"relative_error_bf16": 1e-2, "finite": True}, 1),
    ],
)
def test_what_has_failed_is_not_done(
    agenda: ModuleType, result: dict[str, Any], status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(agenda.ITEMS, "check", lambda args: result)
    arguments = ["--small", "--device", "cpu", "--out", str(tmp_path)]
    assert agenda.main(["check", *arguments]) == status
    assert ("check" in items_begun(agenda, arguments, monkeypatch)) == (status != 0)


def items_begun(
    agenda: ModuleType, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> dict[str, float]:
    """Items that `all` begins, and the minutes that it gives to them."""
    begun: dict[str, float] = {}

    def run(command: list[str], limit_s: float, quiet: bool) -> subprocess.CompletedProcess[str]:
        begun[command[2]] = float(command[command.index("--minutes") + 1])
        assert 60 * begun[command[2]] <= limit_s
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(agenda, "run", run)
    agenda.main(["all", *arguments])
    return begun


def test_what_was_measured_otherwise_is_measured_anew(
    agenda: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import kept

    table: list[str | None] = [None]
    monkeypatch.setattr(kept, "table_told", lambda config: table[0])
    own = ["--device", "cpu", "--out", str(tmp_path)]
    always, once = ["kernels", "speed", "memory"], ["check", "profile", "take", "endless", "batch"]
    blocks = {"take": ["--blocks", "300"], "endless": ["--blocks", "1000"]}
    with monkeypatch.context() as patch:
        patch.setattr(agenda, "run", lambda *args, **kwargs: subprocess.CompletedProcess([], 0, "", ""))
        for item in once:
            result = {"compile": "off", "kernel_table": None} if item in ("profile", *blocks) else {}
            result |= {"compile": "off"} if item == "batch" else {}
            patch.setitem(agenda.ITEMS, item, lambda args, result=result: result)
            agenda.main([item, *own, "--small", *blocks.get(item, [])])

    def begun(*more: str) -> set[str]:
        return {*items_begun(agenda, [*own, *more], monkeypatch)} - {*always, "without"}

    assert begun("--small") == set()
    assert begun("--small", "--endless-blocks", "9") == {"endless"}
    assert begun("--small", "--take-blocks", "9") == {"take"}
    assert begun("--small", "--compile", "default") == {"profile", *blocks, "batch"}
    assert begun() == begun("--small", "--blocks", "3") | {*blocks} == {*once}
    table[0] = "another"
    assert begun("--small") == {"profile", *blocks}
    table[0] = None
    monkeypatch.setattr(kept, "provenance", lambda device: {"machine": "another", "device": "", "torch": ""})
    assert begun("--small") == {*once}


def test_time_that_is_free_goes_to_what_is_left(
    agenda: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = ["--small", "--device", "cpu", "--out", str(tmp_path)]
    minutes = items_begun(agenda, [*own, "--minutes", "9"], monkeypatch)
    assert [*minutes] == [*agenda.SHARES] and minutes["check"] == pytest.approx(0.45)
    assert minutes["batch"] > 8 and all(minutes[item] >= 8.9 * agenda.SHARES[item] for item in minutes)
    assert not items_begun(agenda, [*own, "--minutes", "0.6"], monkeypatch)  # too little to show anything


@pytest.mark.parametrize("minutes", [5, 9, 30])
def test_items_that_use_all_their_time_leave_some_for_the_others(
    agenda: ModuleType, minutes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, begun = [0.0], []

    def run(command: list[str], limit_s: float, quiet: bool) -> subprocess.CompletedProcess[str]:
        begun.append(command[2])
        clock[0] += 60 * float(command[command.index("--minutes") + 1]) + 5  # to start, and to end
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(agenda, "run", run)
    monkeypatch.setattr(agenda.time, "monotonic", lambda: clock[0])
    own = ["--small", "--device", "cpu", "--out", str(tmp_path)]
    assert agenda.main(["all", *own, "--minutes", str(minutes)]) == 0
    assert begun == [*agenda.SHARES] and 0.8 * 60 * minutes < clock[0] <= 60 * minutes


def test_worlds_are_compiled_as_they_are_played(
    agenda: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[str] = []
    monkeypatch.setattr(agenda, "everything", lambda args: chosen.append(args.compile) or 0)
    for more in (["--device", "cpu"], [], ["--device", "cuda:1"], ["--compile", "off"]):
        agenda.main(["all", "--out", str(tmp_path), *more])
    assert chosen == ["off", "graphs", "graphs", "off"]


def test_a_table_comes_back_with_the_results(
    agenda: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import kept

    monkeypatch.setattr("longlive_env.engine.kernel_timing.ROUND_S", 1e-4)
    arguments = ["kernels", "--small", "--device", "cpu", "--out", str(tmp_path / "out")]
    config, told = BenchConfig("tiny", random_weights=True), []
    for home in ("first", "second"):  # a machine that has forgotten
        monkeypatch.setenv("LONGLIVE_HOME", str(tmp_path / home))
        assert kept.table_told(config) is None
        assert agenda.main(arguments) == 0
        told.append((kept.table_told(config), results(tmp_path / "out")["kernels"]["table"]))
        monkeypatch.setattr(agenda, "measure_and_keep", lambda *args: pytest.fail("it is measured again"))
    assert told[0] == told[1] and told[0][0] is not None
    assert kept.table_told(replace(config, measured=False)) is None
    other = kept.table_told(replace(config, dtype="bfloat16"))  # of which other calls are told
    assert other != told[0][0]
    use_table(agenda.usable("cpu"), None)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sm90_xmma_fprop_implicit_gemm_bf16bf16_bf16f32", "conv"),
        ("void cutlass__5x_cudnn::Kernel<cutlass_tensorop_s16816fprop_optimized>", "conv"),
        ("nvjet_hsh_128x256_64x4_1x2_h_bz_coopA_TNT", "linear"),
        ("cutlass_80_wmma_tensorop_bf16_s161616gemm", "linear"),
        ("cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma", "attention"),
        ("triton_poi_fused_silu", "other"),
        ("triton_poi_fused_convolution_silu_7", "other"),
        ("triton_red_fused__to_copy_native_layer_norm_2", "norm"),
        ("triton_tem_fused_mm_3", "linear"),
    ],
)
def test_kinds_of_kernels(agenda: ModuleType, name: str, kind: str) -> None:
    import kernel_profile

    assert kernel_profile.kind_of(name) == kind


def test_a_sweep_survives_its_settings_and_goes_on_where_it_was(
    agenda: ModuleType, small_world_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sweep

    written: list[dict[str, Any]] = []
    base = BenchConfig(str(small_world_folder), blocks=1, thorough=False)
    settings: dict[str, dict[str, Any]] = {"own": {}, "fails": {"memory": "nonsense"}}

    def swept(settings: dict[str, Any], before: dict[str, Any], s: float = 1e6) -> dict[str, Any]:
        def keep(runs: dict[str, Any]) -> None:
            written.append(json.loads(json.dumps(runs)))

        left = {"deadline": time.monotonic() + s, "limit_s": 1e6}
        found: dict[str, Any] = sweep.sweep(settings, base, before, keep, **left)
        return found

    runs = swept(settings, {})
    assert runs["own"]["end_to_end"]["fps"] > 0 and "'nonsense'" in runs["fails"]["error"]
    assert "Traceback" in runs["fails"]["error"]  # more than its last line
    assert written[-1] == runs and "not done" in written[0]["own"]["error"]  # had the machine gone
    assert swept({**settings, "slow": {}}, runs, s=sweep.LEAST_S - 1) == runs
    measured: list[dict[str, Any]] = []

    def figures(fields: dict[str, Any], limit_s: float) -> dict[str, Any]:
        measured.append(fields)
        return {"config": fields, "fps": 1}

    monkeypatch.setattr(sweep, "_measured", figures)
    assert swept({"own": {}}, written[-1]) == runs and not measured
    assert swept({"own": {"blocks": 2}}, runs)["own"]["fps"] == 1 and measured[-1]["blocks"] == 2
    with monkeypatch.context() as patch:
        patch.setattr(sweep.kept, "table_told", lambda config: "another")
        assert swept({"own": {}}, runs)["own"]["kernel_table"] == "another"
    there = {"machine": "another", "device": "", "torch": ""}
    monkeypatch.setattr(sweep, "provenance", lambda device: there)
    elsewhere = swept({"own": {}}, runs)
    assert elsewhere["own"].items() >= {**there, "fps": 1}.items()
    assert elsewhere["fails"] == runs["fails"]  # until it, too, is measured there
    assert swept(settings, runs)["fails"]["fps"] == 1


def test_a_setting_that_hangs_costs_its_limit_once_and_is_tried_last(
    agenda: ModuleType, small_world_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sweep

    begun: list[tuple[int, float]] = []

    def figures(fields: dict[str, Any], limit_s: float) -> dict[str, Any] | None:
        begun.append((fields["blocks"], limit_s))
        if fields["blocks"] == 1:
            return None  # not done in time
        return {"config": fields, "fps": 1}

    monkeypatch.setattr(sweep, "_measured", figures)
    monkeypatch.setattr(agenda, "TINY", str(small_world_folder))
    monkeypatch.setattr(
        agenda, "speed_settings", lambda small: {"hangs": {"blocks": 1}, "runs": {"blocks": 2}}
    )
    arguments = ["speed", "--small", "--device", "cpu", "--out", str(tmp_path), "--minutes", "5"]
    assert agenda.main(arguments) == 0
    assert [blocks for blocks, _ in begun] == [1, 2]
    assert begun[0][1] == 150  # half of the time
    runs = results(tmp_path)["speed"]["runs"]
    assert runs["hangs"]["error"] == "not done after 150 s" and runs["runs"]["fps"] == 1
    monkeypatch.setattr(
        agenda, "speed_settings", lambda small: {"hangs": {"blocks": 1}, "new": {"blocks": 3}}
    )
    assert agenda.main([*arguments[:-1], "0.2"]) == agenda.LATE
    assert results(tmp_path)["speed"]["left"] == ["new"] and len(begun) == 2
    assert agenda.main(arguments) == 0
    assert [blocks for blocks, _ in begun] == [1, 2, 3, 1]


def test_figures_outlive_a_failure_to_measure_them_again(
    agenda: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sweep

    monkeypatch.setattr(sweep, "_measured", lambda fields, limit_s: None)
    before = {"own": {"fps": 1, "machine": "another"}}
    limits = {"deadline": time.monotonic() + 100, "limit_s": 50}
    runs = sweep.sweep({"own": {}}, BenchConfig(), before, lambda runs: None, **limits)
    assert runs == {"own": {**before["own"], "again": "not done after 50 s"}}
    assert sweep._turn(runs["own"]) > sweep._turn(before["own"]) > sweep._turn(None)


def test_figures_of_a_gpu_count_whatever_machine_has_it(agenda: ModuleType) -> None:
    import kept

    machine = {"cpu": "one", "cores": 16, "gpu": "H200", "cuda": "13.0"}
    result = {"machine": machine, "device": "cuda", "torch": "2.11"}
    for change, agrees in (
        ({"cpu": "two", "cores": 8}, True),
        ({"gpu": "H100"}, False),
        ({"cuda": "12"}, False),
    ):
        assert kept.of_here(result, {**result, "machine": {**machine, **change}}) == agrees
    without = {"cpu": "one", "cores": 16}
    assert not kept.of_here({**result, "machine": without}, {**result, "machine": {**without, "cores": 8}})
    assert not kept.of_here(result, {**result, "machine": without})


def test_what_lacks_a_package_costs_no_process(agenda: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    import sweep

    monkeypatch.setitem(sys.modules, "torchao", None)  # importing it fails
    monkeypatch.setattr(sweep, "run", lambda *args: pytest.fail("a process was started"))
    settings = {"int8": {"precision": "int8"}, "flash": {"attention": "flash"}}
    runs: dict[str, Any] = {}
    for _ in range(2):  # though there is no time
        limits = {"deadline": time.monotonic(), "limit_s": 1}
        runs = sweep.sweep(settings, BenchConfig("tiny"), runs, lambda runs: None, **limits)
        assert "needs torchao" in runs["int8"]["error"] and "'flash' on cpu" in runs["flash"]["error"]
        assert all("machine" in run for run in runs.values())


def test_settings_are_possible(agenda: ModuleType) -> None:
    import sweep

    for settings in (sweep.speed_settings(True), sweep.speed_settings(False), sweep.memory_settings()):
        for setting in settings.values():
            BenchConfig(**setting)
    first, *_, last = sweep.speed_settings(False)
    assert (first, last) == ("bf16, wan codec, off", "bf16, wan codec, max")
    attention = [
        setting["attention"] for setting in sweep.speed_settings(False).values() if "attention" in setting
    ]
    assert attention[-1] == "sdpa"  # which is one of the others
