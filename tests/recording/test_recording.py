"""Recordings: every frame in the mp4, logs that survive being cut, contact sheets."""

import contextlib
import dataclasses
import errno
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from longlive_env.errors import RecordingError
from longlive_env.frames import Frames
from longlive_env.recording import (
    ContactSheet,
    LogBlock,
    LogHeader,
    LogWriter,
    Recording,
    VideoWriter,
    digest,
    read_log,
)
from longlive_env.recording.sheet import COLUMNS, KEPT, ROWS
from longlive_env.recording.video import ENCODER_OPTIONS

HEIGHT, WIDTH, FPS = 32, 48, 16
HEADER = LogHeader("walk", "tiny", 7, "full", HEIGHT, WIDTH, FPS, "cpu", 1, {"torch": "2"})
HEADER_LINE = json.dumps({"format": "longlive-log", "version": 1, **dataclasses.asdict(HEADER)})
BLOCK_LINE = json.dumps(dataclasses.asdict(LogBlock(0, "a cat", 12, 0.5, "ab", {}, [])))


def frames_from(first: int, count: int) -> Frames:
    """Frames whose grey level tells their index."""
    levels = (np.arange(first, first + count) * 6 + 10).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, HEIGHT, WIDTH, 3)).copy()


def pictures(path: Path) -> Iterator[av.VideoFrame]:
    """What a player shows, which stops where the file is cut."""
    with av.open(str(path)) as container, contextlib.suppress(av.error.InvalidDataError):
        yield from container.decode(video=0)


def indices(path: Path) -> list[int]:
    """Which of those frames an mp4 shows, after checking that they are shown at the right times."""
    shown = list(pictures(path))
    assert [picture.time for picture in shown] == [i / FPS for i in range(len(shown))]
    return [round((float(picture.to_ndarray(format="rgb24").mean()) - 10) / 6) for picture in shown]


def test_every_frame_at_its_time(tmp_path: Path) -> None:
    video = VideoWriter(tmp_path / "video.mp4", HEIGHT, WIDTH, FPS)
    for first, count in ((0, 9), (9, 12), (21, 12)):
        video.add(frames_from(first, count))
        assert indices(video.path) == list(range(first + count))  # playable at any moment
    video.close()
    video.close()
    assert video.frames == 33
    assert indices(video.path) == list(range(33))
    with av.open(str(video.path)) as container:
        assert container.streams.video[0].frames == 33  # a plain mp4 knows its length, fragments do not
        assert container.streams.video[0].average_rate == FPS
    assert [file.name for file in tmp_path.iterdir()] == ["video.mp4"]


def test_a_video_that_was_cut_anywhere_plays_all_whole_blocks(tmp_path: Path) -> None:
    video = VideoWriter(tmp_path / "video.mp4", HEIGHT, WIDTH, FPS)
    sizes = []
    for first, count in ((0, 9), (9, 12), (21, 12)):
        video.add(frames_from(first, count))
        sizes.append(video.path.stat().st_size)
    data = video.path.read_bytes()
    for cut in (sizes[1], sizes[1] + 5, sizes[1] + 60, sizes[2] - 1):
        (tmp_path / "cut.mp4").write_bytes(data[:cut])
        assert indices(tmp_path / "cut.mp4")[:21] == list(range(21))


def test_enlarged_videos_keep_their_colours(tmp_path: Path) -> None:
    video = VideoWriter(tmp_path / "video.mp4", HEIGHT, WIDTH, FPS, scale=4)
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    frame[:, ::2] = (230, 20, 30)  # at scale 1 the encoder would halve the resolution of colours
    video.add(frame[None])
    video.close()
    (picture,) = [picture.to_ndarray(format="rgb24") for picture in pictures(video.path)]
    assert picture.shape == (4 * HEIGHT, 4 * WIDTH, 3)
    assert np.abs(picture[2::4, 2::4].astype(int) - frame).mean() < 12


class FullDisk:
    """A file that takes some bytes more and then none."""

    def __init__(self, file: Any, room: int) -> None:
        self._file, self._room = file, room

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: memoryview) -> int:
        if not self._room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._file.write(data[: self._room])
        self._room -= written
        return int(written)


def test_a_full_disk_leaves_no_part_of_a_fragment(tmp_path: Path) -> None:
    video = VideoWriter(tmp_path / "video.mp4", HEIGHT, WIDTH, FPS)
    video.add(frames_from(0, 9))
    size = video.path.stat().st_size
    file, video._file = video._file, FullDisk(video._file, 600)  # type: ignore[assignment]
    with pytest.raises(OSError, match="No space left"):
        video.add(frames_from(9, 12))
    assert video.path.stat().st_size == size and video.frames == 9
    video._file = file  # there is room again
    video.add(frames_from(9, 12))
    video.close()
    with av.open(str(video.path)) as container:
        assert len(list(container.decode(video=0))) == 21


def test_a_disk_without_room_for_a_plain_mp4_keeps_the_fragments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(path: Path, plain: Path) -> None:
        plain.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("longlive_env.recording.video._copy_plain", no_room)
    video = VideoWriter(tmp_path / "video.mp4", HEIGHT, WIDTH, FPS)
    video.add(frames_from(0, 9))
    with pytest.raises(OSError, match="No space left"):
        video.close()
    assert indices(video.path) == list(range(9)) and list(tmp_path.iterdir()) == [video.path]


def test_impossible_videos(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="47x32 at scale 1 cannot be encoded"):
        VideoWriter(tmp_path / "video.mp4", 32, 47, FPS)
    with pytest.raises(RecordingError, match="at scale 0"):
        VideoWriter(tmp_path / "video.mp4", 32, 48, FPS, 0)
    video = VideoWriter(tmp_path / "video.mp4", HEIGHT, WIDTH, FPS)
    for wrong in (
        frames_from(0, 2)[0],
        frames_from(0, 2) / 255,
        frames_from(0, 0),
        frames_from(0, 2)[:, :-2],
    ):
        with pytest.raises(RecordingError, match=r"expected uint8 \[T, 32, 48, 3\]"):
            video.add(wrong)
    video.close()


def test_an_encoder_that_fails_is_told_and_the_video_keeps_what_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Recording(tmp_path, HEADER) as recording:
        recording.add(frames_from(0, 9), "a cat")
        monkeypatch.setitem(ENCODER_OPTIONS, "preset", "nonsense")
        with pytest.raises(RecordingError, match=r"^the video cannot be encoded: .*Invalid argument"):
            recording.add(frames_from(9, 12), "a cat")
    log = read_log(tmp_path / "actions.jsonl")
    assert len(log.blocks) == 1 and not log.complete and (tmp_path / "video.srt").exists()
    assert indices(tmp_path / "video.mp4") == list(range(9))


def test_a_video_that_ffmpeg_cannot_finish_keeps_the_fragments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path, plain: Path) -> None:
        raise av.error.ExternalError(542398533, "Generic error in an external library")

    recording = Recording(tmp_path, HEADER)
    recording.add(frames_from(0, 9), "a cat")
    with monkeypatch.context() as patch:
        patch.setattr("longlive_env.recording.video._copy_plain", broken)
        with pytest.raises(RecordingError, match=r"stays in fragments: .*Generic error"):
            recording.close()
    assert indices(tmp_path / "video.mp4") == list(range(9)) and (tmp_path / "sheet.png").exists()
    record(tmp_path)  # the folder is free again


def test_an_ffmpeg_without_the_encoder_costs_no_earlier_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.glob("*.*")}
    monkeypatch.setattr("longlive_env.recording.video.ENCODER", "libx264-left-out")
    with pytest.raises(RecordingError, match="has no encoder libx264-left-out; install PyAV from PyPI"):
        Recording(tmp_path, HEADER)
    assert {file.name: file.read_bytes() for file in tmp_path.glob("*.*")} == before
    with pytest.raises(RecordingError, match="has no encoder"):
        VideoWriter(tmp_path / "video.mp4", HEIGHT, WIDTH, FPS)


@pytest.mark.parametrize("name", ["video.mp4", "actions.jsonl"])
@pytest.mark.parametrize("begun", [False, True])
def test_a_file_that_cannot_be_replaced_costs_no_earlier_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, begun: bool
) -> None:
    """Read-only, or open in another program where that matters; modes mean nothing to root."""
    record(tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.glob("*.*")}
    assert len(before) == 4
    opened = Path.open

    def guarded(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if path == tmp_path / name and mode not in ("r", "rb"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, mode, *args, **kwargs)

    recording = Recording(tmp_path, HEADER) if begun else None
    monkeypatch.setattr(Path, "open", guarded)
    with pytest.raises(RecordingError, match=rf"{name} of an earlier run .*Permission denied\); close it"):
        if recording is None:
            Recording(tmp_path, HEADER)
        else:
            recording.add(frames_from(0, 9), "a cat")
    if recording is not None:
        recording.close()
    assert {file.name: file.read_bytes() for file in tmp_path.glob("*.*")} == before
    monkeypatch.undo()
    record(tmp_path)  # the folder is free again


def write_log(path: Path, blocks: int) -> list[LogBlock]:
    log = LogWriter(path, HEADER)
    written = [LogBlock(i, f"prompt {i} – 猫", 12, i * 0.75, "ab") for i in range(blocks)]
    for block in written:
        log.add(block)
        assert list(read_log(path).blocks) == written[: block.block + 1]  # on disk at once
    return written


def test_logs_come_back(tmp_path: Path) -> None:
    path = tmp_path / "actions.jsonl"
    log = LogWriter(path, HEADER)
    block = LogBlock(0, "a cat", 9, 9 / 16, digest(frames_from(0, 9)))
    log.add(block)
    assert not read_log(path).complete
    log.close(complete=True)
    log.close(complete=False)
    read = read_log(path)
    assert (read.header, read.blocks, read.complete) == (HEADER, (block,), True)


def test_a_log_can_be_described_anew(tmp_path: Path) -> None:
    path, other = tmp_path / "actions.jsonl", dataclasses.replace(HEADER, recache="none")
    blocks = tuple(LogBlock(i, "a cat – 猫", 12, i * 0.75, "ab") for i in range(3))
    log = LogWriter(path, HEADER)
    for block in blocks[:2]:
        log.add(block)
    log.replace_header(other)
    log.add(blocks[2])
    log.close(complete=True)
    read = read_log(path)
    assert (read.header, read.blocks, read.complete) == (other, blocks, True)
    assert [file.name for file in tmp_path.iterdir()] == ["actions.jsonl"]


def test_a_log_that_cannot_be_described_anew_is_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(path: Path, *args: Any, **kwargs: Any) -> None:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    log = LogWriter(tmp_path / "actions.jsonl", HEADER)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", no_room)
        with pytest.raises(OSError, match="No space left"):
            log.replace_header(dataclasses.replace(HEADER, recache="none"))
    log.close(complete=True)
    assert read_log(tmp_path / "actions.jsonl").header == HEADER == read_log(tmp_path).header
    assert [file.name for file in tmp_path.iterdir()] == ["actions.jsonl"]


def test_a_log_goes_on_where_it_could_not_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_use(*paths: Path) -> None:
        raise PermissionError(errno.EACCES, "in use")

    blocks = tuple(LogBlock(i, "a cat", 12, i * 0.75, "ab") for i in range(2))
    log = LogWriter(tmp_path / "actions.jsonl", HEADER)
    log.add(blocks[0])
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", in_use)
        with pytest.raises(PermissionError):
            log.replace_header(dataclasses.replace(HEADER, recache="none"))
    log.add(blocks[1])
    log.close(complete=True)
    read = read_log(tmp_path)
    assert (read.header, read.blocks, read.complete) == (HEADER, blocks, True)
    assert [file.name for file in tmp_path.iterdir()] == ["actions.jsonl"]


def test_what_differs_at_a_replay_is_told() -> None:
    assert HEADER.differences(HEADER) == []
    here = dataclasses.replace(
        HEADER, threads=2, versions={"torch": "3"}, options={"precision": "bf16"}, seed=1
    )
    assert HEADER.differences(dataclasses.replace(HEADER, height=2 * HEIGHT, width=2 * WIDTH)) == [
        f"size was {WIDTH}x{HEIGHT}, here it is {2 * WIDTH}x{2 * HEIGHT}"
    ]
    assert HEADER.differences(here) == [
        "precision was the default, here it is bf16",
        "threads was 1, here it is 2",
        "torch was 2, here it is 3",
    ]


def test_options_of_the_world_are_recorded(tmp_path: Path) -> None:
    header = dataclasses.replace(HEADER, options={"precision": "bf16", "memory": "8"})
    LogWriter(tmp_path / "log", header).close(complete=True)
    assert read_log(tmp_path / "log").header == header
    older = HEADER_LINE.replace(', "options": {}', "")  # written before there were any
    (tmp_path / "older").write_text(older + "\n")
    assert read_log(tmp_path / "older").header.options == {}


def test_a_log_that_was_cut_anywhere_holds_all_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "actions.jsonl"
    written = write_log(path, 3)
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    whole = len(b"".join(lines[:3]))
    for cut in range(whole, len(data)):
        path.write_bytes(data[:cut])
        assert list(read_log(path).blocks) == written[:2]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "is not an action log"),
        (['{"prompts": ["a"]}'], "is not an action log"),
        (['{"format": "longlive-log", "version": 9}'], "version 9; this release reads 1"),
        (['{"format": "longlive-log", "version": 1}', "{}"], "log.jsonl:2: damaged: entry lacks block"),
        ([HEADER_LINE.replace('"seed": 7', '"seed": "7"')], "damaged: entry.seed is '7'; expected int"),
        ([HEADER_LINE.replace('{"torch": "2"}', "[]")], r"damaged: entry.versions is \[\]; expected a table"),
        (['{"format": "longlive-log", "version": 1}', "{", "{}"], r"log.jsonl:2: not valid JSON"),
        (["[1]", "{}"], r"log.jsonl:1: expected an object"),
        ([HEADER_LINE.replace('"seed": 7', '"seed": -1')], "log.jsonl:1: damaged: the seed is -1; expected"),
        ([HEADER_LINE.replace('"threads": 1', '"threads": 0')], "log.jsonl:1: .* 0; expected 1 to 1024"),
        ([HEADER_LINE.replace('"threads": 1', '"threads": 100000')], "log.jsonl:1: .* 100000; expected 1 to"),
        (
            [HEADER_LINE.replace('"options": {}', '"options": {"steps": 2}')],
            "log.jsonl:1: damaged: entry.options.steps is 2; expected str",
        ),
        ([HEADER_LINE.replace('"2"', "2")], "log.jsonl:1: damaged: entry.versions.torch is 2; expected str"),
        ([HEADER_LINE, BLOCK_LINE.replace("0", "true", 1)], "log.jsonl:2: damaged: entry.block is True"),
        ([HEADER_LINE, BLOCK_LINE.replace("0.5", "true")], "log.jsonl:2: damaged: entry.seconds is True"),
        ([HEADER_LINE, BLOCK_LINE.replace("0.5", "7" * 400)], "log.jsonl:2: damaged: int too large"),
        ([HEADER_LINE, BLOCK_LINE.replace("[]", "[3]")], r"log.jsonl:2: damaged: entry.notes\[0\] is 3"),
        ([HEADER_LINE, BLOCK_LINE.replace("{}", '{"a": "1"}')], "log.jsonl:2: damaged: entry.mix.a is '1'"),
        ([HEADER_LINE, f'{{"block": {"7" * 5000}}}'], "log.jsonl:2: damaged: a number has too many digits"),
        ([HEADER_LINE, "[" * 200_000], "log.jsonl:2: damaged: it is nested too deeply"),
    ],
)
def test_damaged_logs(tmp_path: Path, lines: list[str], message: str) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    with pytest.raises(RecordingError, match=message):
        read_log(path)


def test_a_log_that_an_editor_has_saved_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    lines = (HEADER_LINE, BLOCK_LINE)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    log = read_log(path)
    path.write_text("".join(f"{line}\r\n\r\n" for line in lines), encoding="utf-8-sig", newline="")
    assert read_log(path) == log and len(log.blocks) == 1
    path.write_text(f"{HEADER_LINE}\n\n[]\n", encoding="utf-8")
    with pytest.raises(RecordingError, match=r"log.jsonl:3: expected an object"):
        read_log(path)


def test_a_file_or_folder_without_a_log_is_told(tmp_path: Path) -> None:
    (tmp_path / "video.mp4").write_bytes(b"\xff\n")
    with pytest.raises(
        RecordingError, match=r"video.mp4 is not an action log; expected the actions.jsonl of"
    ):
        read_log(tmp_path / "video.mp4")
    for name in ("a/episode-0001", "a/episode-0000", "b/world-00/episode-0000"):
        (tmp_path / name).mkdir(parents=True)
        write_log(tmp_path / name / "actions.jsonl", 1)
    with pytest.raises(RecordingError, match=r"a holds recorded runs: give one, such as .*a/episode-0000$"):
        read_log(tmp_path / "a")
    with pytest.raises(
        RecordingError, match=r"b holds recorded runs: give one, such as .*world-00/episode-0000$"
    ):
        read_log(tmp_path / "b")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "story.yaml").touch()
    with pytest.raises(RecordingError, match=r"story.yaml is a file; give a folder$"):
        Recording(tmp_path / "story.yaml", HEADER)
    with pytest.raises(
        RecordingError, match=r"run cannot be written \(Not a directory\); choose another place$"
    ):
        Recording(tmp_path / "story.yaml" / "run", HEADER)


def test_a_log_with_a_hole_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "actions.jsonl"
    write_log(path, 3)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:2] + lines[3:]), encoding="utf-8")
    with pytest.raises(RecordingError, match="not numbered 0, 1, 2"):
        read_log(path)
    with pytest.raises(RecordingError, match="No such file"):
        read_log(tmp_path / "none.jsonl")


def test_digests_tell_frames_apart() -> None:
    frames = np.random.default_rng(0).integers(0, 250, (3, 8, 12, 3), np.uint8)
    upside_down = frames[:, ::-1].copy()
    assert digest(upside_down[:, ::-1]) == digest(frames)  # whatever the order in memory
    assert digest(upside_down) != digest(frames) and digest(frames[::-1]) != digest(frames)
    changed = frames.copy()
    changed[1, 2, 3, 0] += 1
    assert digest(changed) != digest(frames)


def record(folder: Path, *, complete: bool = True) -> None:
    with Recording(folder, HEADER, scale=2) as recording:
        for first, count, prompt in ((0, 9, "a cat"), (9, 12, "a cat"), (21, 12, "a dog")):
            recording.add(frames_from(first, count), prompt)
        recording.complete = complete


def test_a_recording_holds_all_four(tmp_path: Path) -> None:
    record(tmp_path / "new" / "run")
    assert sorted(file.name for file in (tmp_path / "new" / "run").iterdir()) == [
        "actions.jsonl",
        "sheet.png",
        "video.mp4",
        "video.srt",
    ]
    log = read_log(tmp_path / "new" / "run" / "actions.jsonl")
    assert [(block.prompt, block.frames, block.seconds) for block in log.blocks] == [
        ("a cat", 9, 9 / 16),
        ("a cat", 12, 21 / 16),
        ("a dog", 12, 33 / 16),
    ]
    assert log.blocks[2].digest == digest(frames_from(21, 12)) and log.complete
    assert indices(tmp_path / "new" / "run" / "video.mp4") == list(range(33))


def test_a_recording_that_fails_leaves_what_it_had(tmp_path: Path) -> None:
    record(tmp_path)
    with pytest.raises(ZeroDivisionError), Recording(tmp_path, HEADER) as recording:
        recording.add(frames_from(0, 9), "a cat")
        assert not (tmp_path / "sheet.png").exists()  # that of the run before
        raise ZeroDivisionError
    assert indices(tmp_path / "video.mp4") == list(range(9))
    assert (tmp_path / "sheet.png").exists()
    log = read_log(tmp_path / "actions.jsonl")
    assert len(log.blocks) == 1 and not log.complete


def test_the_video_is_finished_even_if_the_log_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(log: LogWriter, entry: Mapping[str, Any]) -> None:
        raise OSError("no room")

    recording = Recording(tmp_path, HEADER)
    recording.add(frames_from(0, 9), "a cat")
    monkeypatch.setattr(LogWriter, "_write", no_room)
    with pytest.raises(OSError, match="no room"):
        recording.close()
    with av.open(str(tmp_path / "video.mp4")) as container:
        assert container.streams.video[0].frames == 9  # a plain mp4 knows its length, fragments do not
    assert (tmp_path / "sheet.png").exists() and len(read_log(tmp_path / "actions.jsonl").blocks) == 1
    assert (tmp_path / "video.srt").read_text(encoding="utf-8").endswith("00:00:00,562\na cat\n\n")


def test_a_recording_without_blocks_leaves_that_of_an_earlier_run(tmp_path: Path) -> None:
    with Recording(tmp_path / "new", HEADER):
        pass
    assert not list((tmp_path / "new").iterdir())
    record(tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.glob("*.*")}
    with pytest.raises(ZeroDivisionError), Recording(tmp_path, HEADER):
        raise ZeroDivisionError  # such as a device without memory for the first block
    with pytest.raises(RecordingError, match="scale 0"):
        Recording(tmp_path, HEADER, scale=0)
    assert {file.name: file.read_bytes() for file in tmp_path.glob("*.*")} == before


@pytest.mark.parametrize("name", ["video.mp4", "video.srt", "sheet.png", "start.tiff", "actions.jsonl"])
def test_files_that_no_run_has_left_are_not_overwritten(tmp_path: Path, name: str) -> None:
    own = tmp_path / name
    own.write_bytes(b"of a holiday")
    with pytest.raises(RecordingError, match=f"holds {name}, and no log of an earlier run; choose another"):
        Recording(tmp_path, HEADER)
    assert own.read_bytes() == b"of a holiday" and list(tmp_path.iterdir()) == [own]


@pytest.mark.parametrize("length", [0, 9, 400])
def test_what_a_killed_run_has_left_is_replaced(tmp_path: Path, length: int) -> None:
    (tmp_path / "video.mp4").write_bytes(b"cut")
    (tmp_path / "actions.jsonl").write_text(HEADER_LINE[:length], encoding="utf-8")
    record(tmp_path)
    assert read_log(tmp_path / "actions.jsonl").complete


def test_two_recordings_do_not_share_a_folder(tmp_path: Path) -> None:
    with Recording(tmp_path, HEADER) as recording:
        recording.add(frames_from(0, 9), "a cat")
        with pytest.raises(RecordingError, match="another recording goes into"):
            Recording(tmp_path, HEADER)
        assert len(read_log(tmp_path / "actions.jsonl").blocks) == 1  # to read it is nobody's harm
        recording.add(frames_from(9, 12), "a cat")
    assert indices(tmp_path / "video.mp4") == list(range(21))
    record(tmp_path)  # in place of the one that has ended
    left = Recording(tmp_path, HEADER)
    del left  # nobody has closed it
    record(tmp_path)


def test_a_folder_that_looks_like_a_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    record(Path("12:30"))
    assert indices(tmp_path / "12:30" / "video.mp4")


def test_sheets_have_a_captioned_row_for_each_prompt(tmp_path: Path) -> None:
    sheet = ContactSheet("walk")
    for block in range(12):
        frames = np.full((12, 96, 160, 3), 20 * block, np.uint8)
        sheet.add(frames, "one" if block < 9 else "two " * 200, block * 0.75)
    image = np.asarray(sheet.draw())
    row = image[:, 100]  # a column of pixels through the first pictures
    shown = [level for level in (0, 180) if (row == level).all(axis=-1).sum() > 150]
    assert shown == [0, 180]  # the first block of either prompt leads its row
    across = image[np.flatnonzero((row == 0).all(axis=-1))[90]]
    levels = [int(across[12 + 332 * column + 100, 0]) for column in range(5)]
    assert levels == [0, 40, 80, 120, 160]  # five of the nine blocks, evenly spread
    assert image.shape[1] == 5 * 320 + 6 * 12


def test_sheets_of_long_runs_keep_a_few_pictures() -> None:
    sheet, frames = ContactSheet("walk"), np.zeros((12, 4, 8, 3), np.uint8)
    for block in range(1000):
        sheet.add(frames, "one", float(block))
    (row,) = sheet._rows
    assert len(row.pictures) <= KEPT
    seconds = [at for at, _ in row.spread()]
    assert len(seconds) == COLUMNS and seconds[0] < 1 and seconds[-1] > 998
    steps = np.diff(seconds)
    assert steps.max() < 1.3 * steps.min()
    for prompt in range(3 * ROWS):
        sheet.add(frames, f"prompt {prompt}", 1000.0 + prompt)
    kept = [row.prompt for row in sheet._rows]
    assert len(kept) == ROWS and kept[0] == "one" and kept[-1] == f"prompt {3 * ROWS - 1}"
    assert [at for at, _ in sheet._rows[0].pictures] == [at for at, _ in sheet._rows[0].spread()] == seconds
    assert sheet._left_out == 2 * ROWS + 1
    assert np.asarray(sheet.draw()).shape[0] < 300 * ROWS


def test_sheets_show_all_phases_of_a_movement() -> None:
    sheet = ContactSheet("walk", fps=16)
    for block in range(5):
        frames = np.arange(12, dtype=np.uint8)[:, None, None, None] * np.full((96, 160, 3), 20, np.uint8)
        sheet.add(frames, "one", 12 * (block + 1) / 16)
    shown = [(round(12 * (block + 1) - 16 * seconds), picture.getpixel((5, 5))[0] // 20)
             for block, (seconds, picture) in enumerate(sheet._rows[0].pictures)]  # fmt: skip
    assert shown == [
        (0, 11),
        (5, 6),
        (10, 1),
        (3, 8),
        (8, 3),
    ]  # frames before the last, and which frame it is


def test_captions_fit_and_say_where_they_were_cut() -> None:
    from PIL import ImageFont

    from longlive_env.recording.sheet import CAPTION_LINES, _wrap

    font = ImageFont.load_default(20)
    lines = _wrap("word " * 300, font, 400)
    assert len(lines) == CAPTION_LINES and lines[-1].endswith("...") and not lines[0].endswith("...")
    assert all(font.getlength(line) <= 400 for line in lines)
    assert _wrap("one two", font, 400) == ["one two"]
    assert _wrap("x" * 200, font, 400)[0].endswith("...")


def test_a_long_title_says_where_it_was_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import ImageDraw

    written: list[str] = []
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", lambda self, at, text, **how: written.append(text))
    sheet = ContactSheet("word " * 100)
    sheet.add(np.zeros((12, 4, 8, 3), np.uint8), "one", 1.0)
    sheet.draw()
    assert written[0].startswith("word word") and written[0].endswith("...")
