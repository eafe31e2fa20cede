"""The viewer's window in a browser, for machines without a display: pictures out, keys and mouse in.

One port serves the page and, over a WebSocket, the traffic in both directions.
"""

from __future__ import annotations

import contextlib
import hmac
import http
import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import pygame

from longlive_env.errors import BackendError, ConfigError, MissingExtraError
from longlive_env.viewer.remote import event_of
from longlive_env.viewer.visitor import Picture, Visitor

if TYPE_CHECKING:
    from websockets.http11 import Request, Response
    from websockets.sync.server import Server, ServerConnection

logger = logging.getLogger(__name__)

HERE = "127.0.0.1"
OPEN_S, CLOSE_S = 3.0, 2.0  # time limits of a peer
PING_S, PONG_S = 2.0, 30.0  # interval of pings, and time limit of their answers
SEND_S = PONG_S  # time limit of a picture, on a slow connection
AGAIN_S = 0.5  # pause before a server that has given up is replaced
PAGE_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",  # the address holds the key
}
MESSAGE_BYTES = 1 << 16  # limit of the page's messages, which cut pasted text to `prompt_line.LONGEST`


@dataclass(frozen=True)
class Address:
    """Address to listen on.

    Attributes:
        port: port; 0 for any free port.
        host: name or address of an interface; by default only this machine can connect.
    """

    port: int
    host: str = HERE

    @classmethod
    def parse(cls, text: str) -> Address:
        """Parse `PORT` or `HOST:PORT`, with an IPv6 address in brackets.

        Raises:
            ConfigError: it is neither.
        """
        host, _, port = text.rpartition(":")
        if not port.isdecimal() or int(port) > 65535 or (":" in host and not host.startswith("[")):
            raise ConfigError(
                f"{text!r} is not an address; expected PORT or HOST:PORT, such as 8000 or 0.0.0.0:8000"
            )
        return cls(int(port), host.strip("[]") or HERE)


class Page:
    """Serves the window of an `App` in a `with` statement, as its mirror.

    Whoever knows the URL can steer, so it contains an unguessable key.

    Args:
        address: address to listen on.

    Raises:
        MissingExtraError: the package `websockets` is not installed.
    """

    def __init__(self, address: Address) -> None:
        try:
            from websockets.sync import server
        except ImportError as error:
            raise MissingExtraError.of("--serve needs websockets", "viewer") from error
        self._serve = server.serve
        self._address = address
        self._key = secrets.token_urlsafe(16)
        self._html = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
        self._changed = threading.Condition()
        # The following is shared between threads, under `_changed`.
        self._visitors: list[Visitor] = []
        self._picture: Picture | None = None
        self._closing = False

    def __enter__(self) -> Page:
        """Start listening, and let windows open without a display.

        Raises:
            BackendError: the address is in use, or does not belong to this machine.
        """
        os.environ["SDL_VIDEODRIVER"] = "dummy"
        host, port = self._address.host, self._address.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._server = self._serving(host=host, port=port, family=family)
        except OSError as error:
            raise BackendError(
                f"cannot listen on port {port} of {host}: {error.strerror or error}; name another with "
                "--serve PORT or HOST:PORT, or 0 for any free port"
            ) from error
        self._thread = threading.Thread(target=self._listen, name="longlive-page", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closing = True
            visitors = list(self._visitors)
            self._changed.notify_all()
        closing = [threading.Thread(target=visitor.say_goodbye, daemon=True) for visitor in visitors]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join(CLOSE_S)
        for visitor in visitors:
            with contextlib.suppress(OSError):  # of those that have closed it
                visitor.connection.socket.shutdown(socket.SHUT_RDWR)
        ending = threading.Thread(target=self._server.shutdown, daemon=True)
        ending.start()
        ending.join(OPEN_S + CLOSE_S)  # a server that lacked files or threads may wait for ever
        self._thread.join()

    @property
    def port(self) -> int:
        """Port that it listens on."""
        return int(self._server.socket.getsockname()[1])

    @property
    def url(self) -> str:
        """URL to open in a browser."""
        host = self._address.host
        if host in ("0.0.0.0", "::"):
            host = socket.gethostname()
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/{self._key}"

    @property
    def advice(self) -> list[str]:
        """The command to run elsewhere first so that the URL leads here; empty if none is needed."""
        if self._address.host not in (HERE, "localhost", "::1"):
            return []
        here = "[::1]" if ":" in self._address.host else HERE
        return [f"from another machine, first: ssh -L {self.port}:{here}:{self.port} {socket.gethostname()}"]

    def show(self, surface: pygame.Surface, *, writing: bool) -> None:
        """Show a picture, see `Mirror`; the page opens a text field while a prompt is written."""
        pixels = pygame.image.tobytes(surface, "RGB")
        with self._changed:
            number = self._picture.number + 1 if self._picture is not None else 0
            self._picture = Picture(number, surface.get_size(), pixels, writing)
            self._changed.notify_all()

    def watched(self, timeout_s: float) -> bool:
        """See `Mirror`."""
        with self._changed:
            return self._changed.wait_for(self._somebody_looks, timeout_s)

    def _somebody_looks(self) -> bool:
        now = time.monotonic()
        return any(visitor.looks(now) for visitor in self._visitors)

    def _serving(self, **where: Any) -> Server:
        """Return a server at an address, or on a socket that listens already."""
        quiet = logging.getLogger(f"{__name__}.connections")
        quiet.setLevel(logging.CRITICAL)  # a stranger's broken request is not our error
        return self._serve(
            self._visit,
            process_request=self._answer,
            compression=None,
            max_size=MESSAGE_BYTES,
            open_timeout=OPEN_S,
            close_timeout=CLOSE_S,
            ping_interval=PING_S,
            ping_timeout=PONG_S,
            logger=quiet,
            **where,
        )

    def _listen(self) -> None:
        """Serve until the end; a server gives up when connections have used up all files or threads."""
        while True:
            with contextlib.suppress(OSError, RuntimeError, ValueError):
                self._server.serve_forever()
            with self._changed:
                if self._changed.wait_for(lambda: self._closing, AGAIN_S):
                    return
                with contextlib.suppress(OSError):
                    self._server = self._serving(sock=self._server.socket)

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """Return the page for a request that opens no WebSocket."""
        key = request.path.partition("?")[0].rpartition("/")[2]
        if not hmac.compare_digest(key.encode(), self._key.encode()):
            return connection.respond(
                http.HTTPStatus.FORBIDDEN, "This is not the address that longlive play --serve has printed.\n"
            )
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return None
        page = connection.respond(http.HTTPStatus.OK, self._html)
        del page.headers["Content-Type"]
        page.headers.update(PAGE_HEADERS)
        return page

    def _visit(self, connection: ServerConnection) -> None:
        """Serve a visitor until it leaves."""
        # A peer that stops receiving would hold up others. Some versions of websockets apply this timeout to
        # reading, too, but answers to pings come more often.
        connection.socket.settimeout(SEND_S)
        with self._registered(Visitor(connection)) as visitor:
            sender = threading.Thread(
                target=self._send, args=(visitor,), name="longlive-pictures", daemon=True
            )
            sender.start()
            _post(pygame.Event(pygame.WINDOWEXPOSED))
            for message in connection:
                self._read(visitor, message)

    @contextmanager
    def _registered(self, visitor: Visitor) -> Iterator[Visitor]:
        with self._changed:
            self._visitors.append(visitor)
            self._changed.notify_all()
        try:
            yield visitor
        finally:
            with self._changed:
                visitor.gone = True
                self._visitors.remove(visitor)
                self._changed.notify_all()
            _post(pygame.Event(pygame.TEXTEDITING, text="", start=0, length=0))  # gone while composing

    def _read(self, visitor: Visitor, message: str | bytes) -> None:
        try:
            said = json.loads(message)
            if said["type"] == "shown":
                with self._changed:
                    visitor.shown(time.monotonic())
                    self._changed.notify_all()
                return
            size = self._picture.size if self._picture is not None else (1, 1)
            event = event_of(said, size)
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            logger.debug("the page said %.200r: %r", message, error)
            return
        _post(event)

    def _send(self, visitor: Visitor) -> None:
        """Send pictures as fast as the visitor shows them."""
        from websockets.exceptions import ConnectionClosed

        try:
            while (picture := self._next(visitor)) is not None:
                if picture.writing != visitor.told:
                    visitor.connection.send(json.dumps({"writing": picture.writing}))
                    visitor.told = picture.writing
                visitor.connection.send(picture.jpeg)
        except ConnectionClosed:
            logger.debug("a visitor has gone")

    def _next(self, visitor: Visitor) -> Picture | None:
        """Return the next picture for a visitor, once it has shown the others; None if it has left."""

        def ready() -> bool:
            new = self._picture is not None and self._picture.number > visitor.newest
            return visitor.gone or self._closing or (new and visitor.has_room)

        with self._changed:
            self._changed.wait_for(ready)
            if visitor.gone or self._closing or self._picture is None:
                return None
            visitor.newest = self._picture.number
            visitor.underway.append(time.monotonic())
            return self._picture


def _post(event: pygame.Event) -> None:
    try:
        pygame.event.post(event)
    except pygame.error as error:
        logger.debug("there is no window yet, or no longer: %s", error)
