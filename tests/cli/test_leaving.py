"""The window closes while a thread computes that cannot be broken off: the process ends in good order."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import CAT

from longlive_env.recording import read_log

# Computes until the process ends, whatever is raised in it. Without `leave`, that aborts the process.
DEAF = """
import torch

def compute():
    square = torch.rand(300, 300)
    while True:
        try:
            while True:
                square @ square
        except BaseException:
            pass

class Agent:
    def reset(self, env, info): pass
    def act(self, observation, info): compute()
"""

PLAY = """
import sys, pygame
from longlive_env.cli import main, play
from longlive_env.viewer import breakable
from longlive_env.viewer.app import App

breakable.PATIENCE_S = 0.2  # nothing that is deaf ends, however long one waits
sys.path.insert(0, sys.argv.pop(1))
at, frames, frame = sys.argv.pop(1), 0, App.frame
if at == "loading":
    from deaf import compute
    play._session = lambda *args: compute()

def act(app, *, wait=False):
    global frames
    frame(app, wait=wait)
    view, frames = app.worker.exchange.view(), frames + 1
    if frames == 3:
        pygame.event.post(pygame.Event(pygame.KEYDOWN, key=pygame.K_F9, mod=0, unicode="", scancode=0))
    if frames > 5 if at == "loading" else view is not None and view.thinking and view.shown > 1:
        if at == "interrupt":
            raise KeyboardInterrupt
        app.running = False

App.frame = act
sys.exit(main())
"""


def left(tmp_path: Path, world: Path, at: str) -> "subprocess.CompletedProcess[str]":
    (tmp_path / "deaf.py").write_text(DEAF, encoding="utf-8")
    agent, out = f"{tmp_path / 'deaf.py'}:Agent", str(tmp_path / "out")
    arguments = ["play", "--prompt", CAT, "--world", str(world), "--agent", agent, "--out", out, "--private"]
    return subprocess.run(
        [sys.executable, "-c", PLAY, str(tmp_path), at, *arguments, "--size", "480x300"],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"XDG_CONFIG_HOME": str(tmp_path), "SDL_VIDEODRIVER": "dummy"},
    )


@pytest.mark.parametrize(("at", "status"), [("thinking", 0), ("interrupt", 130)])
def test_a_window_closes_while_its_agent_thinks(
    tmp_path: Path, small_world_folder: Path, at: str, status: int
) -> None:
    done = left(tmp_path, small_world_folder, at)
    assert done.returncode == status, done.stderr
    (folder,) = (tmp_path / "out").iterdir()
    assert f"s in {folder}\n" in done.stderr and read_log(folder).complete
    assert (folder / "sheet.png").is_file()


def test_a_window_closes_while_its_world_is_loaded(tmp_path: Path, small_world_folder: Path) -> None:
    done = left(tmp_path, small_world_folder, "loading")
    assert (done.returncode, done.stderr) == (0, "")
