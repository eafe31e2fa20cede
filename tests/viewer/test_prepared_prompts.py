"""Prompts that are prepared for a number key, and those that are found again another day."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pygame
import pytest
from viewer_player import Player
from viewer_stage import CAT, DOG, OWL, SCENARIO

from longlive_env.scenario import parse_scenario
from longlive_env.viewer.bindings import Bindings
from longlive_env.viewer.prompt_file import PromptFile
from longlive_env.viewer.prompt_line import HISTORY
from longlive_env.viewer.steering import Steering

Start = Callable[..., Player]


def prepare(player: Player, text: str, chord: str) -> None:
    """Write a line and keep it."""
    if player.app.box is None:
        player.press("t")
    player.press("a")  # text follows on a key
    player.type(text)
    player.press(chord)


def test_a_line_is_kept_for_a_number_key(start: Start) -> None:
    player = start()
    prepare(player, DOG, "alt+7")
    assert f"7 asks for it from now on: {DOG}" in player.told
    box = player.app.box
    assert box is not None and box.line.selected == DOG and player.worker.exchange.wanted() == CAT
    prepare(player, OWL, "alt+1")  # which the scenario had another use for
    player.press("escape")
    for key, wanted in (("7", DOG), ("1", OWL), ("2", OWL), ("7", DOG)):
        player.press(key)
        assert player.worker.exchange.wanted() == wanted
    player.press("f2")
    player.app.draw()
    (sheet,) = player.app.screen._sheets
    words = [change.words for _, change in sheet.cards]
    assert words[-3:] == [OWL, OWL, DOG]
    player.press("up")
    player.click(*sheet.cards[-1][0].center)
    assert player.worker.exchange.wanted() == DOG
    asked = []
    for _ in range(4):
        player.press("q")
        asked.append(player.worker.exchange.wanted())
    assert asked == [OWL, OWL, DOG, OWL]


@pytest.mark.parametrize(("platform", "heard"), [("linux", ["¡", "猫"]), ("darwin", ["猫"])])
def test_text_of_an_input_method_follows_on_a_kept_line(
    start: Start, monkeypatch: pytest.MonkeyPatch, platform: str, heard: list[str]
) -> None:
    """It comes without a key; only a Mac types something with the chord itself."""
    player = start()
    prepare(player, DOG, "alt+1")
    monkeypatch.setattr("sys.platform", platform)
    player.press("alt+1")
    box = player.app.box
    assert box is not None
    for text in ("¡", "猫"):
        player.type(text)
    assert box.line.text == "".join(heard)


def test_a_number_key_without_a_prompt_says_how_to_keep_one(start: Start) -> None:
    player = start()
    player.press("7")
    assert "There is no quick prompt 7; Alt+7 keeps one" in player.told
    assert player.worker.exchange.wanted() == CAT


def test_without_the_box_the_prompt_in_force_is_kept(start: Start) -> None:
    player = start()
    player.press("alt+3")
    player.press("up")
    assert player.worker.exchange.wanted() == OWL and player.app.box is None
    player.press("3")
    assert player.worker.exchange.wanted() == CAT


def test_a_line_that_the_world_cannot_read_is_not_kept(start: Start) -> None:
    player = start()
    for text, why in (("a " * 90, "longer than"), (" ", "empty")):
        player.press("t")
        box = player.app.box
        assert box is not None
        player.type(text)
        player.press("alt+5")
        assert why in box.error and "from now on" not in player.told
        player.press("escape")
    player.press("5")
    assert player.worker.exchange.wanted() == CAT


def test_what_option_and_a_number_type_is_not_written(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    player = start()
    monkeypatch.setattr("sys.platform", "darwin")
    prepare(player, DOG, "alt+1")
    player.type("¡")  # which a Mac sends after the key
    box = player.app.box
    assert box is not None and box.line.text == DOG
    player.press("a")
    player.type("a")
    assert box.line.text == "a"
    event = pygame.Event(
        pygame.KEYDOWN, key=ord("2"), mod=pygame.KMOD_LALT, scancode=0, typed="€", unicode="€"
    )
    pygame.event.post(event)  # from a browser
    player.app.frame()
    assert box.line.text == "a" and "2 asks for it" in player.told


def test_a_number_that_types_another_sign_with_altgr_does_so(start: Start) -> None:
    player = start()
    player.press("t")
    player.press("ctrl+alt+7")  # AltGr as Windows tells it
    player.type("{")
    box = player.app.box
    assert box is not None and box.line.text == "{" and "from now on" not in player.told


def test_a_prepared_prompt_comes_before_a_key_of_the_scenario() -> None:
    bindings = Bindings.default()
    text = SCENARIO.replace("  left:", f"  8: {OWL}\n  left:")
    steering = Steering.of(parse_scenario(text, "two.yaml"), "tiny", bindings)
    first = steering.change("8", "quick_8")
    assert first is not None and first.words == OWL and [*steering.numbered] == [1, 2]
    steering = steering.prepare(8, DOG, bindings)
    change = steering.change("8", "quick_8")
    assert change is not None and steering.apply(change, CAT) == DOG
    assert not steering.keys and [*steering.numbered] == [1, 2, 8]


def test_typed_prompts_are_found_another_day(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "mine" / "prompts.txt"
    player = start(options={"prompts": file})
    player.press("t")
    player.type(DOG)
    player.press("enter")
    prepare(player, "a red cat jumps im Schnee, été", "alt+4")
    player.press("escape")
    other = start(options={"prompts": file})
    other.press("t")
    box = other.app.box
    assert box is not None
    found = []
    for _ in range(4):
        other.press("up")
        found.append(box.line.text)
    assert found == [CAT, "a red cat jumps im Schnee, été", DOG, DOG]
    assert file.read_text(encoding="utf-8") == f"{DOG}\na red cat jumps im Schnee, été\n"
    if sys.platform != "win32":
        assert file.stat().st_mode & 0o077 == 0
    assert os.listdir(file.parent) == ["prompts.txt"]


def test_viewers_share_a_file_of_the_newest_prompts(tmp_path: Path) -> None:
    told: list[str] = []

    def tell(text: str, *, wrong: bool = False) -> None:
        told.append(text)

    one, other = PromptFile(tmp_path / "prompts.txt", tell), PromptFile(tmp_path / "prompts.txt", tell)
    for number in range(HISTORY):
        (one if number % 2 else other).add(f"prompt {number}")
    one.add("prompt 3")
    other.add("new")
    prompts = one.read()
    assert len(prompts) == HISTORY and prompts[:4] == ["prompt 1", "prompt 2", "prompt 4", "prompt 5"]
    assert prompts[-2:] == ["prompt 3", "new"] and not told


def test_a_damaged_file_is_no_error(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_bytes(b"\xff\xfe\x00\n" + DOG.encode() + b"\r\nbell \x07\n" + b"x" * 5000 + b"\n")
    player = start(options={"prompts": file})
    assert f"{file} is damaged" in player.told
    player.press("t")
    player.press("up")
    player.press("up")
    box = player.app.box
    assert box is not None and box.line.text == DOG
    player.press("enter")
    assert file.read_text(encoding="utf-8") == f"{DOG}\n"


@pytest.mark.parametrize("place", ["folder", "below a file"])
def test_a_file_that_cannot_be_written_is_no_error(start: Start, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    file = tmp_path if place == "folder" else tmp_path / "file" / "prompts.txt"
    player = start(options={"prompts": file})
    for text in (DOG, OWL):
        player.press("t")
        player.type(text)
        player.press("enter")
        assert player.worker.exchange.wanted() == text
    assert sum("Prompts" in text for text, *_ in player.app.messages.shown(player.now)) == 1
    player.press("t")
    player.press("up")
    player.press("up")
    box = player.app.box
    assert box is not None and box.line.text == DOG
