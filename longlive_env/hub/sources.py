"""The files of each published world, pinned: repository, revision and checksum.

A revision is a commit, so what it names never changes; the checksums hold whatever server delivers the files.
Weights are pinned to the newest commits at the time this list was written. Moving a pin means changing it
here, where a review sees it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from longlive_env.engine import published

WAN_REPOSITORY = "Wan-AI/Wan2.1-T2V-1.3B"
WAN_REVISION = "37ec512624d61f7aa208f7ea8140a131f93afc9a"
LONGLIVE_REPOSITORY = "Efficient-Large-Model/LongLive-1.3B"
LONGLIVE_REVISION = "cda9138d93872ef109d9a74c270184eb3a5acc6e"
TAEHV_REVISION = "011dfc2112197741c540e0bdd5b7b67bcc930771"


@dataclass(frozen=True)
class HubFile:
    """A file of a repository on the Hugging Face Hub.

    Attributes:
        path: path below a world's folder, in our layout.
        repository: `owner/name`.
        revision: commit of the repository.
        name: name of the file in the repository.
        sha256: checksum of the content; None for small files, whose commit vouches for them.
    """

    path: Path
    repository: str
    revision: str
    name: str
    sha256: str | None = None


@dataclass(frozen=True)
class WebFile:
    """A file at an address of its own; `path` and `sha256` are as in `HubFile`."""

    path: Path
    url: str
    sha256: str


Source = HubFile | WebFile


def _wan(path: Path, sha256: str | None = None) -> HubFile:
    name = path.relative_to(published.WAN_FOLDER).as_posix()
    return HubFile(path, WAN_REPOSITORY, WAN_REVISION, name, sha256)


def _longlive(path: Path, sha256: str) -> HubFile:
    return HubFile(path, LONGLIVE_REPOSITORY, LONGLIVE_REVISION, Path(*path.parts[1:]).as_posix(), sha256)


# Wan's own generator (5.7 GB) is not among them: LongLive's takes its place.
SOURCES: dict[str, tuple[Source, ...]] = {
    "1.3b": (
        _wan(published.TRANSFORMER_CONFIG_FILE),
        _wan(
            published.TOKENIZER_FILE,
            "6e197b4d3dbd71da14b4eb255f4fa91c9c1f2068b20a2de2472967ca3d22602b",
        ),
        _wan(
            published.WAN_VAE_FILE,
            "38071ab59bd94681c686fa51d75a1968f64e470262043be31f7a094e442fd981",
        ),
        _longlive(
            published.LORA_FILE,
            "c4e43b87d62d4b0614b496773639f1ab170a7ee486dc23407901e9d3a5ebc07a",
        ),
        _longlive(
            published.GENERATOR_FILE,
            "10a2aa8fcf89c77d9033f4c117405412a690e289625766619d293f0c5a208ee7",
        ),
        _wan(
            published.TEXT_ENCODER_FILE,
            "7cace0da2b446bbbbc57d031ab6cf163a3d59b366da94e5afe36745b746fd81d",
        ),
        WebFile(
            published.LIGHT_VAE_FILE,
            f"https://raw.githubusercontent.com/madebyollin/taehv/{TAEHV_REVISION}/taew2_1.pth",
            "d26151e76cdc2c9424bef988de874b33d9a53f30ef3060cd556c429c469c797e",
        ),
    ),
}
