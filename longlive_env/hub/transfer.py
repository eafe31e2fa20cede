"""One file over HTTP: resumed where it broke off, even by another process, and checked before use.

huggingface_hub itself restarts a file if its process ends midway, which hurts with 11 GB. So this module uses
its client, credentials and errors, but counts the bytes itself.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any

from longlive_env.errors import DownloadError

try:
    import fcntl
except ImportError:  # Windows; downloads that disturb each other are found out by the size of their file
    fcntl = None  # type: ignore[assignment]

CHUNK_BYTES = 1 << 20
ATTEMPTS = 6  # in a row without a single new byte, before a transfer gives up
TIMEOUT_S = 30.0
OnBytes = Callable[[int], object]  # called with a number of bytes that are done

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Remote:
    """A file as its server describes it.

    Attributes:
        url: address of the file; every attempt follows redirects anew, since signed addresses expire.
        size: size in bytes.
        checksum: SHA-256 in 64 hexadecimal digits, or git's blob SHA-1 in 40.
        headers: headers of every request, credentials included.
    """

    url: str
    size: int
    checksum: str
    headers: Mapping[str, str] = field(default_factory=dict)


def http_errors() -> tuple[type[BaseException], ...]:
    """What the Hub's HTTP client raises when a request fails; the module of its base class has changed."""
    from huggingface_hub.errors import HfHubHTTPError

    return (*(base for base in HfHubHTTPError.__mro__ if base.__name__ == "HTTPError"), OSError)


def part_file(target: Path, remote: Remote) -> Path:
    """The file that holds the bytes downloaded so far; other content has another name."""
    return target.with_name(f"{target.name}.{remote.checksum[:12]}.part")


def fetch(remote: Remote, target: Path, on_bytes: OnBytes, pause_s: float = 1.0) -> None:
    """Download a file, or the rest of it.

    Args:
        remote: the file.
        target: where to put the file; it appears there only when it is complete and its checksum is right.
        on_bytes: called with the number of bytes added, and at first with the number already here.
        pause_s: pause before the second attempt without progress; it doubles with each further one.

    Raises:
        DownloadError: the transfer breaks off again and again, delivers something else, or another process is
            downloading the file.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = part_file(target, remote)
    with _alone(part, target):
        size, checksum = _receive(remote, part, on_bytes, pause_s)
        if size != remote.size or checksum != remote.checksum:
            part.unlink()
            raise DownloadError(
                f"{remote.url} came as {size} bytes with checksum {checksum}; expected {remote.size} "
                f"bytes with {remote.checksum}; it was removed: run the command again"
            )
        os.replace(part, target)


@contextmanager
def _alone(part: Path, target: Path) -> Iterator[None]:
    """Lock out other downloads of a part file until it is in place or given up."""
    if fcntl is None:
        yield
        return
    with part.open("ab") as held:
        try:
            fcntl.flock(held.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DownloadError(
                f"another download of {target} is running; wait for it, then run the command again"
            ) from error
        except OSError as error:  # some file systems have no locks
            logger.warning("%s cannot be locked (%s); let no other download write to it", part, error)
        if not part.exists() or not os.path.samestat(os.fstat(held.fileno()), part.stat()):
            raise DownloadError(f"another download of {target} has just ended; run the command again")
        yield


def _receive(remote: Remote, part: Path, on_bytes: OnBytes, pause_s: float) -> tuple[int, str]:
    """Complete a part file; return its size on disk and the checksum of the bytes that it ought to hold."""
    digest = _new_digest(remote)
    with part.open("ab+", buffering=0) as file:  # so that what a failed write leaves is in the file
        file.seek(0)
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
        have = file.tell()
        on_bytes(have)
        failures = 0
        while have < remote.size:
            before = have
            try:
                for chunk in _stream(remote, have):
                    _append(file, chunk)
                    digest.update(chunk)
                    have += len(chunk)
                    on_bytes(len(chunk))
                reason = "the connection ended"
            except http_errors() as error:
                file.truncate(have)  # a disk that fills up takes a part of a chunk
                reason = str(error) or type(error).__name__
            failures = 0 if have > before else failures + 1
            if have < remote.size:
                _wait(remote, have, failures, reason, pause_s)
        return os.fstat(file.fileno()).st_size, digest.hexdigest()


def _append(file: FileIO, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[file.write(rest) :]


def _wait(remote: Remote, have: int, failures: int, reason: str, pause_s: float) -> None:
    """Pause before the next attempt, except after one that made progress."""
    if failures == ATTEMPTS:
        raise DownloadError(
            f"{remote.url} breaks off at {have} of {remote.size} bytes ({reason}); what came is kept: run "
            "the command again to go on from there"
        )
    logger.warning("%s at %d of %d bytes: %s; going on", remote.url, have, remote.size, reason)
    if failures:
        time.sleep(pause_s * 2 ** (failures - 1))


def sha256_of(path: Path, on_bytes: OnBytes) -> str:
    """The SHA-256 of a file on disk."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            on_bytes(len(chunk))
    return digest.hexdigest()


def _new_digest(remote: Remote) -> Any:
    if len(remote.checksum) == 64:
        return hashlib.sha256()
    return hashlib.sha1(f"blob {remote.size}\0".encode(), usedforsecurity=False)  # as git names its objects


def _stream(remote: Remote, start: int) -> Any:
    """The file's bytes from `start` on; if a server ignores ranges, the bytes before are skipped."""
    from huggingface_hub.utils import get_session, hf_raise_for_status

    headers = {**remote.headers, "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with get_session().stream("GET", remote.url, headers=headers, timeout=TIMEOUT_S) as response:
        hf_raise_for_status(response)
        skip = start if response.status_code == 200 else 0
        for chunk in response.iter_bytes(CHUNK_BYTES):
            if skip >= len(chunk):
                skip -= len(chunk)
                continue
            yield chunk[skip:]
            skip = 0
