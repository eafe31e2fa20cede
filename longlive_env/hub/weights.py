"""Download a world's published weights, or find that they are here already."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from longlive_env.engine import published
from longlive_env.engine.whole_files import write_whole
from longlive_env.engine.world_places import downloaded, record_file
from longlive_env.errors import ConfigError, DownloadError, LongLiveError, MissingExtraError
from longlive_env.hub.sources import SOURCES, HubFile, Source, WebFile
from longlive_env.hub.transfer import TIMEOUT_S, OnBytes, Remote, fetch, http_errors, part_file, sha256_of

HUB = "https://huggingface.co"
SPARE_BYTES = 1 << 30  # left free beside the downloads
Progress = Callable[[str, int], OnBytes]  # begins a phase of so many bytes; returns what counts them


def _silent(what: str, total_bytes: int) -> OnBytes:
    return lambda count: None


def download(
    world: str,
    folder: Path | None = None,
    *,
    progress: Progress = _silent,
    sources: Sequence[Source] | None = None,
    pause_s: float = 1.0,
) -> Path:
    """Make a world's published weights complete, so that `World.load(world)` finds them.

    Files that are there already, in our layout or that of a LongLive checkout, stay where they are and are
    verified once, even if a call ends early. Only missing files are downloaded, and files that an earlier
    call left incomplete are resumed.

    Args:
        world: name of a published world.
        folder: folder for the weights; None means where they were put last, else the user's cache.
        progress: called with "verifying" or "downloading" and a number of bytes as that phase begins; what it
            returns is called with each number of bytes that is done.
        sources: sources of the files; None takes those of the world.
        pause_s: see `transfer.fetch`.

    Returns:
        The folder.

    Raises:
        ConfigError: no such world is published.
        DownloadError: no connection, no permission, no room, or a file that is not the published one.
        MissingExtraError: something has to be downloaded and huggingface_hub is not installed.
    """
    if sources is None:
        if world not in SOURCES:
            raise ConfigError(f"no weights are published for {world!r}; published: {', '.join(SOURCES)}")
        sources = SOURCES[world]
    folder = (folder or downloaded(world)).expanduser().absolute()
    verified = _verify(world, folder, sources, progress)
    alone = downloaded(world) == folder or not record_file(world).is_file()
    if alone and verified:  # so that a call which ends early has not verified in vain
        _record(world, folder, verified)
    missing = [source for source in sources if published.locate(folder, source.path) is None]
    absent: LongLiveError | None = None
    if missing:
        remotes, absent = _ask(missing, folder)
        _check_room(folder, remotes)
        advance = progress("downloading", sum(remote.size for remote in remotes.values()))
        for source, remote in remotes.items():
            fetch(remote, folder / source.path, advance, pause_s)
            verified[source.path.as_posix()] = _stamp(folder / source.path)
            if alone:
                _record(world, folder, verified)
    _record(world, folder, verified)
    if absent is not None:  # all but the light codec works without that file
        raise absent
    return folder


logger = logging.getLogger(__name__)
Stamp = list[int]  # size in bytes, time of the last change in ns


def _verify(world: str, folder: Path, sources: Sequence[Source], progress: Progress) -> dict[str, Stamp]:
    """Check what is here against the published checksums; an unchanged file is checked once."""
    known: dict[str, Stamp] = {}
    if record_file(world).is_file() and downloaded(world) == folder:
        known = json.loads(record_file(world).read_text(encoding="utf-8")).get("verified", {})
    here = {source: published.locate(folder, source.path) for source in sources}
    stamps = {source.path.as_posix(): _stamp(path) for source, path in here.items() if path is not None}
    unsure = [
        (path, source.sha256)
        for source, path in here.items()
        if path is not None and source.sha256 and known.get(source.path.as_posix()) != _stamp(path)
    ]
    if not unsure:
        return stamps
    advance = progress("verifying", sum(path.stat().st_size for path, _ in unsure))
    for path, sha256 in unsure:
        found = sha256_of(path, advance)
        if found != sha256:
            raise DownloadError(
                f"{path} ({path.stat().st_size} bytes) has checksum {found}, expected {sha256}; delete it to "
                f"download it again, or keep it and load the folder by its path: --world {folder}"
            )
    return stamps


def _stamp(path: Path) -> Stamp:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _record(world: str, folder: Path, verified: dict[str, Stamp]) -> None:
    """Note where the weights are, so that the world's name alone finds them."""
    file = record_file(world)
    content = json.dumps({"folder": str(folder), "verified": verified}, indent=2) + "\n"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, content)
    except OSError as error:
        logger.warning("%s is not written (%s); load the weights by path: --world %s", file, error, folder)


def _check_room(folder: Path, remotes: Mapping[Source, Remote]) -> None:
    """Fail before the first byte if the disk cannot hold all files."""
    needed = SPARE_BYTES
    for source, remote in remotes.items():
        part = part_file(folder / source.path, remote)
        needed += remote.size - (part.stat().st_size if part.is_file() else 0)
    disk = next((path for path in (folder, *folder.parents) if path.is_dir()), None)
    if disk is None:
        raise DownloadError(f"{folder.anchor} of {folder} is no drive here; choose another place with --dir")
    free = shutil.disk_usage(disk).free
    if free < needed:
        raise DownloadError(
            f"{needed / 1e9:.1f} GB are needed in {folder} and {free / 1e9:.1f} GB are free; make room, or "
            "choose another disk with --dir"
        )


def _ask(missing: Sequence[Source], folder: Path) -> tuple[dict[Source, Remote], LongLiveError | None]:
    """Sizes and checksums of the missing files, from their servers.

    A file that is not on the Hub, such as that of the light codec, does not keep others from being fetched:
    its error is returned, to be raised at the end.
    """
    refusal = _refusal(missing, folder)
    if refusal is not None:
        if any(isinstance(source, HubFile) for source in missing):
            raise refusal
        return {}, refusal
    found: dict[Source, Remote] = {}
    absent: LongLiveError | None = None
    for source in missing:
        try:
            found[source] = _ask_hub(source) if isinstance(source, HubFile) else _ask_web(source, folder)
        except DownloadError as error:
            if isinstance(source, HubFile):
                raise
            absent = error
    return found, absent


def _refusal(missing: Sequence[Source], folder: Path) -> LongLiveError | None:
    """The error if nothing at all can be downloaded, else None."""
    need = f"{folder} lacks {', '.join(source.path.as_posix() for source in missing)}"
    try:
        from huggingface_hub import constants
    except ImportError:
        return MissingExtraError.of(f"{need}, and downloading needs huggingface_hub", "hub")
    if constants.HF_HUB_OFFLINE:
        return DownloadError(
            f"{need}, and HF_HUB_OFFLINE forbids downloading; unset it, or copy what is missing there"
        )
    return None


def _ask_hub(source: HubFile) -> Remote:
    from huggingface_hub import errors as hub
    from huggingface_hub import get_hf_file_metadata, get_token, hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    endpoint = (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")
    token = get_token()
    url = hf_hub_url(source.repository, source.name, revision=source.revision, endpoint=endpoint)
    what = f"{source.repository} at {endpoint}"
    try:
        found = get_hf_file_metadata(url, token=token or False, timeout=TIMEOUT_S)
    except hub.GatedRepoError as error:
        raise DownloadError(
            f"{what} is gated; accept its terms on {endpoint}/{source.repository}, then log in with: "
            "hf auth login"
        ) from error
    except hub.RevisionNotFoundError as error:
        raise DownloadError(
            f"{what} has no revision {source.revision}; use another mirror in HF_ENDPOINT"
        ) from error
    except hub.EntryNotFoundError as error:
        raise DownloadError(f"{what} has no file {source.name}; use another HF_ENDPOINT") from error
    except hub.RepositoryNotFoundError as error:
        raise DownloadError(
            f"{what} is not there or not for you; log in with: hf auth login, or check HF_ENDPOINT"
        ) from error
    except http_errors() as error:
        raise DownloadError(_unreachable(endpoint, error)) from error
    if found.size is None or not found.etag:
        raise DownloadError(f"{url} has no size or checksum; {endpoint} is not a mirror of the Hub")
    return Remote(url, found.size, source.sha256 or found.etag, build_hf_headers(token=token or False))


def _ask_web(source: WebFile, folder: Path) -> Remote:
    from huggingface_hub.utils import get_session, hf_raise_for_status

    try:
        response = get_session().head(source.url, headers={"Accept-Encoding": "identity"}, timeout=TIMEOUT_S)
        hf_raise_for_status(response)
    except http_errors() as error:
        raise DownloadError(_brought(source, folder, _reason(error))) from error
    size = response.headers.get("Content-Length", "")
    if not size.isdecimal():
        raise DownloadError(_brought(source, folder, "its size is not told"))
    return Remote(source.url, int(size), source.sha256)


def _brought(source: WebFile, folder: Path, reason: str) -> str:
    return (
        f"{source.url} cannot be had ({reason}); all else is in {folder}: bring that file "
        f"from elsewhere to {folder / source.path}; the light codec alone needs it"
    )


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _unreachable(place: str, error: BaseException) -> str:
    return (
        f"{place} cannot be reached ({_reason(error)}); check the connection, set HF_ENDPOINT to a mirror, "
        "or copy the files from elsewhere and pass their folder with --dir"
    )
