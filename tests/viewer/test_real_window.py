"""`longlive play` in a real X window under Xvfb, with xdotool typing a prompt."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from viewer_stage import SCENARIO

PROGRAMS = ("Xvfb", "xdotool")
MISSING = [program for program in PROGRAMS if shutil.which(program) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"needs {' and '.join(MISSING)}")
SIZE = (960, 600)
TYPED = "a green dinosaur dances on the beach at night"
DEADLINE_S = 90


@pytest.fixture
def display() -> Iterator[str]:
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x800x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=(write,), stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as pipe:
        number = pipe.readline().strip()
    yield f":{number}"
    server.terminate()
    server.wait(timeout=30)


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, "it has not happened in time"
        time.sleep(0.2)


def colours(picture: np.ndarray) -> int:
    return len(np.unique(picture.reshape(-1, 3), axis=0))


def test_a_prompt_is_typed_in_a_window(display: str, small_world_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(SCENARIO, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SDL_")}
    environment |= {"DISPLAY": display, "SDL_AUDIODRIVER": "dummy", "XDG_CONFIG_HOME": str(tmp_path)}
    out = tmp_path / "out"

    def xdotool(*args: str) -> str:
        done = subprocess.run(["xdotool", *args], env=environment, capture_output=True, text=True, timeout=60)
        return done.stdout.strip()

    def shots() -> list[Path]:
        return sorted(out.glob("screenshot-*.png"))

    def saved() -> list[str]:
        return [path.read_text(encoding="utf-8") for path in out.glob("scenario-*.yaml")]

    def shoot() -> np.ndarray:
        before = len(shots())
        xdotool("key", "F12")
        until(lambda: len(shots()) > before)
        time.sleep(0.5)  # until it is written to the end
        return np.asarray(Image.open(shots()[-1]).convert("RGB")).astype(int)

    arguments = [str(tmp_path / "two.yaml"), "--world", str(small_world_folder), "--out", str(out)]
    size = f"{SIZE[0]}x{SIZE[1]}"
    main = "import sys; from longlive_env.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", main, "play", *arguments, "--size", size]
    viewer = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        until(lambda: xdotool("search", "--onlyvisible", "--class", "."))
        window = xdotool("search", "--onlyvisible", "--class", ".").splitlines()[0]
        xdotool("windowfocus", window)
        until(lambda: shots() or xdotool("key", "F12"))
        until(lambda: colours(shoot()[-90:]) > 50)  # prompt, spans and times are there
        plain = shoot()
        assert plain.shape == (SIZE[1], SIZE[0], 3)
        assert plain[50:400, 200:760].std() > 10  # a picture
        xdotool("key", "t")
        xdotool("type", "--delay", "20", TYPED)
        box = shoot()
        assert (np.abs(box - (255, 186, 92)).sum(axis=2) < 12).sum() > 200  # its amber frame
        xdotool("key", "Return")
        until(lambda: any(TYPED in text for text in saved()) or xdotool("key", "ctrl+s"))
        xdotool("key", "ctrl+q")
        assert viewer.wait(timeout=DEADLINE_S) == 0
    finally:
        viewer.kill()
        _, errors = viewer.communicate()
    assert "Traceback" not in errors
    assert any(TYPED in text for text in saved())
