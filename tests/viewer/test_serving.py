"""The window in a browser, with a visitor that speaks the page's language."""

import errno
import io
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pygame
import pytest
from PIL import Image
from viewer_player import Player
from viewer_stage import CAT, SCENARIO
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from longlive_env.errors import BackendError, ConfigError
from longlive_env.viewer.prompt_line import LONGEST
from longlive_env.viewer.serving import MESSAGE_BYTES, Address, Page
from longlive_env.viewer.session import Session
from longlive_env.viewer.visitor import UNDERWAY

PATIENCE_S = 20
Visitor = ClientConnection


def visit(page: Page) -> Visitor:
    return connect(page.url.replace("http", "ws"), compression=None, max_size=None)


def say(visitor: Visitor, name: str, **said: Any) -> None:
    visitor.send(json.dumps({"type": name, **said}))


def press(visitor: Visitor, key: str, code: str = "", *, ctrl: bool = False) -> None:
    say(visitor, "key", key=key, code=code, ctrl=ctrl, alt=False, shift=False)


def pictures(visitor: Visitor, timeout_s: float = 0.2) -> list[bytes]:
    """All pictures that come of themselves."""
    found = []
    while True:
        try:
            message = visitor.recv(timeout_s)
        except TimeoutError:
            return found
        if isinstance(message, bytes):
            found.append(message)


def look(player: Player, visitor: Visitor, wanted: Callable[[], object]) -> None:
    """Play on until something has happened, as a visitor that shows its pictures at once."""
    for _ in range(200):
        if wanted():
            return
        player.wait()
        for _ in pictures(visitor, 0.01):
            say(visitor, "shown")
    raise AssertionError("it has not happened in time")


def size_of(jpeg: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(jpeg)) as picture:
        picture.load()
        assert picture.format == "JPEG"
        return picture.size


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("8000", Address(8000)),
        ("0.0.0.0:80", Address(80, "0.0.0.0")),
        ("box.local:0", Address(0, "box.local")),
        ("[::1]:8000", Address(8000, "::1")),
        (":8000", Address(8000)),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert Address.parse(text) == address


@pytest.mark.parametrize("text", ["", "demo", "localhost", "1:2:3", "::1:8000", "70000", "-1", "8000:"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ConfigError, match="expected PORT or HOST:PORT, such as 8000"):
        Address.parse(text)


def test_a_port_that_is_taken() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(BackendError, match=f"cannot listen on port {port}.* name another"),
            Page(Address(port)),
        ):
            pass


def test_a_port_of_the_newer_protocol() -> None:
    try:
        with Page(Address(0, "::1")) as page, urllib.request.urlopen(page.url, timeout=PATIENCE_S) as answer:
            assert answer.status == 200 and "://[::1]:" in page.url and "[::1]" in page.advice[0]
    except BackendError as error:
        pytest.skip(f"no IPv6 here: {error}")


def test_the_page_is_for_those_who_know_its_address(page: Page) -> None:
    with urllib.request.urlopen(page.url, timeout=PATIENCE_S) as answer:
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert b"<canvas" in answer.read()
    with urllib.request.urlopen(
        page.url.replace("127.0.0.1", "localhost") + "?x=1", timeout=PATIENCE_S
    ) as answer:
        assert answer.status == 200
    root = page.url.rpartition("/")[0]
    for other in (root, f"{root}/", f"{root}/guess", page.url[:-1]):
        with pytest.raises(urllib.error.HTTPError, match="403") as refused:
            urllib.request.urlopen(other, timeout=PATIENCE_S)
        refused.value.close()
        with pytest.raises(InvalidStatus):
            connect(other.replace("http", "ws"))
    assert not page.watched(0) and page.port != 0
    assert f"ssh -L {page.port}:127.0.0.1:{page.port}" in page.advice[0]
    assert Page(Address(0, "0.0.0.0")).advice == []


def test_a_visitor_sees_the_window_and_steers(page: Page, served: Player) -> None:
    with visit(page) as visitor:
        assert page.watched(PATIENCE_S)
        look(served, visitor, lambda: served.view.shown)
        press(visitor, "ArrowLeft")
        look(served, visitor, lambda: "moves left" in served.worker.exchange.wanted())
        text = "a blue cat dances in the city"
        press(visitor, "t", "KeyT")  # as fast as a browser can, with no word from the window in between
        for letter in text:
            press(visitor, letter)
        look(served, visitor, lambda: served.app.box is not None and served.app.box.line.text == text)
        say(visitor, "text", text=" at night")  # what is pasted
        press(visitor, "Backspace", "Backspace")
        press(visitor, "Enter", "Enter")
        look(served, visitor, lambda: served.worker.exchange.wanted() == text + " at nigh")
        say(visitor, "pointer", kind="down", x=0.5, y=0.3, button=0, clicks=1)
        look(served, visitor, lambda: served.app.playback.paused)
        press(visitor, "q", "KeyQ", ctrl=True)
        look(served, visitor, lambda: not served.app.running)


def test_the_page_sends_no_more_than_is_taken(page: Page, served: Player) -> None:
    with urllib.request.urlopen(page.url, timeout=PATIENCE_S) as answer:
        (longest,) = re.findall(r"const LONGEST = (\d+);", answer.read().decode())
    assert int(longest) == LONGEST
    with visit(page) as visitor:
        press(visitor, "t", "KeyT")
        text = "\ud800" * LONGEST  # nothing takes more bytes in JSON
        assert len(json.dumps({"type": "text", "text": text})) < MESSAGE_BYTES
        say(visitor, "text", text=text)
        say(visitor, "text", text="a cat")
        look(served, visitor, lambda: served.app.box is not None and served.app.box.line.text == "a cat")


def test_the_window_is_as_large_as_the_page(page: Page, served: Player) -> None:
    with visit(page) as visitor:
        say(visitor, "size", width=800, height=500, ratio=1)
        look(served, visitor, lambda: served.app.window.size == (800, 500))
        served.wait()
        sizes = [size_of(picture) for picture in pictures(visitor)]
        assert sizes[-1] == (800, 500)
        press(visitor, "F11", "F11")
        look(served, visitor, lambda: "The browser makes it full screen" in served.told)
        assert served.app.window.size == (800, 500)


def test_a_page_is_told_when_text_is_wanted(page: Page, served: Player) -> None:
    with visit(page) as visitor:
        press(visitor, "t", "KeyT")
        told: list[bool] = []
        for _ in range(100):
            served.wait()
            try:
                message = visitor.recv(0.05)
            except TimeoutError:
                continue
            if isinstance(message, bytes):
                say(visitor, "shown")
            else:
                told.append(json.loads(message)["writing"])
                if told[-1]:
                    press(visitor, "Escape", "Escape")
            if told[-2:] == [True, False]:
                return
    raise AssertionError(f"the page was told {told}")


def test_a_slow_visitor_gets_fewer_pictures_and_the_newest(
    page: Page, served: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("longlive_env.viewer.visitor.SLOW_S", PATIENCE_S)
    with visit(page) as visitor:
        page.watched(PATIENCE_S)
        served.wait(20)
        waiting = pictures(visitor)
        assert len(waiting) == UNDERWAY  # and no more until it has shown one
        served.press("f3")  # something that only the newest picture shows
        served.wait(20)
        assert pictures(visitor) == []
        say(visitor, "shown")
        (newest,) = pictures(visitor)
        assert newest not in waiting
        with Image.open(io.BytesIO(newest)) as picture, Image.open(io.BytesIO(waiting[-1])) as before:
            panel = (480, 20, 620, 200)
            assert picture.crop(panel).tobytes() != before.crop(panel).tobytes()


def test_over_a_slow_line_one_picture_travels_at_a_time(
    page: Page, served: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("longlive_env.viewer.visitor.SLOW_S", 0.05)
    with visit(page) as visitor:
        page.watched(PATIENCE_S)
        served.wait(20)
        for _ in pictures(visitor):
            time.sleep(0.1)
            say(visitor, "shown")
        for _ in range(3):
            served.wait(20)
            assert len(pictures(visitor)) == 1
            time.sleep(0.1)
            say(visitor, "shown")


def test_a_tab_that_shows_nothing_is_not_looking(
    page: Page, served: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("longlive_env.viewer.visitor.AWAY_S", 0.1)
    with visit(page) as visitor:
        assert page.watched(PATIENCE_S)
        served.wait(20)
        assert len(pictures(visitor)) == UNDERWAY
        assert not page.watched(0)
        for _ in range(UNDERWAY):  # it comes to the front
            say(visitor, "shown")
        assert page.watched(PATIENCE_S)


def test_strange_messages_change_nothing(page: Page, served: Player) -> None:
    with visit(page) as visitor:
        say(visitor, "pointer", kind="down", x=1e305, y=-1e305, button=0, clicks=1)
        for message in (
            "",
            "[]",
            "null",
            "{}",
            '{"type": 5}',
            '{"type": "size", "width": 1e999, "height": 1}',
            b"\x00",
        ):
            visitor.send(message)
        visitor.send("[" * 10_000)
        press(visitor, "ArrowLeft")
        look(served, visitor, lambda: "moves left" in served.worker.exchange.wanted())


def test_nothing_moves_while_nobody_looks(
    page: Page, make_session: Callable[..., Session], tmp_path: Path
) -> None:
    player = Player(make_session, tmp_path, {}, threaded=True, mirror=page)  # in real time
    with player.app:
        with visit(page):
            assert page.watched(PATIENCE_S)
            player.play(1)
        end = time.monotonic() + PATIENCE_S
        while page.watched(0):
            assert time.monotonic() < end
            time.sleep(0.01)
        before = player.app.playback.position
        closing = threading.Timer(1.0, lambda: pygame.event.post(pygame.Event(pygame.QUIT)))
        closing.start()
        player.app.run()  # until it is closed, as by a signal
        assert not closing.is_alive()
        assert player.app.playback.position <= before + 2 / 12  # instead of 16 frames
        assert not player.app.playback.clock.slow(time.perf_counter())  # nor does it count as late


def test_visitors_are_told_of_the_end(make_session: Callable[..., Session], tmp_path: Path) -> None:
    with ExitStack() as visitors:
        with Page(Address(0)) as page, Player(make_session, tmp_path, {}, mirror=page).app:
            both = [visitors.enter_context(visit(page)) for _ in range(2)]
        for visitor in both:
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    visitor.recv(PATIENCE_S)
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 1001


def test_the_command_serves_until_somebody_quits(small_world_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(SCENARIO, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SDL_")}
    arguments = [str(tmp_path / "two.yaml"), "--world", str(small_world_folder), "--serve", "0"]
    main = "import sys; from longlive_env.cli import main; sys.exit(main())"
    viewer = subprocess.Popen(
        [sys.executable, "-c", main, "play", *arguments, "--out", str(tmp_path)],
        env={**environment, "XDG_CONFIG_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert viewer.stdout is not None
        url = viewer.stdout.readline().removeprefix("open in a browser: ").strip()
        with connect(url.replace("http", "ws"), compression=None, max_size=None) as visitor:
            say(visitor, "size", width=700, height=420, ratio=1)
            saved: list[Path] = []
            while not saved:
                message = visitor.recv(PATIENCE_S)
                if isinstance(message, bytes) and size_of(message) == (700, 420):
                    press(visitor, "s", "KeyS", ctrl=True)  # until there is a block to be saved
                say(visitor, "shown")
                saved = list(tmp_path.glob("scenario-*.yaml"))
            press(visitor, "q", "KeyQ", ctrl=True)
            assert viewer.wait(PATIENCE_S) == 0
    finally:
        viewer.kill()
        _, errors = viewer.communicate()
    assert "Traceback" not in errors
    assert CAT in saved[0].read_text(encoding="utf-8")


class Exhausted:
    """A listening socket that once finds no file for a connection."""

    def __init__(self, real: socket.socket) -> None:
        self.real, self.failed = real, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def accept(self) -> Any:
        if self.failed:
            return self.real.accept()
        self.failed = True
        raise OSError(errno.EMFILE, "Too many open files")


def exhausted(page: Page) -> None:
    """Make the page's server give up, as websockets' do when they cannot accept a connection."""
    server, waiting = page._server, Exhausted(page._server.socket)
    server.socket = waiting  # type: ignore[assignment]
    with socket.create_connection(("127.0.0.1", page.port), PATIENCE_S):
        deadline = time.monotonic() + PATIENCE_S
        while page._server is server and time.monotonic() < deadline:
            time.sleep(0.02)
    assert waiting.failed and page._server is not server


def test_it_goes_on_after_it_could_take_no_more() -> None:
    with Page(Address(0)) as page:
        exhausted(page)
        with urllib.request.urlopen(page.url, timeout=PATIENCE_S) as answer:
            assert answer.status == 200


def test_the_end_does_not_wait_for_a_server_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("longlive_env.viewer.serving.OPEN_S", 0.2)
    monkeypatch.setattr("longlive_env.viewer.serving.CLOSE_S", 0.2)
    with Page(Address(0)) as page:
        stuck = threading.Event()
        end = page._server.shutdown
        monkeypatch.setattr(page._server, "shutdown", lambda: (end(), stuck.wait(PATIENCE_S)))
        begun = time.monotonic()
    assert time.monotonic() - begun < PATIENCE_S
    stuck.set()
