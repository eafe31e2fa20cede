"""What every test shares: a very small world, and the `gpu` marker, which skips visibly without CUDA."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from longlive_env.engine.config import PRESETS, PatchVAEConfig, TextEncoderConfig, TransformerConfig
from longlive_env.engine.tokenizer import Tokenizer, whole_word_tokenizer
from longlive_env.engine.world import World
from longlive_env.envs import window
from longlive_env.tiny.captions import vocabulary

settings.register_profile("untimed", deadline=None)  # a busy machine is no defect
settings.load_profile("untimed")

COMFORTABLE_HEIGHT = window.COMFORTABLE_HEIGHT  # as it is for users


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="needs a CUDA device")
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(skip)


@pytest.fixture(scope="session", autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests keep prepared weights, embeddings and the logs of Stable-Baselines3 in folders of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LONGLIVE_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("SB3_LOGDIR", str(tmp_path_factory.mktemp("sb3")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _enlarged_little() -> Iterator[None]:
    """Small pictures are enlarged to 64 rows: to encode a block of 384 rows takes the time of ten blocks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window, "COMFORTABLE_HEIGHT", 64)
        yield


@pytest.fixture
def enlarged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are enlarged as they are for users."""
    monkeypatch.setattr(window, "COMFORTABLE_HEIGHT", COMFORTABLE_HEIGHT)


@pytest.fixture
def full_at() -> Iterator[Callable[[int], None]]:
    """Lets no file grow beyond so many bytes, as a disk does that is full."""
    resource = pytest.importorskip("resource", reason="limits the size of files")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="session")
def small_world() -> World:
    """The tiny world's prompts and shape of time, with random weights and pictures of 32 x 48 pixels."""
    tokenizer = Tokenizer(whole_word_tokenizer(vocabulary()))
    pieces = len(tokenizer.spec["model"]["vocab"])
    config = replace(
        PRESETS["tiny"],
        height=32,
        width=48,
        transformer=TransformerConfig(
            dim=32, ffn_dim=48, heads=2, layers=2, in_channels=4, out_channels=4, text_dim=16, text_len=32
        ),
        text_encoder=TextEncoderConfig(vocab_size=pieces, dim=16, ffn_dim=16, heads=2, head_dim=8, layers=1),
        codec=PatchVAEConfig((16, 8), (1, 1), (16, 8), (1, 1), latent_channels=4),
    )
    world = World.from_config(config)
    world.tokenizer = tokenizer
    return world


@pytest.fixture(scope="session")
def small_world_folder(small_world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same world on disk."""
    folder = tmp_path_factory.mktemp("small_world")
    small_world.save(folder)
    return folder
