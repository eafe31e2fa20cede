"""Subtitles: exact to the frame, whole after every block, and what FFmpeg reads of them."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longlive_env.recording import LogBlock, LogHeader, Recording, SubtitleWriter
from longlive_env.recording.subtitles import LONGEST_REMARK_S, READ_A_SECOND, SHORTEST_REMARK_S

FPS = 16
HEADER = LogHeader("walk", "tiny", 7, "full", 32, 48, FPS, "cpu", 1, {"torch": "2"})
CAT, DOG, ASK = "a cat", "a dog", "Ask: what has changed?"
Told = tuple[int, str, Sequence[str]]  # frames, prompt, remarks of a block


@dataclass(frozen=True)
class Entry:
    """What a player shows, from `begin` up to `end`, in milliseconds."""

    begin: int
    end: int
    text: str


def read(path: Path) -> list[Entry]:
    """Subtitles as FFmpeg reads them; it finds none in an empty file."""
    if not path.read_bytes():
        return []
    entries = []
    with av.open(str(path)) as container:
        for packet in container.demux(subtitles=0):
            for subtitle in packet.decode():
                text = subtitle.dialogue.decode()  # type: ignore[union-attr]
                entries.append(Entry(packet.pts, packet.pts + packet.duration, text))
    return entries


def write(path: Path, blocks: Sequence[Told], fps: int = FPS) -> list[Entry]:
    writer = SubtitleWriter(path, fps)
    for block in blocks:
        writer.add(*block)
    writer.close()
    return read(path)


def shown(entries: Sequence[Entry], frames: int, fps: int = FPS) -> list[str]:
    """What stands below each frame; no two entries at once."""
    texts = []
    for frame in range(frames):
        now = [one.text for one in entries if one.begin <= 1000 * frame / fps < one.end]
        assert len(now) < 2
        texts += now or [""]
    return texts


def stretches(texts: Sequence[str]) -> list[tuple[int, str]]:
    """The frames at which a new text begins."""
    return [(i, text) for i, text in enumerate(texts) if i == 0 or texts[i - 1] != text]


def test_the_file_is_subrip(tmp_path: Path) -> None:
    write(tmp_path / "video.srt", [(9, CAT, ()), (12, CAT, ()), (12, DOG, ())])
    assert (tmp_path / "video.srt").read_text(encoding="utf-8") == (
        "1\n00:00:00,000 --> 00:00:01,312\na cat\n\n2\n00:00:01,312 --> 00:00:02,062\na dog\n\n"
    )


def test_each_stretch_under_one_prompt_is_an_entry(tmp_path: Path) -> None:
    blocks = [(9, CAT, ())] + [(12, CAT, ())] * 3 + [(12, DOG, ())] * 2 + [(12, CAT, ())]
    entries = write(tmp_path / "video.srt", blocks)
    assert [entry.text for entry in entries] == [CAT, DOG, CAT]
    assert stretches(shown(entries, 81)) == [(0, CAT), (45, DOG), (69, CAT)]


@given(st.lists(st.tuples(st.integers(1, 20), st.sampled_from("abc")), min_size=1), st.integers(1, 60))
def test_every_frame_has_its_prompt(
    tmp_path_factory: pytest.TempPathFactory, blocks: list[tuple[int, str]], fps: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "video.srt"
    entries = write(path, [(frames, prompt, ()) for frames, prompt in blocks], fps)
    expected = [prompt for frames, prompt in blocks for _ in range(frames)]
    assert shown(entries, len(expected), fps) == expected
    assert len(entries) == len(stretches(expected))


def test_a_remark_is_not_answered_by_the_prompt_that_it_comes_with(tmp_path: Path) -> None:
    blocks = [(12, CAT, ()), (12, DOG, [ASK]), *[(12, DOG, ())] * 14]
    begin, end = 12, 12 + 11 * 12  # the first block that begins after the longest time
    assert 10 * 12 < LONGEST_REMARK_S * FPS <= 11 * 12
    assert stretches(shown(write(tmp_path / "a.srt", blocks), 192)) == [(0, CAT), (begin, ASK), (end, DOG)]


def test_a_remark_gives_way_to_the_next_prompt_once_it_can_have_been_read(tmp_path: Path) -> None:
    shortest = SHORTEST_REMARK_S * FPS
    assert shortest == 48
    for dogs, end in ((2, 60), (3, 60), (4, 60), (5, 72), (6, 84)):  # blocks of the remark's own prompt
        blocks = [(12, CAT, ()), (12, DOG, [ASK]), *[(12, DOG, ())] * (dogs - 1), *[(12, CAT, ())] * 9]
        found = stretches(shown(write(tmp_path / "a.srt", blocks), 12 * len(blocks)))
        assert found == [(0, CAT), (12, ASK), (end, CAT)]


def test_a_long_remark_stays_longer(tmp_path: Path) -> None:
    text = "word " * 60 + "end"
    seconds = len(text) / READ_A_SECOND
    assert seconds > LONGEST_REMARK_S
    blocks = [(16, DOG, [text]), *[(16, CAT, ())] * 40]
    assert stretches(shown(write(tmp_path / "a.srt", blocks), 16 * 41))[1] == (16 * 21, CAT)
    assert 20 < seconds <= 21


def test_a_new_remark_takes_the_place_of_another(tmp_path: Path) -> None:
    blocks = [(12, CAT, ["one"]), (12, CAT, ["two", "three"]), (12, CAT, ["three"]), (12, CAT, ["three"])]
    assert write(tmp_path / "a.srt", blocks) == [
        Entry(0, 750, "one"),
        Entry(750, 1500, "two\nthree"),
        Entry(1500, 2250, "three"),
        Entry(2250, 3000, "three"),
    ]


def test_texts_that_look_like_something_else(tmp_path: Path) -> None:
    blocks = [
        (12, "a <b>bold</b> cat\n\n2\n00:00:00,000 --> 00:00:09,000\nnot me", ()),
        (12, r"{\an8}a dog \N & <3 – 猫 👩‍🚀", ()),
        (12, CAT, ["7", "\n \n", "00:00:01,000 --> 00:00:02,000\r\n8\u2028\x00\x1b[1mend\t of it"]),
    ]
    assert write(tmp_path / "a.srt", blocks) == [
        Entry(0, 750, "a ‹b›bold‹/b› cat 2 00:00:00,000 --› 00:00:09,000 not me"),
        Entry(750, 1500, "(/an8)a dog /N & ‹3 – 猫 👩‍🚀"),
        Entry(1500, 2250, "7\n00:00:01,000 --› 00:00:02,000\n8\n[1mend of it"),
    ]


@given(st.lists(st.tuples(st.text(), st.lists(st.text(), max_size=2)), min_size=1, max_size=4))
def test_no_text_breaks_the_file(
    tmp_path_factory: pytest.TempPathFactory, texts: list[tuple[str, list[str]]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "video.srt"
    entries = write(path, [(12, f"{number} {prompt}", said) for number, (prompt, said) in enumerate(texts)])
    assert shown(entries, 12 * len(texts)).count("") == 0
    assert all(begin.end == end.begin for begin, end in pairwise(entries))
    assert not any(unicodedata.category(one) == "Cc" and one != "\n" for e in entries for one in e.text)


def test_a_text_of_nothing_is_no_entry(tmp_path: Path) -> None:
    blocks = [(12, "", ()), (12, CAT, [" \n"]), (12, "", ()), (12, "", ()), (12, CAT, ())]
    assert write(tmp_path / "a.srt", blocks) == [Entry(750, 1500, CAT), Entry(3000, 3750, CAT)]


def test_the_file_is_whole_after_every_block(tmp_path: Path) -> None:
    blocks: list[Told] = [(9, CAT, ()), (12, CAT, ()), (12, DOG, [ASK]), *[(12, DOG, ())] * 12, (12, CAT, ())]
    running = SubtitleWriter(tmp_path / "running.srt", FPS)
    for number, block in enumerate(blocks, start=1):
        running.add(*block)
        write(tmp_path / "whole.srt", blocks[:number])
        assert (tmp_path / "running.srt").read_bytes() == (tmp_path / "whole.srt").read_bytes()
    running.close()
    running.close()


def test_hours_are_counted(tmp_path: Path) -> None:
    frames = FPS * (100 * 3600 + 61) + 1
    write(tmp_path / "a.srt", [(frames, CAT, ()), (12, CAT, ())])
    assert "--> 100:01:01,812\n" in (tmp_path / "a.srt").read_text(encoding="utf-8")


def test_times_count_from_where_the_video_begins(tmp_path: Path) -> None:
    earlier = [LogBlock(0, DOG, 9, 9 / FPS, "ab"), LogBlock(1, DOG, 12, 21 / FPS, "ab")]
    with Recording(tmp_path, HEADER, earlier=earlier) as recording:
        for prompt in (CAT, DOG):
            recording.add(np.zeros((12, 32, 48, 3), np.uint8), prompt)
    assert read(tmp_path / "video.srt") == [Entry(0, 750, CAT), Entry(750, 1500, DOG)]


def test_a_recording_that_fails_leaves_the_subtitles_of_what_it_had(tmp_path: Path) -> None:
    frames = np.zeros((12, 32, 48, 3), np.uint8)
    with Recording(tmp_path, HEADER) as recording:
        recording.add(frames, "of an earlier run")
    with pytest.raises(ZeroDivisionError), Recording(tmp_path, HEADER) as recording:
        recording.add(frames, CAT, notes=["choice at 0s: 1 of 2", ASK], remarks=[ASK])
        raise ZeroDivisionError
    assert read(tmp_path / "video.srt") == [Entry(0, 750, ASK)]
