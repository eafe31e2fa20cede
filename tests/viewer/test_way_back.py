"""Ways back: quick where they were quick before, and stopped without a trace."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from viewer_player import Player
from viewer_stage import CAT, DOG, OWL
from worker_steps import Start, settle, watch

from longlive_env import World
from longlive_env.engine.snapshot import Kept
from longlive_env.frames import Frames
from longlive_env.recording import digest
from longlive_env.scenario import Mix, Plan
from longlive_env.training.world_model import tiny_completion
from longlive_env.viewer.exchange import Notice
from longlive_env.viewer.history import Beat, History, Opening, Saved
from longlive_env.viewer.news import as_sentence
from longlive_env.viewer.running import Running
from longlive_env.viewer.session import Session
from longlive_env.viewer.view import view_of
from longlive_env.viewer.worker import Worker

Make = Callable[..., Session]


def advance(session: Session, blocks: int) -> list[str]:
    return [session.advance().beat.digest for _ in range(blocks)]


def again(session: Session, position: int) -> int:
    """Blocks that a way back generates again."""
    generated: list[int] = []
    session.rewind(position, lambda done, count: generated.append(done))
    return len(generated)


def size_of_snapshot(make_session: Make) -> int:
    """Bytes of a snapshot of a world that has played for a while."""
    session = make_session()
    advance(session, 8)
    saved = session.history.nearest(8)[1]
    assert saved is not None
    return saved.nbytes


def play(history: History, blocks: int) -> None:
    """Play blocks with a snapshot of 100 bytes after each."""
    for block in range(len(history.beats), len(history.beats) + blocks):
        beat = Beat(block, Mix.of(CAT), "you", "full", False, 12, "")
        state = Kept({}, {"": torch.zeros(100, dtype=torch.uint8)})
        history.append(beat, Saved(state, np.zeros(0, np.uint8)))


def saved_at(history: History) -> list[int]:
    positions = range(1, len(history.beats) + 1)
    return [position for position in positions if history.nearest(position)[0] == position]


@pytest.fixture
def while_generating(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], object]], None]:
    """Has something happen once, while the given one of the blocks from now on is generated."""
    step = Running.step

    def install(number: int, happens: Callable[[], object]) -> None:
        steps = 0

        def step_and(running: Running, *args: object) -> Frames:
            nonlocal steps
            steps += 1
            if steps == number:
                happens()
            return step(running, *args)  # type: ignore[arg-type]

        monkeypatch.setattr(Running, "step", step_and)

    return install


@pytest.mark.parametrize("jump", ["rewind", "reset", "return_to"])
def test_steps_back_after_undo_are_as_quick_as_before(make_session: Make, jump: str) -> None:
    session = make_session()
    advance(session, 1)
    session.keep_bookmark(1)
    whole = advance(session, 7)
    left = session.history.branch(8)
    getattr(session, jump)({"rewind": 0, "reset": 9, "return_to": 1}[jump])
    session.history.remember(left)
    del left
    advance(session, 1)
    session.undo(session.position)
    for position in (7, 6, 4, 2):
        assert again(session, position) == 0
    assert advance(session, 3) == whole[1:4]


def test_steps_back_from_a_bookmark_are_as_quick_as_before(make_session: Make) -> None:
    session = make_session()
    advance(session, 8)
    session.keep_bookmark(8)
    session.reset()
    advance(session, 1)
    session.return_to(1)
    assert [again(session, position) for position in (7, 4, 2)] == [0, 0, 0]


def test_what_is_generated_again_is_saved_on_the_way(make_session: Make) -> None:
    session = make_session()
    whole = advance(session, 9)
    session.history._saved.clear()
    assert again(session, 7) == 7
    for position in (6, 5, 2):
        assert again(session, position) == 0
    assert advance(session, 4) == whole[2:6]


def test_snapshots_on_the_way_stay_within_the_budget(make_session: Make) -> None:
    session = make_session(budget_bytes=8 * size_of_snapshot(make_session))  # for one every other block
    whole = advance(session, 25)
    session.history._saved.clear()
    assert again(session, 23) == 23
    assert session.history.snapshots == 8 and saved_at(session.history)[-3:] == [18, 20, 22]
    assert advance(session, 2) == whole[23:]


def test_takes_that_were_left_make_room_first() -> None:
    history = History(Opening(5, CAT), 4 * 100)
    play(history, 4)
    left = history.branch(4)
    history.begin(Opening(6, CAT))
    history.remember(left)
    assert history.snapshots == 4
    play(history, 2)
    assert history.snapshots == 4 and saved_at(history) == [1, 2] and history.nbytes == 400
    history.adopt(left)
    assert saved_at(history) == [3, 4]


def test_a_take_that_nothing_leads_to_leaves_no_snapshots() -> None:
    history = History(Opening(5, CAT), 9 * 100)
    play(history, 4)
    history.cut(3)  # such as a block that nobody has seen
    assert history.snapshots == 3
    history.begin(Opening(6, CAT))
    assert history.snapshots == 0


def test_a_way_that_fails_keeps_the_snapshot_of_where_it_began(make_session: Make) -> None:
    session = make_session(budget_bytes=2 * size_of_snapshot(make_session))  # for one every eight blocks
    advance(session, 17)
    left = replace(session.history.branch(17), saved=None, at=0)
    session.reset(9)
    session.history.remember(left)
    for beat in left.beats:
        session.history._saved.pop(beat, None)
    advance(session, 8)

    def full(done: int, count: int) -> None:
        if done == 16:  # with as many snapshots on the way as there is room for
            raise MemoryError

    with pytest.raises(MemoryError):
        session.undo(8, full)
    assert session.seed == 9 and session.history.nearest(8)[0] == 8
    generated: list[int] = []
    session.recover(lambda done, count: generated.append(done))
    assert generated == []
    whole = make_session()
    whole.reset(9)
    assert advance(whole, 9)[8:] == advance(session, 1)


@pytest.mark.parametrize("command", ["rewind", "undo"])
def test_a_way_back_can_be_stopped_and_changes_nothing(
    begin: Start, command: str, while_generating: Callable[[int, Callable[[], object]], None]
) -> None:
    worker = begin(budget_bytes=0)
    watch(worker, 6)
    assert worker._session is not None
    if command == "undo":
        worker.commands.reset(9)
        watch(worker, 6)
    settle(worker)
    before, history = worker.exchange.view(), worker._session.history
    assert before is not None
    beats, left, busy = list(history.beats), history.left, []

    def stop() -> None:
        busy.append(worker.exchange.status()[0])
        assert worker.exchange.stoppable and worker.exchange.halt()

    while_generating(3, stop)
    worker.exchange.take_notices()
    if command == "undo":
        worker.commands.undo()
    else:
        worker.commands.rewind(4)
    assert not worker.exchange.stoppable  # until it is told
    settle(worker)
    count = 6 if command == "undo" else 4
    assert busy == [f"Generating again: 2 of {count} blocks · a click stops and stays here"]
    assert worker.exchange.take_notices() == [Notice("Stopped: the world is where it was")]
    assert worker.exchange.status() == (None, None) and not worker.exchange.halt()
    view = worker.exchange.view()
    assert view is not None and (view.epoch, view.shown) == (before.epoch, before.shown)
    assert history.beats == beats and history.left is left
    assert not worker._session._running.adrift and worker._session.rollout.blocks == [len(beats)]
    watch(worker, 3)
    seen = [beat.digest for beat in history.beats]
    worker.commands.rewind(0)
    watch(worker, 9)
    assert [beat.digest for beat in history.beats][:9] == seen[:9]


def test_another_command_does_not_stop_a_way_back(begin: Start) -> None:
    worker = begin(budget_bytes=0)
    watch(worker, 5)
    for _ in range(2):
        worker.commands.rewind_block()
    worker.commands.ask(DOG)
    assert watch(worker, 1) == [DOG]
    view = worker.exchange.view()
    assert view is not None and view.shown == 4


@pytest.mark.parametrize("stop", ["click", "escape"])
def test_a_click_or_escape_stops_it(
    start: Callable[..., Player], stop: str, while_generating: Callable[[int, Callable[[], object]], None]
) -> None:
    player = start(budget_bytes=0)
    player.wait(60)
    shown = player.view.shown

    def stops() -> None:
        player.settle = lambda: None  # type: ignore[method-assign]  # which is what is going on
        if stop == "click":
            player.click(*player.app.screen.stage.rect.center)
        else:
            player.press("escape")
        del player.settle

    while_generating(2, stops)
    player.press("ctrl+backspace")
    player.wait(2)
    assert player.view.shown == shown and player.view.epoch == 0
    assert player.app.playback.paused  # which is what a step back asks for
    assert "Stopped: the world" in player.told and "quits" not in player.told


def first_frame(world: World, plan: Plan, seed: int, prompt: str) -> str:
    session = Session(world, replace(plan, seed=seed, prompt=prompt, timeline=()))
    return digest(session.advance().frames[:1])


@pytest.mark.parametrize("key", ["r", "shift+r", "home", "ctrl+backspace"])
def test_the_start_shows_its_own_first_frame_while_paused(
    start: Callable[..., Player], small_world: World, plan: Plan, key: str
) -> None:
    player = start(plan)
    player.wait(8)
    player.press("space")
    for _ in range(player.view.shown if key == "ctrl+backspace" else 1):
        player.press(key)
    player.wait(3)
    playback = player.app.playback
    assert playback.paused and playback.position == 0 and player.view.shown == 0
    assert playback.frame is not None
    assert digest(playback.frame[None]) == first_frame(small_world, plan, player.view.seed, CAT)
    player.worker.commands.ask(DOG)  # from the start, as nothing was played yet
    player.wait(3)
    other = first_frame(small_world, plan, player.view.seed, DOG)
    assert digest(playback.frame[None]) == other and player.view.shown == 0
    player.press("space")
    player.wait(1)
    assert player.view.shown == 1 and digest(playback.frame[None]) == other
    assert [span.prompt for span in player.view.spans] == [DOG]


def test_the_start_shows_the_frames_that_it_continues(
    start: Callable[..., Player], small_world: World, plan: Plan
) -> None:
    config = small_world.config
    clip = np.random.default_rng(0).integers(0, 256, (9, config.height, config.width, 3), np.uint8)
    player = start(replace(plan, start=clip))
    player.wait(8)
    player.press("space")
    player.press("home")
    player.wait(2)
    frame = player.app.playback.frame
    assert frame is not None and np.array_equal(frame, clip[-1]) and player.view.shown == 0
    player.press(".")
    player.wait(1)
    frame = player.app.playback.frame
    assert frame is not None and not np.array_equal(frame, clip[-1]) and player.view.shown == 1


def test_what_cannot_be_kept_at_the_start_is_told(start: Callable[..., Player]) -> None:
    player = start()
    player.wait(8)
    player.press("space")
    player.press("home")
    player.press("b")
    player.wait(1)
    assert "Nothing has been played yet; play the first block" in player.told
    player.press(".")
    player.wait(20)
    player.press("b")
    player.wait(1)
    assert "Bookmark 1" in player.told


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("all nine bookmarks are taken", "All nine bookmarks are taken"),
        ("width 830 is not", "Width 830 is not"),
        ("two.yaml:6: unknown key", "two.yaml:6: unknown key"),
        ("out/play is full", "out/play is full"),
        ("Recache: none", "Recache: none"),
        ("", ""),
    ],
)
def test_messages_begin_with_a_capital(text: str, shown: str) -> None:
    assert as_sentence(text) == shown


def test_a_worker_that_is_closed_on_the_way_back_stops(begin: Start) -> None:
    worker: Worker = begin(budget_bytes=0)
    watch(worker, 5)
    worker.commands.rewind(3)
    worker.exchange.stop()
    worker.turn()
    assert any("closed on the way back" in notice.text for notice in worker.exchange.take_notices())


def test_a_stopped_way_goes_on_from_the_snapshots_that_it_took(make_session: Make) -> None:
    session = make_session()
    whole = advance(session, 12)
    left = replace(session.history.branch(12), saved=None, at=0)
    session.reset(9)
    session.history.remember(left)
    session.history._saved.clear()
    advance(session, 2)
    counts: list[tuple[int, int]] = []

    def stop_at_eight(done: int, count: int) -> None:
        counts.append((done, count))
        if (done, count) == (8, 12):
            raise InterruptedError

    with pytest.raises(InterruptedError):
        session.undo(2, stop_at_eight)
    session.undo(2, stop_at_eight)
    assert counts[-1] == (4, 4) and [beat.digest for beat in session.history.beats] == whole


@pytest.mark.parametrize("then", ["before", "after"])
def test_a_stop_reaches_what_was_asked_before_it(
    begin: Start, then: str, while_generating: Callable[[int, Callable[[], object]], None]
) -> None:
    """And nothing that is asked after it."""
    worker = begin(budget_bytes=0)
    watch(worker, 6)
    settle(worker)
    exchange = worker.exchange

    def stop() -> None:
        if then == "before":
            worker.commands.rewind(2)
        assert exchange.halt()
        if then == "after":
            worker.commands.rewind(2)

    while_generating(2, stop)
    worker.commands.rewind(4)
    settle(worker)
    assert exchange.shown == (6 if then == "before" else 2)
    exchange.take_notices()
    worker.commands.go_ahead(8)
    settle(worker)
    assert exchange.shown == 8  # no stop is left over


def test_a_way_ahead_that_ends_before_its_first_block_keeps_the_picture(start: Start, plan: Plan) -> None:
    player = start(replace(plan, start=np.full((9, 32, 48, 3), 90, np.uint8)))
    player.play(3)
    player.press("space")
    frames = player.app.playback.frame
    player.worker.commands.go_ahead(9)
    player.worker.commands.ask(OWL)  # so the way ahead ends at once
    player.settle()
    player.wait()
    picture = player.app.playback.frame
    assert picture is not None and frames is not None and not (picture == 90).all()
    assert player.app.playback.block is not None


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_few_words_mean_the_same_when_they_are_played_again(
    small_world: World, plan: Plan, position: int
) -> None:
    one = small_world
    models = one.config, one.transformer, one.codec, one.text_encoding, one.tokenizer
    session = Session(World(*models, tiny_completion()), replace(plan, prompt="a cat"))
    said = ("a cat", "jump", "at night", "on the beach")

    def play_on() -> list[str]:
        """Play a block of each prompt from here on; returns what they stand for."""
        wholes = []
        for words in said[session.position :]:
            session.ask(words)
            promised = view_of(session, None).whole
            advance(session, 1)
            wholes += session.rollout.whole_prompts
            assert promised == (wholes[-1] if session.position > 1 else "")
        return wholes

    wholes = play_on()
    assert wholes == [
        "an orange cat stands still in the meadow on a clear day",
        "an orange cat jumps in the meadow on a clear day",
        "an orange cat jumps in the meadow at night",
        "an orange cat jumps on the beach at night",
    ]
    shown = [beat.digest for beat in session.history.beats]
    session.rewind(position)
    assert play_on() == wholes[position:]
    assert [beat.digest for beat in session.history.beats] == shown


def test_another_take_begins_with_what_a_few_words_stand_for(small_world: World, plan: Plan) -> None:
    one = small_world
    models = one.config, one.transformer, one.codec, one.text_encoding, one.tokenizer
    session = Session(World(*models, tiny_completion()), replace(plan, prompt="a cat at night"))
    assert view_of(session, None).whole == ""  # what is asked for now opens the take
    advance(session, 2)
    session.ask("jump")
    advance(session, 2)
    session.ask("in the city")
    session.reset(position=3)
    assert session.prompt == "an orange cat jumps in the city at night"
    advance(session, 1)
    assert session.rollout.whole_prompts == [session.prompt]
