"""`longlive play` in a real X window under Xvfb, with xdotool typing a prompt.

What is on the screen is read from the X server's frame buffer, a file in the format of xwd.
"""

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

from longlive_env.viewer.theme import AMBER, DOCK

PROGRAMS = ("Xvfb", "xdotool")
MISSING = [program for program in PROGRAMS if shutil.which(program) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"needs {' and '.join(MISSING)}")
SIZE = (960, 600)
TYPED = "a green dinosaur dances on the beach at night"
DEADLINE_S = 90


@pytest.fixture
def display(tmp_path: Path) -> Iterator[str]:
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x800x24", "-nolisten", "tcp"]
    server = subprocess.Popen(
        [*command, "-fbdir", str(tmp_path)], pass_fds=(write,), stderr=subprocess.DEVNULL
    )
    os.close(write)
    with os.fdopen(read) as pipe:
        number = pipe.readline().strip()
    yield f":{number}"
    server.terminate()
    server.wait(timeout=30)


def on_screen(folder: Path) -> np.ndarray:
    """The pixels of the whole screen, [H, W, 3]."""
    data = (folder / "Xvfb_screen0").read_bytes()
    header = np.frombuffer(data, ">u4", 25)
    size, width, height, bits, line, colours = (int(header[place]) for place in (0, 4, 5, 11, 12, 19))
    assert bits == 32
    pixels = np.frombuffer(data, np.uint8, height * line, size + 12 * colours)
    return pixels.reshape(height, line // 4, 4)[:, :width, 2::-1].astype(int)


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, "it has not happened in time"
        time.sleep(0.2)


def colours(picture: np.ndarray) -> int:
    return len(np.unique(picture.reshape(-1, 3), axis=0))


def share(picture: np.ndarray, colour: tuple[int, int, int]) -> float:
    """How much of a picture has a colour, about."""
    return float((np.abs(picture - colour).max(axis=-1) < 12).mean())


def test_a_prompt_is_typed_in_a_window(display: str, small_world_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(SCENARIO, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SDL_")}
    environment |= {"DISPLAY": display, "SDL_AUDIODRIVER": "dummy", "XDG_CONFIG_HOME": str(tmp_path)}
    out = tmp_path / "out"

    def xdotool(*args: str) -> str:
        done = subprocess.run(["xdotool", *args], env=environment, capture_output=True, text=True, timeout=60)
        return done.stdout.strip()

    def saved() -> list[str]:
        return [path.read_text(encoding="utf-8") for path in out.glob("scenario-*.yaml")]

    arguments = [str(tmp_path / "two.yaml"), "--world", str(small_world_folder), "--out", str(out)]
    size = f"{SIZE[0]}x{SIZE[1]}"
    main = "import sys; from longlive_env.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", main, "play", *arguments, "--size", size]
    viewer = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        place: dict[str, str] = {}

        def placed() -> bool:  # a window that was found may make way for another one
            for window in xdotool("search", "--onlyvisible", "--class", ".").splitlines()[:1]:
                xdotool("windowfocus", "--sync", window)
                geometry = xdotool("getwindowgeometry", "--shell", window)
                place.update(line.split("=") for line in geometry.splitlines())
            return "X" in place

        until(placed)
        left, top = int(place["X"]), int(place["Y"])
        assert (int(place["WIDTH"]), int(place["HEIGHT"])) == SIZE

        def look() -> np.ndarray:
            return on_screen(tmp_path)[top : top + SIZE[1], left : left + SIZE[0]]

        until(lambda: colours(look()[-90:]) > 50)  # prompt, spans and times are there
        plain = look()
        assert plain[50:400, 200:760].std() > 10  # a picture
        assert share(plain[-90:], DOCK) > 0.3 and share(plain[300:480], AMBER) < 0.001
        xdotool("key", "t")
        xdotool("type", "--delay", "20", TYPED)
        until(lambda: share(look()[300:480], AMBER) > 0.002)  # the frame of the box
        xdotool("key", "Return")
        until(lambda: share(look()[300:480], AMBER) < 0.001)
        until(lambda: any(TYPED in text for text in saved()) or xdotool("key", "ctrl+s"))
        until(lambda: share(look()[-75:-20], AMBER) > share(plain[-75:-20], AMBER))  # a span that is yours
        xdotool("key", "space")
        xdotool("key", "F12")
        until(lambda: any(shows(file, look()) for file in out.glob("screenshot-*.png")))
        xdotool("key", "ctrl+q")
        assert viewer.wait(timeout=DEADLINE_S) == 0
    finally:
        viewer.kill()
        _, errors = viewer.communicate()
    assert "Traceback" not in errors
    assert any(TYPED in text for text in saved())


def shows(file: Path, screen: np.ndarray) -> bool:
    """Whether a saved screenshot is complete and has the prompt and the timeline that the screen shows."""
    try:
        picture = np.asarray(Image.open(file).convert("RGB")).astype(int)
    except (OSError, SyntaxError):
        return False
    return picture.shape == screen.shape and np.array_equal(picture[-100:], screen[-100:])
