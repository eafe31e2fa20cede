import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from longlive_env.errors import VerificationError
from longlive_env.verify import CASES, Setting, relative_error, verify_cases

PARITY = Path(__file__).parent / "data" / "parity"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The checkpoints and no cases."""
    shutil.copytree(PARITY / "mini", tmp_path / "mini")
    (tmp_path / "cases").mkdir()
    return tmp_path


def test_every_recorded_case_is_reproduced() -> None:
    results = verify_cases(PARITY)
    assert sorted(result.case for result in results) == sorted(CASES)
    for result in results:
        assert result.passed and result.verdict == "pass" and result.relative_error < 1e-5, result


def test_a_different_output_fails(copy: Path) -> None:
    case = load_file(PARITY / "cases" / "umt5.safetensors")
    case["embeddings"] = case["embeddings"] * 1.001
    save_file(case, copy / "cases" / "umt5.safetensors")
    (result,) = verify_cases(copy)
    assert result.verdict == "fail" and not result.passed and result.detail == "embeddings"
    assert result.relative_error == pytest.approx(1e-3, rel=1e-2)
    (lenient,) = verify_cases(copy, tolerance=1e-2)
    assert lenient.verdict == "pass"


def test_cases_tell_settings_apart(copy: Path) -> None:
    """A recording under the name of another setting fails, so no setting is ignored."""
    names = ("rollout_switch_global_sink", "rollout_switch_recached_sink")
    for ours, theirs in (names, names[::-1]):
        shutil.copy(PARITY / "cases" / f"{theirs}.safetensors", copy / "cases" / f"{ours}.safetensors")
    assert [result.verdict for result in verify_cases(copy)] == ["fail", "fail"]


def test_what_cannot_run_is_an_error_and_stops_nothing(copy: Path) -> None:
    for name in ("scheduler", "tokenizer", "umt5", "vae"):
        shutil.copy(PARITY / "cases" / f"{name}.safetensors", copy / "cases")
    shutil.copy(PARITY / "cases" / "scheduler.safetensors", copy / "cases" / "novelty.safetensors")
    vae = load_file(copy / "cases" / "vae.safetensors")
    del vae["mean"]
    save_file(vae, copy / "cases" / "vae.safetensors")
    whole = (copy / "cases" / "umt5.safetensors").read_bytes()
    (copy / "cases" / "umt5.safetensors").write_bytes(whole[:1000])

    results = {result.case: result for result in verify_cases(copy)}
    assert {name: result.verdict for name, result in results.items()} == {
        "novelty": "error",
        "scheduler": "pass",
        "tokenizer": "error",
        "umt5": "error",
        "vae": "error",
    }
    assert "unknown case; known are" in results["novelty"].detail
    assert "tokenizer_texts.json" in results["tokenizer"].detail
    assert "damaged or incomplete" in results["umt5"].detail
    assert "lacks the tensor 'mean'" in results["vae"].detail
    assert all(
        math.isnan(r.relative_error) and not r.passed for r in results.values() if r.verdict == "error"
    )


def test_a_switch_within_a_block_is_an_error_and_not_left_out(copy: Path) -> None:
    case = load_file(PARITY / "cases" / "rollout_lora.safetensors")
    case["switch_frames"] += 1
    save_file(case, copy / "cases" / "rollout_lora.safetensors")
    (result,) = verify_cases(copy)
    assert result.verdict == "error" and "switches at latent frames [10]" in result.detail


def test_a_missing_checkpoint_is_an_error(copy: Path) -> None:
    shutil.rmtree(copy / "mini")
    shutil.copy(PARITY / "cases" / "rollout_single.safetensors", copy / "cases")
    (result,) = verify_cases(copy)
    assert result.verdict == "error" and "is missing" in result.detail


def test_missing_and_empty_folders_are_named(copy: Path) -> None:
    with pytest.raises(VerificationError, match=r"there is no folder .*nowhere"):
        verify_cases(copy / "nowhere")
    with pytest.raises(VerificationError, match="holds no cases"):
        verify_cases(copy)


def test_relative_error() -> None:
    one = torch.ones(4)
    assert relative_error(one, one) == 0
    assert relative_error(one * 1.5, one) == pytest.approx(0.5)
    assert relative_error(torch.zeros(3), torch.zeros(3)) == 0
    for ours, theirs in [(one, torch.zeros(4)), (one[:3], one), (one * math.nan, one), (one, one * math.nan)]:
        assert relative_error(ours, theirs) == math.inf


@pytest.mark.parametrize("precision", ["bf16", "int8", "int8-weight-only"])
def test_each_precision_keeps_within_its_tolerance(copy: Path, precision: str) -> None:
    if precision != "bf16":
        pytest.importorskip("torchao")
    for name in ("rollout_single", "vae", "umt5"):
        shutil.copy(PARITY / "cases" / f"{name}.safetensors", copy / "cases")
    setting = Setting(precision=precision)
    for result in verify_cases(copy, setting=setting):
        assert result.passed and result.relative_error > 1e-5, result
        assert result.tolerance == setting.tolerance > 1e-5


@pytest.mark.gpu
@pytest.mark.parametrize(
    "setting",
    [
        Setting("cuda"),
        Setting("cuda", compile="default"),
        Setting("cuda", compile="graphs"),
        Setting("cuda", "bf16"),
        Setting("cuda", "bf16", attention="sdpa"),
        Setting("cuda", "bf16", attention="cudnn"),
        Setting("cuda", "bf16", compile="graphs"),
    ],
    ids=str,
)
def test_cuda_keeps_within_its_tolerance(setting: Setting) -> None:
    for result in verify_cases(PARITY, setting=setting):
        assert result.passed, result
