"""The items for a GPU run on a CPU at small sizes, so that no GPU time is lost to a slip."""

import importlib.util
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from longlive_env.bench import BenchConfig
from longlive_env.engine.config import PRESETS, to_dict
from longlive_env.engine.world_files import find
from longlive_env.training import make_stage
from longlive_env.training.checkpoint import save_tensors
from longlive_env.training.world_model import WorldModel


@pytest.fixture(scope="module")
def agenda() -> ModuleType:
    path = Path(__file__).parents[1] / "benchmarks" / "gpu_agenda.py"
    sys.path.insert(0, str(path.parent))  # as when it runs as a script
    spec = importlib.util.spec_from_file_location("gpu_agenda", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("item", ["check", "kernels", "profile", "without", "endless"])
def test_items_run_small(agenda: ModuleType, item: str, tmp_path: Path) -> None:
    arguments = [item, "--small", "--device", "cpu", "--blocks", "2", "--out", str(tmp_path)]
    assert agenda.main(arguments) == 0
    written = json.loads((tmp_path / f"{item}.json").read_text())
    assert "machine" in written
    if item == "check":
        assert written["finite"] and 0 < written["relative_error_bf16"] < agenda.CLOSE
        assert len(written["block_ms"]) == 2
    elif item == "kernels":
        assert all(row["us"] for row in written["table"]["calls"])
    elif item == "endless":
        assert written["blocks"] == len(written["all_ms"]) == 2 and written["ratio"] > 0
    else:
        assert written["by_kind_ms"]["linear"] > 0 and written["matrix_tflops"] > 0


def test_memory_and_batches_run_small(
    agenda: ModuleType, small_world_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agenda, "TINY", str(small_world_folder))
    monkeypatch.setattr(agenda, "memory_settings", lambda: {"8 GB": {"memory": "8", "blocks": 1}})
    base = agenda._base
    monkeypatch.setattr(agenda, "_base", lambda args: replace(base(args), random_weights=False))
    arguments = ["--small", "--device", "cpu", "--blocks", "1", "--out", str(tmp_path)]
    assert agenda.main(["memory", *arguments]) == 0
    assert agenda.main(["batch", *arguments, "--minutes", "0.05"]) == 0  # or until more worlds bring nothing
    peaks = json.loads((tmp_path / "memory.json").read_text())["peaks_mb"]
    assert peaks["8 GB"]["predicted"] > 0
    found = json.loads((tmp_path / "batch.json").read_text())["frames_per_second"]
    assert [*found] == [str(2**power) for power in range(len(found))]
    assert all(figures["fps"] > 0 for figures in found.values())


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
        written: dict[str, Any] = json.loads((tmp_path / "ablation.json").read_text())
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
MARKS = "import pathlib, time; time.sleep(2); pathlib.Path({!r}).touch()"
NESTED = """
import sys
sys.path.insert(0, {folder!r})
from child import end_with_children, run
end_with_children()
run([sys.executable, "-c", {command!r}], 60)
"""


def test_a_hang_up_ends_what_was_started(agenda: ModuleType, tmp_path: Path) -> None:
    import child

    mark = str(tmp_path / "mark")
    command = NESTED.format(folder=str(Path(child.__file__).parent), command=MARKS.format(mark))
    hears = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # the tests may run under nohup
    with subprocess.Popen([sys.executable, "-c", hears + command], start_new_session=True) as process:
        time.sleep(1.0)
        process.send_signal(signal.SIGHUP)
        assert process.wait(30) == child.LATE
    time.sleep(3)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("nested", [False, True])
def test_nothing_of_a_command_goes_on_when_its_time_is_up(
    agenda: ModuleType, nested: bool, tmp_path: Path
) -> None:
    import child

    command = GOES_ON.format(MARKS.format(str(tmp_path / "mark")))
    if nested:  # an item of all, and a setting of it
        command = NESTED.format(folder=str(Path(child.__file__).parent), command=command)
    begin = time.monotonic()
    ended = child.run([sys.executable, "-c", f"print('begun', flush=True)\n{command}"], 1.0)
    assert ended.returncode == child.LATE and ended.stdout == "begun\n"
    assert time.monotonic() - begin < child.GRACE_S
    time.sleep(3)
    assert not (tmp_path / "mark").exists()


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
    assert json.loads((tmp_path / "tests.json").read_text())["tail"][-1] == "98"


LEAVES = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"


def test_a_command_that_leaves_somebody_behind_has_ended_in_time(agenda: ModuleType) -> None:
    """One that it has started holds its output open, as compilers' workers do."""
    import child

    ended = child.run([sys.executable, "-c", f"{LEAVES}\nprint('figures', flush=True)"], 3.0)
    assert (ended.returncode, ended.stdout) == (0, "figures\n")


def test_results_are_whole_or_those_before(agenda: ModuleType, tmp_path: Path) -> None:
    import child

    file = tmp_path / "speed.json"
    file.write_text("before")
    with pytest.raises(KeyboardInterrupt), child.in_one_step(file) as aside:
        aside.write_text("ha")
        raise KeyboardInterrupt
    assert file.read_text() == "before" and [*tmp_path.iterdir()] == [file]
    agenda._write(file, {"fps": 1})
    assert json.loads(file.read_text()) == {"fps": 1} and [*tmp_path.iterdir()] == [file]


def test_figures_are_those_of_the_device_that_was_named(
    agenda: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr("torch.cuda.synchronize", lambda device=None: asked.append(device))
    monkeypatch.setattr("torch.cuda.max_memory_allocated", lambda device=None: asked.append(device) or 2e9)
    agenda.wait("cuda:1")
    assert agenda._peak("cuda:1") == {"peak_gpu_gb": 2.0} and asked == ["cuda:1"] * 2


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
    written = json.loads((tmp_path / f"{item}.json").read_text())
    assert "machine" in written and not agenda._is_done(tmp_path / f"{item}.json")
    if item == "batch":
        assert written["frames_per_second"] == {"1": {"fps": 1.0}, "2": {"fps": 1.0}}


def test_a_failure_is_a_result(agenda: ModuleType) -> None:
    def fails() -> dict[str, object]:
        raise RuntimeError("out of memory")

    assert agenda._attempt(fails) == {"error": "RuntimeError: out of memory"}


def test_what_has_failed_is_not_done(agenda: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "tests.json"
    assert not agenda._is_done(file)
    for result, done in (
        ({"status": 0}, True),
        ({"status": 124}, False),
        ({"finite": False}, False),
        ({"relative_error_bf16": float("nan")}, False),
        ({"relative_error_bf16": 1e-2, "finite": True}, True),
    ):
        file.write_text(json.dumps(result))
        assert agenda._is_done(file) == done, result


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
    agenda: ModuleType, small_world_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sweep

    base = BenchConfig(str(small_world_folder), blocks=1, thorough=False)
    settings = {"own": {}, "impossible": {"codec": "wan"}}
    deadline = {"deadline": time.monotonic() + 1e6, "limit_s": 1e6}
    runs = sweep.sweep(settings, base, tmp_path / "speed.json", **deadline)
    assert runs["own"]["end_to_end"]["fps"] > 0 and "patch_vae" in runs["impossible"]["error"]
    assert "Traceback" in runs["impossible"]["error"]  # more than its last line
    again = sweep.sweep({**settings, "slow": {}}, base, tmp_path / "speed.json", deadline=0, limit_s=1)
    late = {"deadline": time.monotonic() + 0.1, "limit_s": 1e6}
    assert not sweep.sweep({"cut short": {}}, base, tmp_path / "late.json", **late)
    assert again == runs == json.loads((tmp_path / "speed.json").read_text())["runs"]
    monkeypatch.setattr(sweep, "provenance", lambda device: {"machine": "another", "device": "", "torch": ""})
    monkeypatch.setattr(sweep, "_measured", lambda fields, limit_s: {"fps": 1})
    elsewhere = sweep.sweep({"own": {}}, base, tmp_path / "speed.json", **deadline)
    assert elsewhere["own"] == {"machine": "another", "device": "", "torch": "", "fps": 1}
    assert elsewhere["impossible"] == runs["impossible"]  # until it, too, is measured there
    assert sweep.sweep(settings, base, tmp_path / "speed.json", **deadline)["impossible"]["fps"] == 1


def test_settings_are_possible(agenda: ModuleType) -> None:
    import sweep

    for settings in (sweep.speed_settings(True), sweep.speed_settings(False), sweep.memory_settings()):
        for setting in settings.values():
            BenchConfig(**setting)
    first, *_, last = sweep.speed_settings(False)
    assert (first, last) == ("bf16, light codec, graphs", "bf16, wan codec, max")


@pytest.mark.parametrize("stage", ["causal", "base"])
def test_workers_fill_the_banks_that_a_stage_opens(
    agenda: ModuleType, stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, opened = agenda.gpu_train, set()

    def record(
        folder: Path, takes: int, split: str, codec: object, seed: int, encode: Any, takes_a_file: int
    ) -> None:
        below = folder.relative_to(tmp_path / "bank").as_posix().removeprefix(".")
        opened.update((below, number, split, encode.__name__) for number in range(-(-takes // takes_a_file)))

    monkeypatch.setattr(importlib.import_module(f"longlive_env.training.{stage}_stage"), "open_bank", record)
    step = next(one for one in recipe.STEPS if one.stage == stage)
    make_stage(stage, **recipe._options(tmp_path, step, small=False) | {"start": "tiny"})
    assert opened == set(recipe._wanted(stage, small=False))


def test_a_causal_world_gets_the_codec_that_its_stage_learned_on(agenda: ModuleType, tmp_path: Path) -> None:
    recipe, config = agenda.gpu_train, PRESETS["tiny"]
    step = next(one for one in recipe.STEPS if one.stage == "causal")
    about = {"stage": "causal", "describe": {"config": to_dict(config)}}
    (tmp_path / "causal").mkdir()
    save_tensors(tmp_path / "causal" / "weights.safetensors", WorldModel(config).state_dict(), about)
    recipe._export(tmp_path, step, tmp_path / "out")
    written, shipped = tmp_path / "causal_world", find("tiny")
    assert (written / "codec.safetensors").read_bytes() == (shipped / "codec.safetensors").read_bytes()
    assert (tmp_path / "out" / "world" / "config.json").is_file()


def test_the_recipe_fits_half_an_hour(agenda: ModuleType, tmp_path: Path) -> None:
    recipe = agenda.gpu_train
    assert sum(step.minutes for step in recipe.STEPS) <= 3 * (9 - recipe.MARGIN_S / 60)
    report = recipe._report(tmp_path)
    assert report == {"last": {}, "left": ["causal", "base", "distill", "stream"]}
    (tmp_path / "causal").mkdir()
    (tmp_path / "causal" / "done").touch()
    assert recipe._report(tmp_path)["left"] == ["base", "distill", "stream"]
