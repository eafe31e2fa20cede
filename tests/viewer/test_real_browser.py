"""The page of `longlive play --serve` in Chromium, driven by the DevTools protocol."""

import base64
import io
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pygame
import pytest
from PIL import Image
from viewer_player import Player
from websockets.sync.client import ClientConnection, connect

from longlive_env.viewer.prompt_line import LONGEST
from longlive_env.viewer.serving import Page

BROWSER = next(filter(shutil.which, ("chromium", "chromium-browser", "google-chrome")), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
DEADLINE_S = 60
SIZE = (900, 560)
KEYS = {"Enter": 13, "ArrowLeft": 37}


class Tab:
    """A page of a browser."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count()

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._connection.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            answer: dict[str, Any] = json.loads(self._connection.recv(DEADLINE_S))
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def press(self, key: str, code: str, **params: Any) -> None:
        """A key, with the text that it types."""
        text = {"text": key} if len(key) == 1 else {}
        key_code = KEYS.get(key, ord(key.upper()[0]))
        same = {"key": key, "code": code, "windowsVirtualKeyCode": key_code, **params}
        self.call("Input.dispatchKeyEvent", type="keyDown", **text, **same)
        self.call("Input.dispatchKeyEvent", type="keyUp", **same)

    def tap(self, point: tuple[int, int]) -> None:
        """Touch a place of the page, as on a phone."""
        x, y = point
        self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def evaluate(self, script: str) -> Any:
        return self.call("Runtime.evaluate", expression=script)["result"].get("value")

    def look(self) -> np.ndarray:
        """The pixels on show: [H, W, 3]."""
        png = base64.b64decode(self.call("Page.captureScreenshot")["data"])
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


@pytest.fixture
def tab(page: Page, served: Player, tmp_path: Path) -> Iterator[Tab]:
    profile = tmp_path / "profile"
    options = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--remote-debugging-port=0",
    ]
    browser = subprocess.Popen(
        [str(BROWSER), *options, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port = until(lambda: (profile / "DevToolsActivePort").read_text().split())[0]
        opening = urllib.request.Request(f"http://127.0.0.1:{port}/json/new?about:blank", method="PUT")
        with urllib.request.urlopen(opening, timeout=DEADLINE_S) as answer:
            target = json.load(answer)["webSocketDebuggerUrl"]
        with connect(target, max_size=None, compression=None) as connection:
            tab = Tab(connection)
            metrics = {"width": SIZE[0], "height": SIZE[1], "deviceScaleFactor": 1, "mobile": False}
            tab.call("Emulation.setDeviceMetricsOverride", **metrics)
            tab.call("Page.navigate", url=page.url)
            yield tab
    finally:
        browser.kill()
        browser.wait(DEADLINE_S)


def until(found: Callable[[], Any]) -> Any:
    """What is found, once it is."""
    end = time.monotonic() + DEADLINE_S
    while True:
        try:
            if value := found():
                return value
        except (OSError, IndexError):
            pass
        assert time.monotonic() < end, "it has not happened in time"
        time.sleep(0.05)


def test_a_person_plays_in_a_browser(served: Player, tab: Tab) -> None:
    def playing(condition: Callable[[], Any]) -> Callable[[], Any]:
        def played() -> Any:
            served.wait()
            return condition()

        return played

    def same() -> bool:
        """Whether the browser shows the window, but for what JPEG loses."""
        shown, drawn = tab.look(), pygame.surfarray.array3d(served.app.window.surface()).swapaxes(0, 1)
        return shown.shape == drawn.shape and float(np.abs(shown - drawn).mean()) < 2

    until(playing(lambda: served.app.window.size == SIZE))
    served.press("space")  # a still picture
    until(playing(same))
    served.press("space")
    tab.press("ArrowLeft", "ArrowLeft")
    until(playing(lambda: "moves left" in served.worker.exchange.wanted()))
    tab.press("t", "KeyT")
    for letter in "a cat":
        tab.press(letter, "Space" if letter == " " else f"Key{letter.upper()}")
    until(playing(lambda: tab.evaluate("document.activeElement.id") == "keyboard"))
    tab.call("Input.imeSetComposition", text="ro", selectionStart=2, selectionEnd=2)
    tab.call("Input.insertText", text=" robot")  # as input methods and phones do
    until(playing(lambda: served.app.box is not None and served.app.box.line.text == "a cat robot"))
    tab.press("Enter", "Enter")
    until(playing(lambda: served.worker.exchange.wanted() == "a cat robot"))
    tab.tap(served.app.screen.places.cards.center)
    until(playing(lambda: served.app.controls.open.cards and served.app.screen._sheets))
    (sheet,) = served.app.screen._sheets
    tab.tap(sheet.cards[1][0].center)
    until(playing(lambda: "walks right" in served.worker.exchange.wanted()))
    assert not served.app.playback.paused
    tab.tap(served.app.screen.places.cards.center)
    until(playing(lambda: not served.app.controls.open.cards))
    tab.call("Input.dispatchMouseEvent", type="mousePressed", x=450, y=200, button="left", clickCount=1)
    until(playing(lambda: served.app.playback.paused))


def test_a_long_paste_is_cut_before_it_is_sent(served: Player, tab: Tab) -> None:
    def playing(condition: Callable[[], Any]) -> Callable[[], Any]:
        def played() -> Any:
            served.wait()
            return condition()

        return played

    until(playing(lambda: served.app.window.size == SIZE))
    tab.press("t", "KeyT")
    until(playing(lambda: tab.evaluate("document.activeElement.id") == "keyboard"))
    tab.call("Input.insertText", text="🙂" * 70_000)
    until(playing(lambda: served.app.box is not None and served.app.box.line.text.startswith("🙂")))
    box = served.app.box
    assert box is not None and box.line.text == "🙂" * box.line.limit
    assert box.error.startswith(f"{LONGEST - box.line.limit} characters are left out")
    tab.press("Backspace", "Backspace")  # by the same connection
    until(playing(lambda: len(box.line.text) == box.line.limit - 1))
    assert tab.evaluate("note.hidden")
