"""Runs that are interrupted or killed leave files that can be opened."""

import json
import math
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import CAT, CLI, frames_of, leaves_with

from longlive_env.cli.interrupt import hangup_as_end, stop_at_block
from longlive_env.recording import read_log


@pytest.fixture
def running(small_world_folder: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A long run whose third block is on the disk, and the terminal that it writes its errors to."""
    terminal, other_end = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 120))
    options = ["--world", str(small_world_folder), "--out", str(tmp_path), "--scale", "1"]
    process = subprocess.Popen([*CLI, "run", "long-take", *options], stderr=other_end, stdout=subprocess.PIPE)
    os.close(other_end)
    log, deadline = tmp_path / "actions.jsonl", time.monotonic() + 60
    while not log.exists() or log.read_bytes().count(b"\n") < 4:  # a header and three blocks
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    yield process, terminal
    process.kill()
    process.wait()
    os.close(terminal)


def last_subtitle(folder: Path) -> int:
    """The frame at which subtitles end."""
    *_, entry = (folder / "video.srt").read_text(encoding="utf-8").removesuffix("\n\n").split("\n\n")
    hours, minutes, seconds = entry.split("\n")[1].split(" --> ")[1].replace(",", ".").split(":")
    return math.ceil((int(hours) * 3600 + int(minutes) * 60 + float(seconds)) * 16)


def test_ctrl_c_ends_a_run_at_a_block(running: tuple[subprocess.Popen[bytes], int], tmp_path: Path) -> None:
    process, terminal = running
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    log = read_log(tmp_path / "actions.jsonl")
    last = (tmp_path / "actions.jsonl").read_text(encoding="utf-8").splitlines()[-1]
    assert json.loads(last) == {"end": "interrupted"} and not log.complete
    assert 3 <= len(log.blocks) < 321
    assert frames_of(tmp_path / "video.mp4") == sum(block.frames for block in log.blocks)
    assert (tmp_path / "sheet.png").exists()
    assert last_subtitle(tmp_path) == sum(block.frames for block in log.blocks)
    shown = os.read(terminal, 1 << 16).decode()
    assert "FPS" in shown and "/3849 frames" in shown and "stopping after this block" in shown
    assert "Traceback" not in shown


def test_a_killed_run_leaves_a_video_and_a_log(
    running: tuple[subprocess.Popen[bytes], int],
    tmp_path: Path,
    small_world_folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    process, _ = running
    process.kill()
    process.wait()
    log = read_log(tmp_path / "actions.jsonl")
    assert not log.complete and len(log.blocks) >= 3
    logged = sum(block.frames for block in log.blocks)
    assert frames_of(tmp_path / "video.mp4") in (logged, logged + 12)  # killed between the two, or not
    assert last_subtitle(tmp_path) in (logged - 12, logged)
    status, printed, _ = leaves_with(
        capsys,
        "run",
        "--replay",
        str(tmp_path / "actions.jsonl"),
        "--scale",
        "1",
        "--out",
        str(tmp_path / "again"),
    )
    assert status == 0 and f"all {len(log.blocks)} blocks are identical" in printed


def test_a_terminal_that_closes_is_a_request_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[int]()
    before = signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    own = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
    try:
        with hangup_as_end():
            signal.raise_signal(signal.SIGHUP)
        assert asked == [signal.SIGTERM] and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        with hangup_as_end():
            signal.raise_signal(signal.SIGHUP)
        assert asked == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGHUP, own)
        signal.signal(signal.SIGTERM, before)
    monkeypatch.delattr(signal, "SIGHUP")  # as on Windows
    with hangup_as_end():
        pass


def test_a_viewer_whose_terminal_closes_finishes_its_recording(
    small_world_folder: Path, tmp_path: Path
) -> None:
    code = (
        "import signal, sys; from longlive_env.viewer.app import App; from longlive_env.cli import main\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        "meet = App._meet\n"
        "App._meet = lambda app, view: (meet(app, view), app.controls.press('f9'))\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    out = tmp_path / "out"
    options = ["--world", str(small_world_folder), "--prompt", CAT, "--private", "--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-c", code, "play", *options],
        env={**os.environ, "SDL_VIDEODRIVER": "dummy", "XDG_CONFIG_HOME": str(tmp_path)},
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not any(log.read_bytes().count(b"\n") > 2 for log in out.glob("*/actions.jsonl")):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
    (folder,) = out.iterdir()
    assert read_log(folder).complete and (folder / "sheet.png").exists()


def test_a_terminal_that_has_gone_interrupts_no_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in `longlive run ... 2>&1 | tee log`, where Ctrl-C ends tee as well."""

    def gone(file: int, text: bytes) -> int:
        raise BrokenPipeError

    monkeypatch.setattr(os, "write", gone)
    with stop_at_block() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set()
