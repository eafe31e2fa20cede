"""`longlive doctor`: what there is, what is missing, what was broken off."""

import sys
import tomllib
from pathlib import Path

import pytest
import torch
from command_line import leaves_with
from packaging.requirements import Requirement

import longlive_env
from longlive_env.engine import attention, devices, published

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))


def test_doctor(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    status, out, _ = leaves_with(capsys, "doctor")
    for title in ("versions", "machine", "attention", "video", "weights", "extras"):
        assert f"\n{title}\n" in f"\n{out}"
    assert status == (
        0 if (Path(longlive_env.__file__).parent / "assets" / "tiny" / "config.json").exists() else 1
    )
    from longlive_env.cli import doctor

    monkeypatch.setattr(doctor, "REQUIRED", ("torch", "no-such-package"))
    status, out, _ = leaves_with(capsys, "doctor")
    assert status == 1 and "no-such-package  missing; run: pip install no-such-package" in out
    monkeypatch.setitem(sys.modules, "av", None)  # as where it cannot be imported
    status, out, _ = leaves_with(capsys, "doctor")
    assert status == 1 and "unknown          ModuleNotFoundError" in out and "\nextras\n" in out


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        (0.0, "no faster than float32 on the cpu"),
        (3.25, "3.2 times as fast as float32 in matrix products; try"),
    ],
)
def test_doctor_says_whether_bfloat16_pays(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, gain: float, said: str
) -> None:
    monkeypatch.setattr(devices, "bfloat16_gain", lambda: gain)
    _, out, _ = leaves_with(capsys, "doctor")
    (line,) = [line for line in out.splitlines() if line.startswith("  bfloat16")]
    assert said in line


@pytest.mark.parametrize(
    ("version", "said"),
    [(None, "absent"), (91002, "install a newer nvidia-cudnn"), (91900, "cudnn            91900\n")],
)
def test_doctor_says_whether_cudnn_is_new_enough(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, version: int | None, said: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: version)
    monkeypatch.setattr(attention, "backends", lambda device: ("sdpa",))
    _, out, _ = leaves_with(capsys, "doctor")
    assert said in out


def test_doctor_looks_for_all_that_an_extra_brings() -> None:
    from longlive_env.cli import doctor

    brought = {
        extra: {Requirement(one).name.replace("-", "_").removesuffix("_ce") for one in requirements}
        for extra, requirements in PROJECT["project"]["optional-dependencies"].items()
        if extra != "dev"
    }
    assert {extra: set(found) for extra, (found, _) in doctor.EXTRAS.items()} == brought


def test_doctor_sees_that_a_download_was_broken_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGLIVE_HOME", str(tmp_path))
    config = tmp_path / "1.3b" / published.TRANSFORMER_CONFIG_FILE
    config.parent.mkdir(parents=True)
    config.write_text("{}")
    status, out, _ = leaves_with(capsys, "doctor")
    (line,) = [line for line in out.splitlines() if line.startswith("  1.3b ")]
    assert status == 0 and f"lacks {published.TOKENIZER_FILE}" in line
    assert str(published.TRANSFORMER_CONFIG_FILE) not in line
    assert line.endswith("go on with: longlive download 1.3b")
