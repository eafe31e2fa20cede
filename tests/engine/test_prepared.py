"""Prepared weights: made once, equal to their sources, made again when those change, never required."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from parity import DATA

from longlive_env.engine import prepared, published, world_places
from longlive_env.engine.weights import read_metadata, read_state
from longlive_env.engine.world import World


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LONGLIVE_HOME", str(tmp_path / "home"))
    return Path(shutil.copytree(DATA / "mini", tmp_path / "mini"))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which published models have been read."""
    seen: list[str] = []
    for name in ("load_transformer", "load_codec", "load_text_encoder"):
        original = getattr(published, name)
        monkeypatch.setattr(
            published, name, lambda *args, _f=original, _n=name: (seen.append(_n), _f(*args))[1]
        )
    return seen


def prepared_files() -> list[Path]:
    return sorted((world_places.worlds_home() / "prepared").rglob("*"))


def test_a_second_start_reads_prepared_files_alone(root: Path, reads: list[str]) -> None:
    first = World.load(root)
    assert reads == ["load_transformer", "load_codec"]
    names = [path.name for path in prepared_files() if path.is_file()]
    assert names == ["transformer-float32.safetensors", "wan-codec-float32.safetensors"]
    second = World.load(root)
    assert len(reads) == 2 and second.config == first.config
    for mine, theirs in ((first.transformer, second.transformer), (first.codec, second.codec)):
        assert mine.state_dict().keys() == theirs.state_dict().keys()
        assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in mine.state_dict().items())
        assert not theirs.training and not any(value.is_meta for value in theirs.buffers())
    config = replace(first.config, height=64, width=96)
    small = [World(config, world.transformer, world.codec) for world in (first, second)]
    text = torch.randn(1, 512, 40)
    assert torch.equal(*(world.start("", text=text).step() for world in small))  # the same bits


def test_prepared_weights_are_merged_and_cast(root: Path) -> None:
    World.load(root, dtype=torch.bfloat16)
    file = next(path for path in prepared_files() if path.name == "transformer-bfloat16.safetensors")
    state = read_state(file)
    merged = published.load_transformer(root, "cpu", torch.bfloat16).state_dict()
    assert all(torch.equal(value, merged[name]) for name, value in state.items())


def test_changed_sources_are_prepared_again(root: Path, reads: list[str]) -> None:
    World.load(root)
    os.utime(root / published.LORA_FILE, ns=(1, 1))
    World.load(root)
    assert reads == ["load_transformer", "load_codec", "load_transformer"]
    World.load(root, codec="light")
    assert reads[3:] == ["load_codec"]
    assert len([path for path in prepared_files() if path.is_file()]) == 3


def test_a_damaged_prepared_file_is_made_again(root: Path, reads: list[str]) -> None:
    World.load(root)
    for path in prepared_files():
        if path.is_file():
            path.write_bytes(path.read_bytes()[:100])
    World.load(root)
    assert reads == ["load_transformer", "load_codec"] * 2
    World.load(root)
    assert len(reads) == 4


def test_without_room_or_permission_the_world_loads_all_the_same(
    root: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
    World.load(root)
    assert "no prepared weights: 0.0 GB free" in caplog.text and not any(
        p.is_file() for p in prepared_files()
    )

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    World.load(root)
    assert "read-only file system" in caplog.text and len(reads) == 4


def test_a_disk_that_fills_up_costs_the_prepared_files_alone(
    root: Path, full_at: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    full_at(1 << 16)
    World.load(root)
    assert "no prepared weights in" in caplog.text
    assert not any(path.name.startswith("transformer") for path in prepared_files() if path.is_file())


def test_the_identity_sees_size_and_time(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"x")
    os.utime(file, ns=(5, 5))
    first = prepared.identity([file])
    assert prepared.identity([file]) == first
    file.write_bytes(b"xy")
    os.utime(file, ns=(5, 5))
    second = prepared.identity([file])
    os.utime(file, ns=(6, 6))
    assert len({first, second, prepared.identity([file])}) == 3


def test_the_header_tells_where_a_file_comes_from(root: Path) -> None:
    World.load(root)
    (file,) = [path for path in prepared_files() if path.name.startswith("transformer")]
    metadata = read_metadata(file)
    assert metadata["sources"] == prepared.identity(published.transformer_files(root))
    assert '"dim": 64' in metadata["config"]
