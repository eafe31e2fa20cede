"""Pictures and videos become frames that a world can go on from, and frames survive the disk."""

import re
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, features

from longlive_env.engine.config import PRESETS, WorldConfig
from longlive_env.errors import RecordingError
from longlive_env.frames import Frames
from longlive_env.recording import read_frames, write_frames

CONFIG = replace(PRESETS["tiny"], height=48, width=64)
NEWEST = CONFIG.context_frames * CONFIG.codec.temporal_factor


def noise(*shape: int) -> Frames:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def levels(frames: Frames) -> list[int]:
    """The number that each frame's grey level tells."""
    return [round(float(frame.mean()) / 4) for frame in frames]


def video(path: Path, config: WorldConfig, rate: int, count: int) -> None:
    """Frame `i` has the grey level `4 i`."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "1"})
        stream.height, stream.width, stream.pix_fmt = config.height, config.width, "yuv444p"
        for index in range(count):
            grey = np.full((config.height, config.width, 3), 4 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode())


@pytest.mark.parametrize("count", [1, 21])
def test_what_is_written_comes_back(tmp_path: Path, count: int) -> None:
    frames = noise(count, 48, 64, 3)
    frames[-1] = frames[0]  # equal pages are pages nevertheless
    write_frames(tmp_path / "a.tiff", frames)
    assert np.array_equal(read_frames(tmp_path / "a.tiff", CONFIG), frames)


def test_pictures_are_cut_to_the_shape_of_the_world(tmp_path: Path) -> None:
    wide = np.zeros((96, 384, 3), np.uint8)
    wide[:, 120:264] = 255  # the middle 128 columns are what is left of 384
    Image.fromarray(wide).convert("RGBA").save(tmp_path / "wide.png")
    found = read_frames(tmp_path / "wide.png", CONFIG)
    assert found.shape == (1, 48, 64, 3) and found.dtype == np.uint8 and found.min() == 255


def test_only_pages_that_move_are_frames(tmp_path: Path) -> None:
    first, preview = Image.new("RGB", (64, 48), (200, 0, 0)), Image.new("RGB", (64, 48), (9, 9, 9))
    first.save(tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=[preview])
    first.save(tmp_path / "scan.tiff", save_all=True, append_images=[preview.resize((8, 6))])
    for name in ("phone.jpg", "scan.tiff"):
        found = read_frames(tmp_path / name, CONFIG)
        assert found.shape[0] == 1 and found[..., 0].mean() > 190


def test_depths_and_transparency(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64).astype(np.uint16)
    Image.fromarray(np.tile(ramp, (48, 1))).save(tmp_path / "deep.png")
    found = read_frames(tmp_path / "deep.png", CONFIG)[0, 0, :, 0]
    assert np.array_equal(found, (ramp / 257).round().astype(np.uint8))
    Image.new("RGBA", (64, 48), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert read_frames(tmp_path / "clear.png", CONFIG).min() == 255
    Image.fromarray(np.zeros((48, 64), np.float32)).save(tmp_path / "floating.tiff")
    with pytest.raises(RecordingError, match="floating-point; save it with 8 bits a channel"):
        read_frames(tmp_path / "floating.tiff", CONFIG)


def test_videos_without_times(tmp_path: Path) -> None:
    video(tmp_path / "a.h264", CONFIG, rate=16, count=20)
    found = levels(read_frames(tmp_path / "a.h264", CONFIG))
    assert len(found) >= 10 and found[-1] == pytest.approx(19, abs=1)


def test_a_frame_whose_time_is_not_later_follows_the_one_before(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=CONFIG.fps)
        stream.height, stream.width, stream.pix_fmt = CONFIG.height, CONFIG.width, "gray"
        for index, time in enumerate((0, 1, 1, 3, 4)):
            grey = np.full((CONFIG.height, CONFIG.width), 4 * index, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(grey, format="gray")):
                packet.pts = packet.dts = time
                container.mux(packet)
    assert levels(read_frames(tmp_path / "a.mkv", CONFIG)) == [0, 1, 2, 3, 4]


def test_names_with_a_colon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video(tmp_path / "a.mp4", CONFIG, rate=16, count=4)
    (tmp_path / "a.mp4").rename(tmp_path / "b:c.mp4")
    monkeypatch.chdir(tmp_path)
    assert len(read_frames(Path("b:c.mp4"), CONFIG)) == 4


def test_pictures_stand_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: the right column is the bottom row
    turned = np.zeros((64, 48, 3), np.uint8)
    turned[:, 24:] = 255
    Image.fromarray(turned).save(tmp_path / "turned.png", exif=exif)
    found = read_frames(tmp_path / "turned.png", CONFIG)[0]
    assert found[:23].max() == 0 and found[25:].min() == 255


@pytest.mark.parametrize(
    ("rate", "shown"),
    [(16, list(range(20))), (32, [*range(0, 20, 2)]), (8, [i for i in range(20) for _ in range(2)])],
)
def test_videos_play_at_the_rate_of_the_world(tmp_path: Path, rate: int, shown: list[int]) -> None:
    video(tmp_path / "a.mp4", CONFIG, rate, count=20)
    found = levels(read_frames(tmp_path / "a.mp4", CONFIG))
    assert np.allclose(found, shown, atol=1) and len(found) == len(shown)


def test_the_newest_frames_are_taken(tmp_path: Path) -> None:
    video(tmp_path / "a.mp4", CONFIG, rate=16, count=NEWEST + 8)
    found = levels(read_frames(tmp_path / "a.mp4", CONFIG))
    assert len(found) == NEWEST and found[0] == pytest.approx(8, abs=1)


def test_pictures_that_move_keep_their_time(tmp_path: Path) -> None:
    pages = [Image.fromarray(np.full((48, 64, 3), level, np.uint8)) for level in (0, 120, 240)]
    pages[0].save(tmp_path / "a.gif", save_all=True, append_images=pages[1:], duration=250)
    found = read_frames(tmp_path / "a.gif", CONFIG)
    assert np.allclose(found.mean(axis=(1, 2, 3)), [0] * 4 + [120] * 4 + [240] * 4, atol=4)


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.avif"])
def test_a_picture_that_stands_still_is_one_frame(tmp_path: Path, name: str) -> None:
    if name == "a.avif" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    Image.new("RGB", (64, 48), (200, 0, 0)).save(tmp_path / name, duration=1000)
    assert read_frames(tmp_path / name, CONFIG).shape == (1, 48, 64, 3)


def test_files_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("no picture")
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00")
    Image.new("RGB", (64, 48)).save(tmp_path / "cut.gif")
    (tmp_path / "cut.gif").write_bytes((tmp_path / "cut.gif").read_bytes()[:20])
    for name in ("a.txt", "cut.png", "cut.gif", "missing.png", "."):
        file = tmp_path / name
        with pytest.raises(
            RecordingError, match=f"cannot read frames from {re.escape(str(file))}: .*expected"
        ):
            read_frames(file, CONFIG)
