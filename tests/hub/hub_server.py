"""A small server that speaks the Hugging Face Hub's protocol for files, with faults on demand."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

REVISION = "0123456789abcdef0123456789abcdef01234567"


class HubServer(ThreadingHTTPServer):
    """Files of repositories at `REVISION`; large ones redirect to a content store, as on the Hub.

    Attributes:
        files: content by `owner/name/path`.
        errors: status and X-Error-Code by `owner/name`.
        cuts: after how many bytes of its body each answer with a body is cut, in turn.
        ranges: whether the Range header is honoured.
        requests: method, path, Range and Authorization of every request, in order.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.errors: dict[str, tuple[int, str]] = {}
        self.cuts: list[int] = []
        self.ranges = True
        self.requests: list[tuple[str, str, str | None, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def store(self) -> str:
        """Where content lies: on another host as far as a client can tell, which must not see credentials."""
        return f"http://localhost:{self.server_port}/store/"

    def bodies(self) -> list[tuple[str, str | None]]:
        """Path and Range of the requests that asked for content."""
        return [
            (path, span) for method, path, span, _ in self.requests if method == "GET" and "/store/" in path
        ]


class Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"
    LARGE: ClassVar[int] = 1000

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.server.requests.append(
            (self.command, self.path, self.headers["Range"], self.headers["Authorization"])
        )
        if self.path.startswith("/store/"):
            self._body(next(c for c in self.server.files.values() if digest(c) == self.path[7:]))
            return
        repository, _, rest = self.path[1:].partition("/resolve/")
        revision, _, name = rest.partition("/")
        content = self.server.files.get(f"{repository}/{name}")
        if repository in self.server.errors:
            status, code = self.server.errors[repository]
            self._send(status, {"X-Error-Code": code})
        elif revision != REVISION:
            self._send(404, {"X-Error-Code": "RevisionNotFound"})
        elif content is None:
            self._send(404, {"X-Error-Code": "EntryNotFound"})
        elif len(content) >= self.LARGE:
            linked = {"X-Linked-Etag": f'"{digest(content)}"', "X-Linked-Size": str(len(content))}
            self._send(
                302, {**linked, "X-Repo-Commit": REVISION, "Location": self.server.store + digest(content)}
            )
        else:
            blob = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
            self._body(content, {"X-Repo-Commit": REVISION, "ETag": f'"{blob}"'})

    def _body(self, content: bytes, headers: dict[str, str] | None = None) -> None:
        span = self.headers["Range"] if self.server.ranges else None
        start = int(span.removeprefix("bytes=").rstrip("-")) if span else 0
        body = content[start:]
        cut = self.server.cuts.pop(0) if self.server.cuts and self.command == "GET" else len(body)
        self._send(206 if span else 200, {**(headers or {}), "Content-Length": str(len(body))}, body[:cut])
        if cut < len(body):
            self.close_connection = True

    def _send(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@contextmanager
def running() -> Iterator[HubServer]:
    with HubServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
