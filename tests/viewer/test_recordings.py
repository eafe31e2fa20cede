"""What is recorded and saved of a take is what was shown, and comes back from its files."""

import dataclasses
import errno
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from viewer_stage import CAT, DOG, OWL, header
from worker_steps import Start, settle, starter, watch

from longlive_env import World
from longlive_env.recording import LogHeader, LogWriter, Recording, digest, read_frames, read_log
from longlive_env.recording.video import ENCODER_OPTIONS
from longlive_env.scenario import Cue, Mix, Moment, Plan, parse_scenario, play, replay_plan
from longlive_env.viewer.session import Session
from longlive_env.viewer.take import Take, command, scenario_text
from longlive_env.viewer.tape import TakeRecorder, _summary
from longlive_env.viewer.worker import Worker


@pytest.fixture
def start(make_session: Callable[..., Session]) -> Start:
    return starter(make_session)


def frames_of(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_recordings_replay_although_they_began_late(start: Start, tmp_path: Path, small_world: World) -> None:
    worker = start()
    watch(worker, 2)
    worker.commands.record(tmp_path / "one")
    worker.commands.ask(DOG)
    watch(worker, 2)
    worker.commands.rewind(1)
    watch(worker, 1)
    worker.commands.ask(OWL)
    watch(worker, 1)
    worker.stop()  # in the middle of it
    first, second = tmp_path / "one", tmp_path / "one-2"
    told = [notice.text for notice in worker.exchange.take_notices()]
    assert told[-1] == f"Recorded 3.8 s in 2 folders: {first} (2.2 s), -2 (1.5 s)"
    assert frames_of(first / "video.mp4") == 36 and frames_of(second / "video.mp4") == 24
    for folder, prompts in ((first, [CAT, CAT, DOG, DOG]), (second, [CAT, CAT, OWL])):
        log = read_log(folder / "actions.jsonl")
        assert [block.prompt for block in log.blocks] == prompts and log.complete
        blocks = play(small_world, replay_plan(log, small_world.config))
        assert [digest(block.frames) for block in blocks] == [block.digest for block in log.blocks]
        assert (folder / "sheet.png").exists()


def test_subtitles_tell_the_notes_of_a_scenario(start: Start, story: Plan, tmp_path: Path) -> None:
    cue = Cue(Moment.parse("2 blocks"), Mix.of(DOG), notes=("who is this?",))
    worker = start(dataclasses.replace(story, timeline=(cue,)))
    worker.commands.record(tmp_path / "one")
    watch(worker, 4)
    worker.stop()
    shown = (tmp_path / "one" / "video.srt").read_text(encoding="utf-8")
    assert "who is this?" in shown and DOG not in shown and story.prompt in shown


def test_a_replay_tells_the_goals_and_the_score_until_somebody_takes_over(
    start: Start,
    make_session: Callable[..., Session],
    tmp_path: Path,
    small_world: World,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    goal = "{{name: {}, when: weather == rain, points: {}, after: block {}}}"
    goals = ", ".join(goal.format(*one) for one in (("Rain", 2, 1), ("Rain", 2, 3), ("Slip", -1, 4)))
    text = f"name: one\nduration: 5 blocks\nprompt: {CAT}\ngoals: [{goals}]\n"
    monkeypatch.setattr(
        "longlive_env.viewer.story.sight_of", lambda config: lambda frames: {"weather": "rain"}
    )
    worker = start(parse_scenario(text, "one.yaml").plan(small_world.config))
    worker.commands.record(tmp_path / "one")
    watch(worker, 5)
    worker.stop()
    log = read_log(tmp_path / "one" / "actions.jsonl")
    monkeypatch.undo()  # a replay looks at nothing
    plan = replay_plan(log, small_world.config)
    session = make_session(plan)
    told = [[goal.name for goal in session.advance().beat.reached] for _ in range(6)]
    assert told == [[], ["Rain"], [], ["Rain"], ["Slip"], []]
    assert [beat.notes for beat in session.history.beats[:5]] == [block.notes for block in log.blocks]
    assert session.score is not None and (session.score.points, session.score.possible) == (3, 4)
    assert [block for _, block in session.score.goals] == [1, 3, 4]
    session.rewind(2)
    session.ask(DOG)
    assert not any(session.advance().beat.reached for _ in range(3)) and session.score.points == 2
    session.restart(plan.seed + 1)
    assert not any(session.advance().beat.reached for _ in range(3)) and session.score is None


def replays(folder: Path, world: World) -> bool:
    """Whether the log of a recording leads to the frames that it tells of."""
    log = read_log(folder / "actions.jsonl")
    given = read_frames(folder / log.header.frames, world.config) if log.header.frames else None
    blocks = play(world, replay_plan(log, world.config, given))
    return [digest(block.frames) for block in blocks] == [block.digest for block in log.blocks]


@pytest.mark.parametrize("mode", ["none", "clear"])
def test_a_recording_from_the_first_block_on_knows_its_recache_mode(
    start: Start, story: Plan, tmp_path: Path, small_world: World, mode: str
) -> None:
    worker = start(dataclasses.replace(story, recache=mode))
    worker.commands.record(tmp_path / "one")
    assert watch(worker, 4) == [CAT, CAT, DOG, DOG]
    worker.stop()
    assert read_log(tmp_path / "one" / "actions.jsonl").header.recache == mode
    assert replays(tmp_path / "one", small_world)


def test_the_first_switch_decides_on_the_recache_mode_of_a_recording(
    start: Start, tmp_path: Path, small_world: World
) -> None:
    worker = start()
    worker.commands.record(tmp_path / "one")
    watch(worker, 2)
    worker.commands.cycle_recache()  # to none
    worker.commands.ask(DOG)
    watch(worker, 2)
    worker.stop()
    log = read_log(tmp_path / "one" / "actions.jsonl")
    assert log.header.recache == "none" and log.complete and len(log.blocks) == 4
    assert replays(tmp_path / "one", small_world) and frames_of(tmp_path / "one" / "video.mp4") == 45
    written = {"actions.jsonl", "sheet.png", "video.mp4", "video.srt"}
    assert {file.name for file in (tmp_path / "one").iterdir()} == written


def test_a_recording_ends_where_its_log_would_need_two_recache_modes(
    start: Start, tmp_path: Path, small_world: World
) -> None:
    worker = start()
    worker.commands.record(tmp_path / "one")
    watch(worker, 1)
    worker.commands.ask(DOG)
    watch(worker, 1)
    worker.commands.cycle_recache()
    watch(worker, 1)  # nothing is lost as long as nobody switches
    assert not any(notice.wrong for notice in worker.exchange.take_notices())
    worker.commands.ask(OWL)
    watch(worker, 2)
    settle(worker)
    notice, where = worker.exchange.take_notices()[-2:]
    stopped = f"The recording in {tmp_path / 'one'} has stopped: this take switches prompts with recache full"
    assert notice.wrong and notice.text.startswith(stopped)
    assert not where.wrong and where.text == f"Recorded 2.1 s in {tmp_path / 'one'}"
    assert worker.exchange.status() == (None, None) and worker.exchange.view().recording is None  # type: ignore[union-attr]
    log = read_log(tmp_path / "one" / "actions.jsonl")
    assert log.header.recache == "full" and [block.prompt for block in log.blocks] == [CAT, DOG, DOG]
    assert replays(tmp_path / "one", small_world)
    worker.stop()


def test_a_full_disk_ends_the_recording_only(start: Start, tmp_path: Path) -> None:
    worker = start()
    watch(worker, 1)
    (tmp_path / "file").write_text("")
    worker.commands.record(tmp_path / "file" / "below")
    settle(worker)
    watch(worker, 2)
    (told,) = worker.exchange.take_notices()  # where nothing is, nothing is told to be
    assert told.wrong and "below has stopped: " in told.text
    assert worker.exchange.view().recording is None  # type: ignore[union-attr]


class Disk:
    """A disk for logs that has no room left once it is `full`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full, write = False, LogWriter._write

        def limited(log: LogWriter, entry: Mapping[str, Any]) -> None:
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            write(log, entry)

        monkeypatch.setattr(LogWriter, "_write", limited)


def test_a_disk_that_fills_up_ends_the_recording_only(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, worker = Disk(monkeypatch), start()
    worker.commands.record(tmp_path / "one")
    watch(worker, 2)
    settle(worker)
    disk.full = True
    watch(worker, 2)
    assert worker.exchange.status() == (None, None) and worker.exchange.view().recording is None  # type: ignore[union-attr]
    told = [notice.text for notice in worker.exchange.take_notices() if notice.wrong]
    assert (
        len(told) == 2
        and f"{tmp_path / 'one'} has stopped: [Errno 28]" in told[0]
        and f"{tmp_path / 'one'} is unf" in told[1]
    )
    log = read_log(tmp_path / "one" / "actions.jsonl")
    assert len(log.blocks) == 2 and not log.complete
    assert frames_of(tmp_path / "one" / "video.mp4") == 33  # a block more than the log
    disk.full = False
    worker.commands.record(tmp_path / "two")
    watch(worker, 1)
    settle(worker)
    disk.full = True
    worker.stop()
    assert worker.exchange.take_notices()[-1].text.startswith(
        f"The recording in {tmp_path / 'two'} is unfinished"
    )


def recording(start: Start, folder: Path) -> Worker:
    """A viewer whose recording has its first block."""
    worker = start()
    worker.commands.record(folder)
    watch(worker, 1)
    settle(worker)
    return worker


def no_room(*args: Any, **kwargs: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_recording_that_breaks_off_is_no_complete_one(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = recording(start, tmp_path / "one")
    with monkeypatch.context() as patch:
        patch.setattr(Recording, "add", no_room)
        watch(worker, 1)
        settle(worker)
    assert not read_log(tmp_path / "one" / "actions.jsonl").complete


def test_an_encoder_that_fails_ends_the_recording_only(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = recording(start, tmp_path / "one")
    monkeypatch.setitem(ENCODER_OPTIONS, "preset", "nonsense")
    watch(worker, 2)
    assert worker.exchange.status() == (None, None) and worker.exchange.view().recording is None  # type: ignore[union-attr]
    told = [notice.text for notice in worker.exchange.take_notices() if notice.wrong]
    assert len(told) == 1
    stopped = f"The recording in {tmp_path / 'one'} has stopped: the video cannot be encoded: "
    assert told[0].startswith(stopped)
    log = read_log(tmp_path / "one" / "actions.jsonl")
    assert len(log.blocks) == 1 and not log.complete
    assert frames_of(tmp_path / "one" / "video.mp4") == 9


def test_a_recording_that_stops_the_world_is_no_complete_one(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = recording(start, tmp_path / "one")

    def unforeseen(*args: object, **options: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Recording, "add", unforeseen)
    assert worker.exchange.take() is not None
    settle(worker)
    assert "ZeroDivisionError" in str(worker.exchange.status()[1])
    worker.stop()
    assert not read_log(tmp_path / "one" / "actions.jsonl").complete


def test_a_take_that_went_on_from_frames_comes_back(
    start: Start, plan: Plan, tmp_path: Path, small_world: World
) -> None:
    """After a step back to the start and with another seed, too."""
    clip = np.random.default_rng(0).integers(0, 256, (9, 32, 48, 3), np.uint8)
    worker = start(dataclasses.replace(plan, start=clip))
    watch(worker, 2)
    worker.commands.record(tmp_path / "one")
    worker.commands.ask(DOG)
    watch(worker, 1)
    worker.commands.rewind(0)
    watch(worker, 2)
    worker.commands.reset(seed=8)
    watch(worker, 1)
    worker.stop()
    assert [slot.prompt for slot in worker.exchange.view().slots][:6] == [CAT] * 6  # type: ignore[union-attr]
    for name, blocks in (("one", 3), ("one-2", 2), ("one-3", 1)):
        log = read_log(tmp_path / name / "actions.jsonl")
        assert [block.frames for block in log.blocks] == [12] * blocks
        assert replays(tmp_path / name, small_world)
    digests = {read_log(tmp_path / name / "actions.jsonl").blocks[0].digest for name in ("one", "one-2")}
    assert len(digests) == 1


def test_a_block_is_recorded_once(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = start()
    watch(worker, 1)
    settle(worker)

    def taken_meanwhile(session: Session) -> LogHeader:
        assert worker.exchange.take() is not None  # by the window, in its own thread
        return header(session)

    monkeypatch.setattr(worker._tape, "_header", taken_meanwhile)
    worker.commands.record(tmp_path / "one")
    settle(worker)
    watch(worker, 1)
    worker.stop()
    assert [block.block for block in read_log(tmp_path / "one" / "actions.jsonl").blocks] == [0, 1, 2]
    assert not (tmp_path / "one-2").exists()


def test_a_recording_that_breaks_while_it_is_ended_is_over(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = start()
    watch(worker, 1)
    worker.commands.record(tmp_path / "one")
    watch(worker, 1)
    settle(worker)

    def full(*args: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr(TakeRecorder, "add", full)
    assert worker.exchange.take() is not None
    worker.commands.record(tmp_path / "two")
    settle(worker)
    told = [notice.text for notice in worker.exchange.take_notices()]
    assert told[-2:] == [
        f"The recording in {tmp_path / 'one'} has stopped: no room",
        f"Recorded 1.3 s in {tmp_path / 'one'}",
    ]
    assert not (tmp_path / "two").exists()


def test_a_recording_of_many_parts_names_their_folder_once(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    worker = start()
    watch(worker, 1)
    worker.commands.record(tmp_path / "one")
    watch(worker, 1)
    for _ in range(7):
        worker.commands.rewind(1)
        watch(worker, 1)
    worker.stop()
    told = worker.exchange.take_notices()[-1].text
    first = tmp_path / "one"
    lengths = "-2 (0.8 s), -3 (0.8 s), -4 (0.8 s), ..., -8 (0.8 s)"
    assert told == f"Recorded 6.6 s in 8 folders: {first} (1.3 s), {lengths}"
    listed = [f"recorded 1.3 s in {first}", *(f"recorded 0.8 s in {first}-{part}" for part in range(2, 9))]
    assert caplog.messages == listed  # where there is room for all


def test_parts_without_a_common_name_are_named_in_full() -> None:
    parts = {Path("out/one-2"): 1.0, Path("out/one-20"): 2.0, Path("out/one-3"): 0.5}
    told = "Recorded 3.5 s in 3 folders: out/one-2 (1.0 s), one-20 (2.0 s), one-3 (0.5 s)"
    assert _summary(parts) == told.replace("out/one-2", str(Path("out/one-2")))


def test_a_recording_is_told_of_once_its_folder_is_there(start: Start, tmp_path: Path) -> None:
    worker = start()
    worker.commands.record(tmp_path / "one")
    settle(worker)
    assert not worker.exchange.take_notices() and not (tmp_path / "one").exists()
    watch(worker, 2)
    worker.commands.rewind(1)  # to another folder
    watch(worker, 1)
    settle(worker)
    told = [notice.text for notice in worker.exchange.take_notices()]
    assert told == [f"Recording into {tmp_path / 'one'}"] and (tmp_path / "one-2").exists()
    worker.stop()


def test_a_recording_of_nothing_says_so(start: Start, tmp_path: Path) -> None:
    worker = start()
    worker.commands.record(tmp_path / "one")
    worker.commands.record(tmp_path / "two")
    settle(worker)
    assert worker.exchange.take_notices()[-1].text == "Recorded nothing" and not list(tmp_path.iterdir())


def test_a_save_that_fails_at_the_end_leaves_the_recording_whole(start: Start, tmp_path: Path) -> None:
    worker = start()
    watch(worker, 1)
    worker.commands.record(tmp_path / "one")
    watch(worker, 1)
    worker.commands.save_scenario(lambda take: str(1 / 0))
    worker.stop()
    assert (tmp_path / "one" / "sheet.png").exists()
    assert read_log(tmp_path / "one" / "actions.jsonl").complete


def test_saving_takes_what_was_shown(start: Start, story: Plan) -> None:
    worker = start(story)
    watch(worker, 2)
    saved: list[str] = []
    settle(worker)  # block 2 is ready, under another prompt, but nobody has seen it

    def save(take: Any) -> str:
        saved.append(scenario_text(take, "mine", "tiny"))
        return "saved"

    worker.commands.save_scenario(save)
    settle(worker)
    assert "duration: 2 blocks" in saved[0] and "timeline" not in saved[0]
    assert worker.exchange.take_notices()[-1].text == "saved"


def test_what_was_saved_right_before_the_end_is_saved(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = start()
    watch(worker, 2)
    worker.commands.record(tmp_path / "one")
    settle(worker)
    assert worker.exchange.take() is not None
    saved: list[int] = []
    advance = Session.advance

    def save(take: Take) -> str:
        saved.append(len(take.beats))
        return "saved"

    def fail(take: Take) -> str:
        raise OSError("no room")

    def slow(self: Session) -> Any:
        worker.commands.ask(DOG)  # while a block is made, as is what follows
        worker.commands.save_scenario(fail)
        worker.commands.save_scenario(save)
        return advance(self)

    monkeypatch.setattr(Session, "advance", slow)
    worker.turn()
    worker.stop()
    worker.stop()
    assert saved == [3]
    told = [(notice.text, notice.wrong) for notice in worker.exchange.take_notices()][-3:]
    assert told[:2] == [("no room", True), ("saved", False)] and told[2][0].startswith("Recorded")


@pytest.mark.parametrize("published", [True, False])
def test_a_command_names_a_device_that_it_might_not_take(
    make_session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch, published: bool
) -> None:
    session = make_session()
    session.advance()
    monkeypatch.setattr("longlive_env.viewer.take.is_published", lambda folder: published)
    monkeypatch.setattr("longlive_env.viewer.take.find", lambda source: Path())
    told = command(Take.of(session, 1), Path("a b.yaml"))
    assert told == "longlive run 'a b.yaml'" + " --device cpu" * published
    monkeypatch.setattr("sys.platform", "win32")
    assert command(Take.of(session, 1), Path("a b.yaml")) == told.replace("'", '"')
