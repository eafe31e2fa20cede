"""Downloads from a hub-compatible server: complete, resumed, checked, refused; and one's own weights."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("huggingface_hub")
sys.path.insert(0, str(Path(__file__).parent))  # for the server beside this file

from hub_server import REVISION, HubServer, digest, running

from longlive_env.cli import main
from longlive_env.engine import published, world_files, world_places
from longlive_env.errors import ConfigError, DownloadError, LongLiveError, WeightsError
from longlive_env.hub import SOURCES, HubFile, Source, WebFile, download, transfer

MINI = Path(__file__).parents[1] / "data" / "parity" / "mini"
WAN, LONGLIVE = "Wan-AI/Wan2.1-T2V-1.3B", "Efficient-Large-Model/LongLive-1.3B"
LARGE = published.GENERATOR_FILE
SMALL = published.TRANSFORMER_CONFIG_FILE


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LONGLIVE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return tmp_path / "home"


@pytest.fixture
def server(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """Serves two files: a large one, which lies in the content store, and a small one in git."""
    with running() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.files = {
            f"{LONGLIVE}/models/longlive_base.pt": random.Random(0).randbytes(5 << 20),
            f"{WAN}/config.json": b"{}",
        }
        yield hub


@pytest.fixture
def sources(server: HubServer) -> tuple[Source, ...]:
    content = server.files[f"{LONGLIVE}/models/longlive_base.pt"]
    return (
        HubFile(SMALL, WAN, REVISION, "config.json"),
        HubFile(LARGE, LONGLIVE, REVISION, "models/longlive_base.pt", digest(content)),
    )


class Counter:
    def __init__(self) -> None:
        self.phases: list[list] = []

    def __call__(self, what: str, total_bytes: int) -> Callable[[int], None]:
        self.phases.append([what, total_bytes, 0])
        return self.advance

    def advance(self, count: int) -> None:
        self.phases[-1][2] += count


def content(server: HubServer) -> bytes:
    return server.files[f"{LONGLIVE}/models/longlive_base.pt"]


def test_what_is_missing_is_downloaded_once(
    server: HubServer, sources: tuple[Source, ...], home: Path
) -> None:
    progress = Counter()
    folder = download("1.3b", sources=sources, progress=progress)
    assert folder == home / "1.3b" == world_places.find("1.3b")
    assert (folder / LARGE).read_bytes() == content(server) and (folder / SMALL).read_bytes() == b"{}"
    assert progress.phases == [["downloading", (5 << 20) + 2, (5 << 20) + 2]]
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == [
        "config.json",
        "longlive_base.pt",
    ]
    seen = len(server.requests)
    assert download("1.3b", sources=sources, progress=progress) == folder
    assert len(server.requests) == seen and len(progress.phases) == 1  # neither asked for nor hashed again


@pytest.mark.parametrize("ranges", [True, False])
def test_a_cut_connection_is_gone_on_with(
    server: HubServer, sources: tuple[Source, ...], ranges: bool
) -> None:
    server.cuts, server.ranges = [2 << 20, 1 << 20, 0], ranges
    progress = Counter()
    folder = download("1.3b", sources=sources[1:], progress=progress, pause_s=0)
    assert (folder / LARGE).read_bytes() == content(server)
    spans = [span for _, span in server.bodies()]
    assert spans[0] is None and len(spans) > 1 and all(span and span != "bytes=0-" for span in spans[1:])
    assert progress.phases[0][1] == progress.phases[0][2]


KILLED = """
import os, sys
from pathlib import Path
from longlive_env.hub import HubFile, download

done = 0
def advance(count):
    global done
    done += count
    if done >= 3 << 20:
        os._exit(9)

def progress(what, total_bytes):
    return advance

path, repository, revision, name, sha256 = sys.argv[1:]
download("1.3b", sources=[HubFile(Path(path), repository, revision, name, sha256)], progress=progress)
"""


def test_a_killed_process_is_gone_on_with(server: HubServer, sources: tuple[Source, ...], home: Path) -> None:
    one = sources[1]
    assert isinstance(one, HubFile) and one.sha256
    arguments = [str(one.path), one.repository, one.revision, one.name, one.sha256]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], timeout=120)
    assert done.returncode == 9
    (part,) = (home / "1.3b").rglob("*.part")
    size = part.stat().st_size
    assert 2 << 20 <= size < 5 << 20 and not (home / "1.3b" / LARGE).exists()
    folder = download("1.3b", sources=sources[1:])
    assert (folder / LARGE).read_bytes() == content(server)
    assert server.bodies()[-1][1] == f"bytes={size}-" and not part.exists()


def test_a_server_that_never_delivers_is_given_up_and_nothing_is_lost(
    server: HubServer, sources: tuple[Source, ...], home: Path
) -> None:
    server.cuts = [2 << 20] + [0] * 20
    with pytest.raises(DownloadError, match=r"breaks off at \d+ of 5242880 bytes .*run the command again"):
        download("1.3b", sources=sources[1:], pause_s=0)
    assert len(server.bodies()) == 1 + transfer.ATTEMPTS
    (part,) = (home / "1.3b").rglob("*.part")
    assert 1 << 20 <= part.stat().st_size <= 2 << 20


def test_what_a_full_disk_took_of_a_chunk_is_not_kept(
    server: HubServer,
    sources: tuple[Source, ...],
    full_at: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    full_at(5 << 19)
    reasons = []

    def room_is_made(remote: transfer.Remote, have: int, failures: int, reason: str, pause_s: float) -> None:
        reasons.append((have, reason))
        full_at(1 << 30)

    monkeypatch.setattr(transfer, "_wait", room_is_made)
    folder = download("1.3b", sources=sources[1:], pause_s=0)
    assert (folder / LARGE).read_bytes() == content(server)
    assert [have for have, _ in reasons] == [2 << 20] and "too large" in reasons[0][1]


class Meddler(Counter):
    """Does something to the file that is on its way, once."""

    def __init__(self, meddle: Callable[[], object]) -> None:
        super().__init__()
        self.meddle: Callable[[], object] | None = meddle

    def advance(self, count: int) -> None:
        super().advance(count)
        if count and self.meddle is not None:
            meddle, self.meddle = self.meddle, None
            meddle()


def test_two_downloads_at_once_do_not_share_a_file(server: HubServer, sources: tuple[Source, ...]) -> None:
    pytest.importorskip("fcntl")

    def second() -> None:
        with pytest.raises(DownloadError, match=r"another download of .*longlive_base\.pt is running; wait"):
            download("1.3b", sources=sources[1:])

    meddler = Meddler(second)
    folder = download("1.3b", sources=sources[1:], progress=meddler)
    assert meddler.meddle is None and (folder / LARGE).read_bytes() == content(server)


@pytest.mark.parametrize("third", [False, True])
def test_a_download_that_ended_while_another_began_is_left_alone(
    server: HubServer, sources: tuple[Source, ...], home: Path, monkeypatch: pytest.MonkeyPatch, third: bool
) -> None:
    fcntl = pytest.importorskip("fcntl")
    flock, folders = fcntl.flock, []

    def slow_flock(*args: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        (part,) = (home / "1.3b").rglob("*.part")
        folders.append(download("1.3b", sources=sources[1:]))  # all of it, between opening and locking
        if third:
            part.touch()  # by another one that has just begun
        flock(*args)

    monkeypatch.setattr(fcntl, "flock", slow_flock)
    with pytest.raises(DownloadError, match=r"another download of .* has just ended; run the command"):
        download("1.3b", sources=sources[1:])
    assert (folders[0] / LARGE).read_bytes() == content(server)
    assert len([path for path in folders[0].rglob("*") if path.is_file()]) == 1 + third


@pytest.mark.parametrize("absent", [True, False])
def test_a_file_that_cannot_be_locked_is_downloaded_all_the_same(
    server: HubServer,
    sources: tuple[Source, ...],
    absent: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no locks available")

    if absent:
        monkeypatch.setattr(transfer, "fcntl", None)
    else:
        monkeypatch.setattr(pytest.importorskip("fcntl"), "flock", refuse)
    folder = download("1.3b", sources=sources[1:])
    assert (folder / LARGE).read_bytes() == content(server)
    assert absent or "cannot be locked (no locks available)" in caplog.text


def test_a_file_that_grew_by_other_hands_is_not_installed(
    server: HubServer, sources: tuple[Source, ...], home: Path
) -> None:
    def grow() -> None:
        (part,) = (home / "1.3b").rglob("*.part")
        with part.open("ab") as file:
            file.write(b"what another process wrote")

    with pytest.raises(DownloadError, match=r"as 5242906 bytes .*expected 5242880 bytes .*it was removed"):
        download("1.3b", sources=sources[1:], progress=Meddler(grow))
    assert not [path for path in (home / "1.3b").rglob("*") if path.is_file()]


@pytest.mark.parametrize("file", [LARGE, SMALL])
def test_a_wrong_checksum_never_becomes_a_file(
    server: HubServer, sources: tuple[Source, ...], home: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = transfer._stream
    monkeypatch.setattr(
        transfer, "_stream", lambda *args: (chunk.replace(chunk[:1], b"?") for chunk in stream(*args))
    )
    with pytest.raises(DownloadError, match=r"checksum .*it was removed"):
        download("1.3b", sources=[source for source in sources if source.path == file])
    assert not [path for path in (home / "1.3b").rglob("*") if path.is_file()]


def test_the_disk_is_checked_before_the_first_byte(
    server: HubServer, sources: tuple[Source, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10**9))
    with pytest.raises(DownloadError, match=r"1\.1 GB are needed in .* and 1\.0 GB are free; .*--dir"):
        download("1.3b", sources=sources)
    assert not server.bodies()


def test_a_drive_that_is_absent_is_told(
    server: HubServer, sources: tuple[Source, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "is_dir", lambda path: False)  # as with a drive Q: that is not there
    with pytest.raises(DownloadError, match=r"^/ of /weights is no drive here; choose .* with --dir$"):
        download("1.3b", Path("/weights"), sources=sources)
    assert not server.bodies()


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (403, "GatedRepo", "is gated; accept its terms on .*LongLive-1.3B, then log in"),
        (401, "RepoNotFound", "is not there or not for you; log in"),
        (500, "", "cannot be reached"),
    ],
)
def test_refusals_say_what_to_do(
    server: HubServer, sources: tuple[Source, ...], status: int, code: str, message: str
) -> None:
    server.errors[LONGLIVE] = (status, code)
    with pytest.raises(DownloadError, match=message):
        download("1.3b", sources=sources)


def test_what_a_mirror_lacks_is_named(server: HubServer, sources: tuple[Source, ...]) -> None:
    with pytest.raises(DownloadError, match=r"has no file models/other\.pt"):
        download("1.3b", sources=[HubFile(LARGE, LONGLIVE, REVISION, "models/other.pt")])
    with pytest.raises(DownloadError, match="has no revision fff"):
        download("1.3b", sources=[HubFile(LARGE, LONGLIVE, "fff", "models/longlive_base.pt")])


def test_without_a_connection(
    home: Path, sources: tuple[Source, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1:9 cannot be reached .*--dir"):
        download("1.3b", sources=sources)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError, match=r"lacks .*config\.json, .*longlive_base\.pt, and HF_HUB_OFFLINE"):
        download("1.3b", sources=sources)


def test_a_token_goes_to_the_hub_and_not_to_the_store(
    server: HubServer, sources: tuple[Source, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    download("1.3b", sources=sources[1:])
    tokens = {path.startswith("/store/"): token for _, path, _, token in server.requests}
    assert tokens == {False: "Bearer hf_secret", True: None}


def test_files_with_an_address_of_their_own(server: HubServer, home: Path) -> None:
    data = content(server)
    light = WebFile(published.LIGHT_VAE_FILE, f"{server.url}/store/{digest(data)}", digest(data))
    server.cuts = [1 << 20]
    folder = download("1.3b", sources=[light], pause_s=0)
    assert (folder / light.path).read_bytes() == data


def test_a_file_that_lies_elsewhere_keeps_no_other_from_coming(
    server: HubServer, sources: tuple[Source, ...], home: Path
) -> None:
    elsewhere = WebFile(published.LIGHT_VAE_FILE, "http://127.0.0.1:9/light.pth", "0" * 64)
    with pytest.raises(DownloadError, match=r"9/light\.pth cannot be had .*bring that file from elsewhere"):
        download("1.3b", sources=[elsewhere, *sources])
    folder = world_places.downloaded("1.3b")
    assert all(published.locate(folder, source.path) for source in sources)


@pytest.mark.parametrize("why", ["unreachable", "offline", "no hub"])
def test_people_without_the_light_codec_keep_their_weights_name(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    root, progress = checkout(tmp_path), Counter()
    (root / "taew2_1.pth").unlink()
    light = WebFile(published.LIGHT_VAE_FILE, "http://127.0.0.1:9/light.pth", "0" * 64)
    sources = [light, *(source for source in mini_sources() if source.path != light.path)]
    if why == "offline":
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    if why == "no hub":
        monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for _ in range(2):
        with pytest.raises(LongLiveError, match=r"light codec alone|lacks taew2_1/taew2_1\.pth, and"):
            download("1.3b", root, sources=sources, progress=progress)
        assert world_places.find("1.3b") == root
    assert [phase for phase, *_ in progress.phases].count("verifying") == 1
    assert world_files.load("1.3b").config.codec.kind == "wan_vae"


def test_what_was_verified_stays_so_when_a_download_ends_early(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, progress = checkout(tmp_path), Counter()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    (root / "longlive_models" / "models" / "lora.pt").unlink()
    for _ in range(2):
        with pytest.raises(DownloadError, match="cannot be reached"):
            download("1.3b", root, sources=mini_sources(), progress=progress)
    assert [phase for phase, *_ in progress.phases] == ["verifying"]


def test_what_was_downloaded_is_not_verified_again_when_a_later_file_breaks_off(
    server: HubServer, sources: tuple[Source, ...]
) -> None:
    server.cuts, progress = [5 << 20, *[0] * 9], Counter()
    with pytest.raises(DownloadError, match="breaks off at 0 of 2 bytes"):
        download("1.3b", sources=sources[::-1], progress=progress, pause_s=0)
    server.cuts = []
    download("1.3b", sources=sources[::-1], progress=progress)
    assert [phase for phase, *_ in progress.phases] == ["downloading"] * 2


def test_a_name_stays_with_its_folder_until_another_one_is_whole(
    server: HubServer, sources: tuple[Source, ...], tmp_path: Path
) -> None:
    folder = download("1.3b", sources=sources)
    server.cuts = [5 << 20, *[0] * 9]
    with pytest.raises(DownloadError, match="breaks off at 0 of 2 bytes"):
        download("1.3b", tmp_path / "other", sources=sources[::-1], pause_s=0)
    assert world_places.find("1.3b") == folder
    server.cuts = []
    download("1.3b", tmp_path / "other", sources=sources[::-1])
    assert world_places.find("1.3b") == tmp_path / "other"


def test_a_home_that_cannot_be_written_costs_the_name_alone(
    sources: tuple[Source, ...], home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home.parent.mkdir(parents=True, exist_ok=True)
    home.write_text("a file", encoding="utf-8")
    folder = download("1.3b", tmp_path / "weights", sources=sources)
    assert "load the weights by path" in caplog.text
    assert all(published.locate(folder, source.path) for source in sources)


def checkout(tmp_path: Path) -> Path:
    """The published files as a LongLive checkout has them."""
    root = tmp_path / "LongLive"
    shutil.copytree(MINI / "Wan2.1-T2V-1.3B", root / "wan_models" / "Wan2.1-T2V-1.3B")
    shutil.copytree(MINI / "LongLive-1.3B", root / "longlive_models")
    shutil.copy(MINI / "taew2_1" / "taew2_1.pth", root)
    return root


def mini_sources() -> list[Source]:
    found = []
    for source in SOURCES["1.3b"]:
        sha256 = digest((MINI / source.path).read_bytes())
        found.append(HubFile(source.path, WAN, REVISION, source.path.name, sha256))
    return found


def test_weights_that_people_have_are_found_verified_and_remembered(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, progress = checkout(tmp_path), Counter()
    before = sorted(root.rglob("*"))
    assert download("1.3b", root, sources=mini_sources(), progress=progress) == root
    assert sorted(root.rglob("*")) == before
    assert [phase for phase, *_ in progress.phases] == ["verifying"] and progress.phases[0][
        1
    ] == progress.phases[0][2]
    assert world_places.find("1.3b") == root
    assert world_files.load("1.3b", codec="light").config.transformer.dim == 64
    download(
        "1.3b", sources=mini_sources(), progress=progress
    )  # remembered: where they are and that they are right
    assert len(progress.phases) == 1
    os.utime(root / "taew2_1.pth", ns=(1, 1))
    download("1.3b", sources=mini_sources(), progress=progress)
    assert len(progress.phases) == 2


def test_a_file_of_theirs_that_is_another_one_is_never_touched(home: Path, tmp_path: Path) -> None:
    root = checkout(tmp_path)
    file = root / "longlive_models" / "models" / "lora.pt"
    file.write_bytes(b"mine")
    with pytest.raises(DownloadError, match=r"lora\.pt \(4 bytes\) has checksum .*delete it .*or keep it"):
        download("1.3b", root, sources=mini_sources())
    assert file.read_bytes() == b"mine"


def test_a_folder_that_moved_away_is_named(home: Path, tmp_path: Path) -> None:
    root = checkout(tmp_path)
    download("1.3b", root, sources=mini_sources())
    root.rename(tmp_path / "elsewhere")
    with pytest.raises(WeightsError, match=rf"is not in {root}; .*longlive download 1.3b"):
        world_places.find("1.3b")


def test_what_is_pinned_is_what_loading_needs(tmp_path: Path) -> None:
    pinned = {source.path for source in SOURCES["1.3b"]}
    assert pinned == {
        published.TRANSFORMER_CONFIG_FILE, published.TOKENIZER_FILE, published.WAN_VAE_FILE,
        published.LORA_FILE, published.GENERATOR_FILE, published.TEXT_ENCODER_FILE, published.LIGHT_VAE_FILE,
    }  # fmt: skip
    for source in SOURCES["1.3b"]:
        assert source.sha256 is None or len(source.sha256) == 64
        assert isinstance(source, WebFile) or len(source.revision) == 40
    with pytest.raises(ConfigError, match=r"no weights are published for 'tiny'; published: 1\.3b"):
        download("tiny")


def test_the_command(
    server: HubServer,
    sources: tuple[Source, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(SOURCES, "1.3b", sources)
    assert main(["download", "1.3b", "--dir", str(tmp_path / "weights")]) == 0
    assert f"complete and verified in {tmp_path / 'weights'}" in capsys.readouterr().out
    server.errors[LONGLIVE] = (403, "GatedRepo")
    assert main(["download", "1.3b", "--dir", str(tmp_path / "other")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("longlive download: error: ") and error.count("\n") == 1
