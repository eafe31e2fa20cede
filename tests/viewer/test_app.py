"""The window under SDL's dummy driver: every key, the mouse and the gamepad."""

import dataclasses
import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import pygame
import pytest
from viewer_player import Asks, Player
from viewer_stage import CAT, DOG, OWL, SCENARIO

from longlive_env import World
from longlive_env.cli.run import _parser
from longlive_env.engine.load_options import checked_config
from longlive_env.errors import BackendError
from longlive_env.recording import Recording, read_log
from longlive_env.scenario import Plan, load_scenario, parse_scenario
from longlive_env.viewer import news, panels
from longlive_env.viewer.actions import ACTIONS
from longlive_env.viewer.bindings import Bindings
from longlive_env.viewer.display import open_display
from longlive_env.viewer.news import faster_options
from longlive_env.viewer.session import Session

Start = Callable[..., Player]


def test_frames_are_shown_in_their_order_at_their_time(start: Start) -> None:
    player = start()
    positions = []
    for _ in range(20):
        player.wait()
        positions.append(player.app.playback.position)
    assert positions[:6] == pytest.approx([4 / 9, 5 / 9, 6 / 9, 7 / 9, 8 / 9, 1])
    assert positions[6] == pytest.approx(1 + 1 / 12) and positions == sorted(positions)
    player.now -= 1 / 16 - 0.001  # nothing happens before its time
    player.wait()
    assert player.app.playback.position == positions[-1]


def test_steering(start: Start) -> None:
    player = start()
    for chord, words in (
        ("left", "moves left"),
        ("right", "walks right"),
        ("down", "stands still"),
        ("a", "moves left"),
        ("d", "walks right"),
        ("s", "stands still"),
        ("1", "in the rain"),
    ):
        player.press(chord)
        assert words in player.worker.exchange.wanted(), chord
    assert "city" in player.worker.exchange.wanted() and "stands still" in player.worker.exchange.wanted()
    for chord in ("up", "w", "2"):
        player.press("left")
        player.press(chord)
        assert player.worker.exchange.wanted() == OWL
    player.press("9")  # there are but two
    assert player.worker.exchange.wanted() == OWL
    player.press("q")
    assert "in the rain" in player.worker.exchange.wanted()
    player.wait(12)
    played = player.app.playback.played
    assert played is not None and "in the rain" in played.beat.prompt and played.beat.block == 1
    assert player.app.playback.latency_s is not None and player.app.playback.latency_s < 12 / 16


def test_writing_a_prompt(start: Start) -> None:
    player = start()
    for opener in ("enter", "t"):
        player.press(opener)
        assert player.app.box is not None
        player.press("escape")
        assert player.app.box is None
    player.press("t")
    box = player.app.box
    assert box is not None and box.line.selected == CAT  # what is written replaces it
    player.type("a blue zeppelin")
    assert box.line.text == "a blue zeppelin" and box.unknown_spans == [(7, 15)]
    player.press("space")  # not pause: the text that it means comes as text
    assert not player.app.playback.paused
    for _ in range(9):
        player.press("backspace")
    player.type(" cat jum")
    player.press("tab")
    assert box.line.text == "a blue cat jumps" and not box.unknown_spans
    player.press("ctrl+a")
    player.press("ctrl+c")
    player.press("ctrl+x")
    assert box.line.text == ""
    player.press("enter")
    assert player.app.box is box and "empty" in box.error
    player.press("ctrl+v")
    assert box.line.text == "a blue cat jumps" and not box.error
    player.press("home")
    player.press("shift+end")
    assert box.line.selected == box.line.text
    player.press("end")
    player.type(" in the city")
    player.wait(2)
    player.press("enter")
    assert player.app.box is None and player.worker.exchange.wanted() == "a blue cat jumps in the city"
    player.press("t")
    player.press("up")
    player.press("up")
    box = player.app.box
    assert box is not None and box.line.text == CAT
    player.press("f3")  # function keys do what they always do
    assert player.app.controls.open.stats and player.app.box is box
    player.type("a " * 40)
    player.press("enter")
    assert "longer than" in box.error
    player.wait(2)


def test_keys_that_come_with_the_one_that_opens_the_box_are_written(start: Start) -> None:
    """SDL sends no text for keys that are pressed before the box is open, late as a busy machine may be."""
    player = start()
    for letter in "ta Cat":
        shift = pygame.KMOD_LSHIFT if letter.isupper() else 0
        event = pygame.Event(pygame.KEYDOWN, key=ord(letter.lower()), mod=shift, unicode=letter, scancode=0)
        pygame.event.post(event)
    player.app.frame()
    assert player.app.box is not None and player.app.box.line.text == "a Cat"
    pygame.event.post(pygame.Event(pygame.KEYDOWN, key=ord("s"), mod=0, unicode="s", scancode=0))
    player.type("s")
    assert player.app.box.line.text == "a Cats"


def test_a_click_on_the_prompt_opens_the_box(start: Start) -> None:
    player = start()
    player.wait()
    player.click(*player.app.screen.places.caption.center)
    box = player.app.box
    assert box is not None and box.line.selected == CAT and not player.app.playback.paused


def test_keys_of_an_input_method_are_its_own(start: Start) -> None:
    player = start()
    player.press("t")
    box = player.app.box
    assert box is not None
    pygame.event.post(pygame.Event(pygame.TEXTEDITING, text="neko", start=0, length=4))
    player.app.frame()
    for key in ("backspace", "enter", "escape"):
        player.press(key)
    assert player.app.box is box and box.line.selected == CAT and box.composed == "neko"
    player.type("猫")
    assert not box.composed
    player.press("ctrl+alt+a")  # AltGr as Windows tells it: no shortcut
    player.type("ą")
    assert box.line.text == "猫ą"
    player.press("escape")
    assert player.app.box is None


def test_the_mouse_in_the_box(start: Start) -> None:
    player = start()
    player.press("t")
    player.wait()
    box = player.app.box
    assert box is not None
    left, right = (20, box.caret.centery), (620, box.caret.centery)
    player.click(*left)
    assert box.line.cursor == 0
    player.click(*right)
    assert box.line.cursor == len(CAT)
    pygame.event.post(pygame.Event(pygame.MOUSEBUTTONDOWN, pos=left, button=1))
    pygame.event.post(pygame.Event(pygame.MOUSEMOTION, pos=(640, 0), rel=(1, 0), buttons=(1, 0, 0)))
    player.app.frame()
    assert player.app.box is box and box.line.selected == CAT


def test_a_press_beside_the_box_leaves_it_and_does_nothing_else(start: Start) -> None:
    player = start()
    scale = player.app.screen.timeline._scale
    assert scale is not None
    past = scale.x(0.5), scale.rect.centery
    for point in (player.app.screen.places.caption.center, (320, 100), past):
        player.press("t")
        player.type("a blue car")
        player.click(*point)
        assert player.app.box is None and player.worker.exchange.wanted() == CAT
        assert not player.app.playback.paused and player.view.epoch == 0


def test_a_double_click_beside_the_box_leaves_it_and_does_nothing_else(start: Start) -> None:
    player = start()
    player.press("t")
    for clicks in (1, 2):
        pygame.event.post(pygame.Event(pygame.MOUSEBUTTONDOWN, pos=(320, 100), button=1, clicks=clicks))
        pygame.event.post(pygame.Event(pygame.MOUSEBUTTONUP, pos=(320, 100), button=1))
    player.app.frame()
    assert player.app.box is None and not player.app.playback.paused
    player.click(320, 100)
    assert player.app.playback.paused


def test_the_help_is_above_the_box(start: Start) -> None:
    player = start()
    player.press("t")
    box = player.app.box
    player.press("f1")
    player.click(5, 5)
    assert player.app.box is box and not player.app.controls.open.help


def test_a_press_on_a_suggestion_takes_it(start: Start) -> None:
    player = start()
    player.press("t")
    player.type("a cat on the be")
    box = player.app.box
    assert box is not None
    player.click(*box._offers[0][0].center)
    assert player.app.box is box and box.line.text == "a cat on the beach"


def test_the_input_method_learns_where_the_text_is(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    placed: list[pygame.Rect] = []
    monkeypatch.setattr(pygame.key, "set_text_input_rect", placed.append)
    player = start()
    player.press("t")
    player.type("a ")
    told = len(placed)
    player.wait(2)  # drawn again
    assert len(placed) == told
    player.type("猫")
    assert len(placed) == told + 1 and placed[-1].x > placed[-2].x
    assert player.app.window.size[1] / 2 < placed[-1].y < player.app.window.size[1]


def test_time(start: Start) -> None:
    player = start()
    player.wait(20)
    player.press("space")
    position = player.app.playback.position
    player.wait(5)
    assert player.app.playback.paused and player.app.playback.position == position
    player.press(".")
    player.wait(30)
    assert player.app.playback.position == int(position) + 1
    player.press(".")
    player.wait(30)
    assert player.app.playback.position == int(position) + 2
    player.press("space")
    player.wait(3)
    assert not player.app.playback.paused and player.app.playback.position > int(position) + 2
    player.press("ctrl+backspace")
    player.wait()
    assert player.app.playback.paused and player.app.playback.position == int(position) + 2
    player.press("ctrl+backspace")
    player.wait()
    assert player.app.playback.position == int(position) + 1
    player.press("r")
    player.press("space")
    player.wait(2)
    assert player.app.playback.position < 1 and player.view.seed == 5
    player.press("shift+r")
    player.wait(2)
    assert player.view.seed != 5
    for key, same in (("home", True), ("shift+home", False)):
        seed = player.view.seed
        player.press(key)
        player.wait(2)
        assert player.app.playback.position < 1 and (player.view.seed == seed) is same


def test_stepping_back_from_change_to_change(start: Start) -> None:
    player = start()
    player.wait(25)
    for key in ("left", "up"):
        player.press(key)
        player.wait(40)
    changes = [span.begin for span in player.view.spans]
    assert len(changes) == 3
    for begin in reversed(changes):
        player.press("backspace")
        player.wait(1)
        assert player.app.playback.position == begin
        player.wait(4)
    assert player.view.wanted == CAT


@pytest.mark.parametrize("key", ["ctrl+z", "u"])
def test_a_new_start_is_undone(start: Start, key: str) -> None:
    player = start()
    player.press(key)
    player.wait()
    assert "undo yet" in player.told
    player.wait(40)
    before = player.view
    player.press("r")
    player.wait(20)
    player.press(key)
    player.wait(1)
    assert player.view.shown == before.shown and player.view.spans[0].prompt == before.spans[0].prompt
    assert player.app.playback.position == before.shown


def test_a_change_that_nobody_has_seen_is_taken_back_first(start: Start) -> None:
    player = start()
    player.press("left")
    player.wait(40)
    player.press("up")
    assert player.worker.exchange.wanted() == OWL
    shown = player.view.shown
    player.press("backspace")
    player.wait(1)
    assert player.view.shown == shown and "moves left" in player.worker.exchange.wanted()


def test_bookmarks(start: Start) -> None:
    player = start()
    player.press("shift+b")
    assert "no bookmark yet" in player.told
    player.wait(12)
    player.press("b")
    player.wait(12)
    player.press("ctrl+4")
    player.press("up")
    player.wait(40)
    player.press("shift+1")
    player.wait(1)
    assert player.app.playback.position == 2 and player.view.wanted == CAT
    player.press("shift+b")
    player.wait(1)
    assert player.app.playback.position == player.view.marks[1].position
    player.press("shift+7")
    player.wait(1)
    assert "no bookmark 7" in player.told
    mark = player.app.screen.timeline._flags[0][0]
    player.click(*mark.center)
    player.wait(1)
    assert player.app.playback.position == 2


def test_the_timeline_leads_back(start: Start, story: Plan) -> None:
    player = start(story)
    player.wait(12)
    pygame.event.post(pygame.Event(pygame.MOUSEMOTION, pos=(20, 350), rel=(1, 0), buttons=(0, 0, 0)))
    player.wait(2)
    assert player.view.cues == {2: DOG}
    player.wait(40)
    scale = player.app.screen.timeline._scale
    assert scale is not None
    player.click(scale.x(1.5), scale.rect.centery)
    player.wait(1)
    assert player.app.playback.position == 1 and player.view.cues == {2: DOG}
    player.click(scale.x(20), scale.rect.centery)  # nobody has been there
    player.wait(1)
    assert player.app.playback.position > 1
    player.click(*player.app.screen.stage.rect.center)
    assert player.app.playback.paused


def test_the_end_of_a_story_is_told_once(start: Start, story: Plan) -> None:
    player = start(story)
    player.wait(62)
    assert player.view.ends == 6 and "story ends" not in player.told
    player.wait(8)
    assert "story ends" in player.told and player.app.playback.position >= 6
    player.press("up")
    player.wait(12 * 5)
    assert "story ends" not in player.told and player.view.ends is None


def test_notes_are_shown_when_they_are_due(start: Start, small_world: World) -> None:
    text = SCENARIO.replace(f"prompt: {DOG}", f'prompt: {DOG}, note: "Ask: where is it now?"')
    player = start(parse_scenario(text, "notes.yaml").plan(small_world.config))
    player.wait(12)
    assert "Ask" not in player.told
    player.wait(12)
    assert "Ask: where is it now?" in player.told
    player.wait(6 * 16)
    assert "Ask" in player.told  # long enough to be read aloud


def test_the_first_keys_are_shown_until_one_is_pressed(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    player = start()

    def hints() -> float:
        return player.app._scene().hints

    assert hints() == 1
    player.wait(32)
    assert hints() == 1
    drawn: list[float] = []
    monkeypatch.setattr(panels, "draw_hints", lambda *args: drawn.append(args[-1]))
    player.app.draw()
    assert drawn == [1]
    for panel in ("cards", "stats", "help"):  # which they would be drawn over
        setattr(player.app.controls.open, panel, True)
        player.app.draw()
        setattr(player.app.controls.open, panel, False)
    assert drawn == [1]
    player.press("left")
    player.wait(16)
    assert hints() == 0


def test_the_agent_takes_the_seat(start: Start) -> None:
    player = start(agent=Asks())
    player.wait(12)
    player.press("tab")
    player.wait(20)
    assert player.view.seat == "agent" and player.view.wanted == OWL
    assert player.view.spans[-1].source == "agent"
    player.press("tab")
    player.press("left")
    player.wait(20)
    assert player.view.seat == "you" and "moves left" in player.view.wanted


def test_an_agent_may_begin(start: Start) -> None:
    player = start(agent=Asks(), options={"agent_first": True})
    player.wait(20)
    assert player.view.seat == "agent"


def test_switches_of_the_window(start: Start) -> None:
    player = start()
    for chord, name in (("f1", "help"), ("f2", "cards"), ("f3", "stats")):
        player.press(chord)
        player.wait()
        assert getattr(player.app.controls.open, name)
    player.press("escape")
    assert not player.app.controls.open.help and player.app.controls.open.cards
    player.press("escape")
    assert not player.app.controls.open.cards and not player.app.controls.open.stats
    player.press("escape")
    assert "Ctrl+Q quits" in player.told
    crisp = player.app.screen.stage.crisp
    player.press("f4")
    player.wait()
    assert player.app.screen.stage.crisp != crisp
    player.press("c")
    assert player.view.recache == "none"
    player.press("f6")
    assert "no scenario to read again" in player.told
    player.press("f5")
    assert player.worker.exchange.wanted() != CAT
    size = player.app.window.size
    player.press("f11")
    player.wait()
    assert player.app.window.size != size
    player.press("alt+enter")
    player.wait()
    assert player.app.window.size == size
    player.press("f11")
    player.press("escape")
    assert player.app.window.size == size
    player.press("ctrl+q")
    assert not player.app.running


def test_files(start: Start, tmp_path: Path) -> None:
    player = start()
    player.press("f12")
    (shot,) = (tmp_path / "out").glob("screenshot-*.png")
    assert pygame.image.load(str(shot)).get_size() == (640, 400)
    player.wait(12)
    player.press("up")
    player.wait(20)
    player.press("ctrl+s")
    player.press("f8")
    player.wait()
    first, second = sorted((tmp_path / "out").glob("scenario-*.yaml"))
    scenario = load_scenario(str(first))
    assert scenario.prompt == CAT and len(scenario.timeline) == 1 and "Saved" in player.told
    assert scenario.timeline == load_scenario(str(second)).timeline
    player.press("f9")
    player.wait(30)
    player.press("f9")
    player.wait()
    assert "Recorded" in player.told


def test_the_picture_itself_is_saved_as_it_was_generated(start: Start, tmp_path: Path) -> None:
    player = start()
    player.press("f2")
    player.wait(5)
    frames = []
    for _ in range(2):  # of which the second one replaces nothing, though it may have the same name
        assert player.app.playback.frame is not None
        frames.append(player.app.playback.frame.tobytes())
        player.press("shift+f12")
        player.wait(2)
    assert "Picture: " in player.told
    kept = [pygame.image.load(str(path)) for path in (tmp_path / "out").glob("picture-*.png")]
    assert [picture.get_size() for picture in kept] == [(48, 32)] * 2
    assert {pygame.image.tobytes(picture, "RGB") for picture in kept} == set(frames)


def test_a_picture_that_cannot_be_saved(start: Start, tmp_path: Path) -> None:
    player = start()
    (tmp_path / "out").write_text("")  # where the folder would be
    player.press("shift+f12")
    assert f"Not saved: {tmp_path / 'out'}: " in player.told
    player.app.playback.frame = None
    player.press("shift+f12")
    assert "no picture yet" in player.told


@pytest.mark.parametrize(
    ("key", "kind"), [("f12", "screenshot"), ("shift+f12", "picture"), ("ctrl+s", "scenario")]
)
def test_a_full_disk_leaves_no_half_file(
    start: Start, plan: Plan, tmp_path: Path, full_at: Callable[[int], None], key: str, kind: str
) -> None:
    clip = np.random.default_rng(0).integers(0, 256, (9, 32, 48, 3), np.uint8)
    player = start(dataclasses.replace(plan, start=clip))
    player.wait(12)
    full_at(128)
    player.press(key)
    player.app._update()
    full_at(1 << 30)
    assert f"Not saved: {tmp_path / 'out' / kind}-" in player.told
    assert kind == "scenario" or player.told.endswith(f".png: {os.strerror(errno.EFBIG)}")
    assert not [*(tmp_path / "out").iterdir()]
    player.press(key)
    assert len([*(tmp_path / "out").iterdir()]) == (2 if kind == "scenario" else 1)


def test_the_frames_beside_a_scenario_that_cannot_be_saved_are_removed(
    start: Start, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    player = start(dataclasses.replace(plan, start=np.zeros((9, 32, 48, 3), np.uint8)))
    player.wait(12)
    monkeypatch.setattr(Path, "write_text", full)
    player.press("ctrl+s")
    player.wait()
    assert player.told.endswith(".yaml: No space left on device")
    assert not [*(tmp_path / "out").iterdir()]


def test_held_keys_act_once_while_a_prompt_is_written(start: Start) -> None:
    player = start()
    player.press("t")
    box = player.app.box
    assert box is not None
    player.press("f3", repeats=3)
    assert player.app.controls.open.stats
    player.press("f3", repeats=3)
    assert not player.app.controls.open.stats
    player.press("end")
    player.press("backspace", repeats=3)  # the box's own keys repeat
    assert player.app.box is box and box.line.text == CAT[:-4]


def test_an_interrupt_while_the_recording_is_finished(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    close = Recording.close

    def slow(recording: Recording) -> None:
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)
        close(recording)

    before = signal.getsignal(signal.SIGINT)
    player = start()
    player.press("f9")
    player.wait(30)
    monkeypatch.setattr(Recording, "close", slow)
    try:
        player.app.__exit__(None, None, None)
    except KeyboardInterrupt:
        pytest.fail("the recording is unfinished")
    assert signal.getsignal(signal.SIGINT) is before
    player.app.__enter__()  # the fixture closes it once more
    assert capfd.readouterr().err.count("finishing the recording") == 1
    (folder,) = (tmp_path / "out").iterdir()
    assert read_log(folder / "actions.jsonl").complete and (folder / "sheet.png").exists()


def test_the_picture_alone(start: Start, story: Plan) -> None:
    player = start(story)
    player.wait(12)
    spots = [player.app.screen.places.caption, player.app.screen.places.cards]
    with_dock = player.app.screen.stage.rect
    player.press("f10")
    player.wait()
    assert player.app.screen.stage.rect.height == 400 > with_dock.height  # all of the window's
    assert "F10 brings the dock back" in player.told
    player.app.messages.clear()
    frame = player.app.playback.frame
    assert frame is not None
    picture = pygame.image.frombuffer(frame.tobytes(), (48, 32), "RGB").convert(32)
    rect = player.app.screen.stage.rect
    shown = player.app.draw().subsurface(rect)
    expected = pygame.transform.smoothscale(picture, rect.size)
    assert pygame.image.tobytes(shown, "RGB") == pygame.image.tobytes(expected, "RGB")
    paused = False
    for spot in spots:  # which the picture covers
        player.click(*spot.center)
        paused = not paused
        assert player.app.playback.paused is paused and player.app.box is None
    player.click(40, 370)  # where the timeline was
    assert player.app.playback.paused and player.app.playback.position > 1
    player.press("space")
    player.play(5)
    assert "story ends" in player.told  # messages appear all the same
    player.press("f11")
    player.wait()
    assert player.app.screen.stage.rect.width == player.app.window.surface().get_width() == 1024
    player.press("escape")
    player.wait()
    assert player.app.window.fullscreen and player.app.controls.open.dock
    player.press("escape")
    player.wait()
    assert not player.app.window.fullscreen and player.app.screen.stage.rect == with_dock
    player.click(*player.app.screen.places.caption.center)
    assert player.app.box is not None


def test_the_command_that_plays_a_saved_take_loads_the_world_as_it_was(
    start: Start,
    small_world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked = {"codec": "light", "kv_precision": "fp8", "memory": "8", "steps": "2", "rope": "absolute"}
    monkeypatch.setattr(small_world, "options", asked)
    player = start()
    player.wait(12)
    player.press("ctrl+s")
    player.wait()
    (file,) = (tmp_path / "out").glob("scenario-*.yaml")
    told = player.told.removeprefix("Saved: longlive ")
    assert told == f"run {file} --codec light --kv-precision fp8 --memory 8 --steps 2 --rope absolute"
    assert _parser().parse_args(told.split()[1:]).steps == 2  # longlive run knows them all
    first, _, rest = file.read_text(encoding="utf-8").partition("\n")
    assert first == f"# longlive {told}" and rest.startswith("name: ")  # once the message has faded
    assert load_scenario(str(file)).prompt == CAT
    assert caplog.messages == [f"saved: longlive {told}"]  # which goes to stderr


def test_a_place_with_a_strange_name_is_no_part_of_the_yaml(start: Start, tmp_path: Path) -> None:
    out = tmp_path / "one\nname: two\x07"
    player = start(options={"out": out})
    player.wait(12)
    player.press("ctrl+s")
    (file,) = out.glob("scenario-*.yaml")
    assert "one\\nname: two\\x07" in file.read_text(encoding="utf-8").splitlines()[0]
    assert load_scenario(str(file)).name == file.stem


def test_a_saved_take_keeps_the_keys_of_its_scenario(start: Start, tmp_path: Path) -> None:
    """After its file was read again, those of then."""
    more = "  down: {subject: a dog, colour: red}\n  n: {weather: at night}\n  '7': a cat\nquick:"
    scenario = parse_scenario(SCENARIO, "two.yaml")
    again = parse_scenario(SCENARIO.replace("quick:", more), "two.yaml")
    player = start(options={"scenario": scenario, "read_again": lambda: again})
    for expected in (scenario, again):
        player.wait(12)
        player.press("ctrl+s")
        *_, file = sorted(
            (tmp_path / "out").glob("scenario-*.yaml"), key=lambda path: path.stat().st_mtime_ns
        )
        saved = load_scenario(str(file))
        assert {key: str(change) for key, change in saved.keys.items()} == {
            key: str(change) for key, change in expected.keys.items()
        }
        assert [*map(str, saved.quick)] == ["weather: in the rain", OWL]
        player.press("f6")


def test_a_saved_take_keeps_the_frames_that_it_went_on_from(
    start: Start, plan: Plan, small_world: World, tmp_path: Path
) -> None:
    clip = np.random.default_rng(0).integers(0, 256, (9, 32, 48, 3), np.uint8)
    player = start(dataclasses.replace(plan, start=clip))
    player.wait(12)
    player.press("ctrl+s")
    player.wait()
    (file,) = (tmp_path / "out").glob("scenario-*.yaml")
    again = load_scenario(str(file)).plan(small_world.config)
    assert again.start is not None and np.array_equal(again.start, clip)


def test_a_window_that_is_closed_leaves_a_recording_that_plays(start: Start, tmp_path: Path) -> None:
    player = start()
    player.press("f9")
    player.wait(30)
    pygame.event.post(pygame.Event(pygame.QUIT))
    player.wait()
    assert not player.app.running
    player.app.__exit__(None, None, None)
    player.app.__enter__()  # the fixture closes it once more
    (video,) = (tmp_path / "out").glob("recording-*/video.mp4")
    with av.open(str(video)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 45


def test_the_gamepad(start: Start) -> None:
    player = start()

    def pad(kind: int, **values: Any) -> None:
        pygame.event.post(pygame.Event(kind, instance_id=0, **values))
        player.app.frame()
        while player.worker.turn():
            pass

    pad(pygame.CONTROLLERBUTTONDOWN, button=pygame.CONTROLLER_BUTTON_DPAD_LEFT)
    assert "moves left" in player.worker.exchange.wanted()
    pad(pygame.CONTROLLERBUTTONDOWN, button=pygame.CONTROLLER_BUTTON_START)
    assert player.app.playback.paused
    axis = pygame.CONTROLLER_AXIS_LEFTX
    for value in (9000, 30000, 32000, 25000):
        pad(pygame.CONTROLLERAXISMOTION, axis=axis, value=value)
    assert "walks right" in player.worker.exchange.wanted()
    pad(pygame.CONTROLLERBUTTONDOWN, button=pygame.CONTROLLER_BUTTON_DPAD_LEFT)
    pad(pygame.CONTROLLERAXISMOTION, axis=axis, value=31000)  # it has not been let go
    assert "moves left" in player.worker.exchange.wanted()
    pad(pygame.CONTROLLERAXISMOTION, axis=axis, value=0)
    pad(pygame.CONTROLLERAXISMOTION, axis=axis, value=31000)
    assert "walks right" in player.worker.exchange.wanted()
    position = int(player.app.playback.position)
    axis = pygame.CONTROLLER_AXIS_RIGHTX
    for value in (30000, 0):
        pad(pygame.CONTROLLERAXISMOTION, axis=axis, value=value)
    player.wait(30)
    assert player.app.playback.paused and player.app.playback.position == position + 1
    for trigger in (pygame.CONTROLLER_AXIS_TRIGGERLEFT, pygame.CONTROLLER_AXIS_TRIGGERRIGHT):
        for value in (32767, 20000, 0):
            pad(pygame.CONTROLLERAXISMOTION, axis=trigger, value=value)
    player.wait()
    assert player.view.recording is not None and "Screenshot" in player.told
    pad(pygame.CONTROLLERDEVICEREMOVED)


def test_what_stops_the_world_is_on_the_screen(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    player = start()
    plain = pygame.image.tobytes(player.app.draw(), "RGB")
    with monkeypatch.context() as patch:
        patch.setattr(Session, "advance", lambda self: 1 / 0)
        player.wait(40)
        assert player.worker.exchange.status()[1] == "ZeroDivisionError: division by zero"
        assert pygame.image.tobytes(player.app.draw(), "RGB") != plain
    player.press("ctrl+backspace")
    player.press("space")
    player.wait(30)
    assert player.worker.exchange.status() == (None, None) and player.app.playback.position > 2


@pytest.mark.parametrize(
    ("steps", "codec", "options"),
    [
        (4, None, "--steps 2 --codec light"),
        (2, None, "--steps 1 --codec light"),
        (1, None, "--codec light"),
        (2, "light", "--steps 1"),
        (1, "light", ""),
    ],
)
def test_what_makes_a_world_faster(steps: int, codec: Literal["light"] | None, options: str) -> None:
    config = checked_config("tiny", steps=steps, codec=codec)
    assert faster_options(config) == options
    assert faster_options(config, bfloat16=True) == f"--precision bf16 {options}".strip()


@pytest.mark.parametrize(("gain", "options"), [(1.0, "--steps 1"), (3.0, "--precision bf16 --steps 1")])
def test_a_slow_world_brings_advice_once(
    start: Start, monkeypatch: pytest.MonkeyPatch, gain: float, options: str
) -> None:
    monkeypatch.setattr(news, "bfloat16_gain", lambda: gain)
    player = start()
    for _ in range(200):  # a third of the speed
        player.wait()
        player.now += 2 / 16
        if "--steps 1" in player.told:
            break
    assert f"longlive play {options} is faster" in player.told
    player.app.messages.clear()
    for _ in range(200):
        player.wait()
        player.now += 2 / 16
        assert "--steps" not in player.told


def test_a_machine_that_slept_brings_none(start: Start) -> None:
    player = start()
    player.play(3)
    player.now += 3600
    for _ in range(40):
        player.wait()
        assert "--steps" not in player.told and not player.app.playback.clock.slow(player.now)


def test_a_recorded_run_that_is_slow_brings_none(start: Start) -> None:
    """Other options would not show it."""
    player = start(options={"replays": True})
    for _ in range(200):
        player.wait()
        player.now += 2 / 16
        assert "--steps" not in player.told
    assert player.app.playback.clock.slow(player.now)


def test_a_world_that_keeps_up_brings_none(start: Start) -> None:
    player = start()
    for _ in range(300):
        player.wait()
        assert "--steps" not in player.told


def test_the_mouse_is_not_drawn_for_each_of_its_steps(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    player, drawn = start(), []
    player.press("space")
    player.now += 60  # hints and messages have faded
    player.wait(2)
    draw = player.app.draw
    monkeypatch.setattr(player.app, "draw", lambda: drawn.append(player.now) or draw())
    for step in range(40):  # one each 8 ms
        pygame.event.post(
            pygame.Event(pygame.MOUSEMOTION, pos=(300 + step, 380), buttons=(0, 0, 0), rel=(1, 0))
        )
        player.app.frame()
        player.now += 0.008
    assert 8 <= len(drawn) <= 12
    player.now += 0.04
    player.app.frame()
    assert drawn[-1] == player.now  # the last step is seen, too


def test_keys_of_ones_own(start: Start) -> None:
    bindings = Bindings.parse("pause: x\nrewind: [y, x]\nbookmark: b\n", "keys.yaml")
    player = start(options={"bindings": bindings})
    assert "x means pause already" in player.told
    player.press("space")
    assert not player.app.playback.paused
    player.press("x")
    assert player.app.playback.paused


def test_every_action_has_been_pressed_here() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    chords = {action.name: action.keys for action in ACTIONS if not action.name[-1].isdigit()}
    missing = [name for name, keys in chords.items() if not any(f'"{chord}"' in source for chord in keys)]
    assert not missing


def test_no_window_is_opened_that_nobody_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pygame.display, "quit", lambda: None)
    monkeypatch.setattr(pygame.display, "get_driver", lambda: "offscreen")
    assert len(open_display()) == 2  # that driver was asked for, by SDL_VIDEODRIVER
    monkeypatch.delenv("SDL_VIDEODRIVER")
    with pytest.raises(BackendError, match=r"no window can be opened here: .*offscreen.*longlive run"):
        open_display()

    def fails() -> None:
        raise pygame.error("No available video device")

    monkeypatch.setattr(pygame.display, "init", fails)
    with pytest.raises(BackendError, match="No available video device; play where there is a display"):
        open_display()
