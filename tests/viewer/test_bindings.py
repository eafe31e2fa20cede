"""Keys: defaults without conflicts, files that change them, and what a scenario binds."""

from pathlib import Path

import pygame
import pytest
from viewer_stage import CAT, OWL, SCENARIO

from longlive_env.errors import ScenarioError
from longlive_env.scenario import parse_scenario
from longlive_env.viewer.actions import ACTIONS, GROUPS
from longlive_env.viewer.bindings import Bindings, default_file, shown, template
from longlive_env.viewer.help_sheet import help_rows
from longlive_env.viewer.inputs import key_name
from longlive_env.viewer.steering import Steering


def test_no_two_actions_share_a_default() -> None:
    chords = [chord for action in ACTIONS for chord in (*action.keys, *action.pad)]
    assert len(chords) == len(set(chords))
    assert {action.group for action in ACTIONS} == set(GROUPS)


def test_the_template_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text(template(), encoding="utf-8")
    bindings = Bindings.load(file)
    assert dict(bindings.actions) == dict(Bindings.default().actions) and not bindings.warnings


@pytest.mark.parametrize("text", ["", "\n", "# pause: x\n# quit: q\n"])
def test_a_key_file_without_keys_changes_nothing(text: str) -> None:
    assert Bindings.parse(text, "keys.yaml") == Bindings.default()


def test_keys_are_exchanged() -> None:
    bindings = Bindings.parse("pause: P\nreset: [shift + ctrl + r, pad a]\nquit: []\n", "keys.yaml")
    assert bindings.action("p") == "pause" and bindings.action("space") is None
    assert bindings.keys("reset") == ["ctrl+shift+r"] and bindings.keys("reset", pad=True) == ["pad a"]
    assert bindings.keys("quit") == [] and bindings.first("quit") == "–"
    assert bindings.action("f1") == "help"
    assert not bindings.warnings  # what the pad's button did before still has a key


def test_conflicts_are_told() -> None:
    bindings = Bindings.parse("pause: x\nstep: [x, y]\nrecord: b\n", "keys.yaml")
    assert [bindings.action(key) for key in "xyb"] == ["pause", "step", "record"]
    assert bindings.warnings == (
        "keys.yaml:2: x means pause already (line 1), and not step",
        "keys.yaml:3: b means record now, which leaves bookmark without a key; give it one",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("puase: x\n", r"keys.yaml:1: there is no action 'puase'; did you mean 'pause'\?$"),
        ("\npause: spce\n", r"keys.yaml:2: there is no key 'spce'; did you mean 'space'\?$"),
        ("pause: crtl+x\n", "modifier 'crtl'; did you mean 'ctrl'"),
        (
            "pause: '+'\n",
            r"1: '\+' lacks the key behind its \+, as in ctrl\+x; the plus key is written shift\+=",
        ),
        ("pause: ctrl+\n", r"'ctrl\+' lacks the key behind its \+"),
        ("pause: [x, ctrl++]\n", r"'ctrl\+\+' lacks the key behind its \+"),
        ("pause:\n", r"1: pause has no key; write one, such as pause: p, or \[\] for none$"),
        ("pause: pad z\n", "there is no 'pad z' on a gamepad"),
        ("pause: {a: b}\n", "not a list"),
        ("- a\n", "not a table"),
    ],
)
def test_mistakes_name_their_place(text: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        Bindings.parse(text, "keys.yaml")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="cannot read"):
        Bindings.load(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ScenarioError, match="UTF-8"):
        Bindings.load(tmp_path / "bad.yaml")


def test_the_file_of_ones_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert default_file() == tmp_path / "longlive_env" / "keys.yaml"


def test_chords_as_people_read_them() -> None:
    assert shown("ctrl+backspace") == "Ctrl+Backspace" and shown("shift+r") == "Shift+R"
    assert shown("left") == "←" and shown("f11") == "F11" and shown("pad a") == "A"
    assert all(shown(chord) for action in ACTIONS for chord in action.pad)


def test_help_lists_every_action() -> None:
    bindings = Bindings.default()
    steering = Steering.of(parse_scenario(SCENARIO, "two.yaml"), "tiny", bindings)
    rows = help_rows(bindings, steering)
    listed = {key for entries in rows.values() for row in entries for key in row.keys}
    numbered = {"1 – 2", "Alt+1 – 9", "Shift+1 – 9", "Ctrl+1 – 9"}
    single = {shown(chord) for action in ACTIONS if not action.name[-1].isdigit() for chord in action.keys}
    assert listed == single | numbered
    pads = [pad for entries in rows.values() for row in entries for pad in row.pads]
    assert sorted(pads) == sorted(shown(chord) for action in ACTIONS for chord in action.pad)
    moved = Bindings.parse("quick_2: x\n", "keys.yaml")
    listed = {key for entries in help_rows(moved, steering).values() for row in entries for key in row.keys}
    assert {"X", "1"} <= listed and not {"9", "1 – 2"} & listed


def test_help_does_not_list_a_number_that_a_scenario_takes() -> None:
    bindings = Bindings.default()
    text = f"name: one\nduration: 10s\nprompt: {CAT}\nkeys:\n  1: {{weather: in the fog}}\n"
    steering = Steering.of(parse_scenario(text, "one.yaml"), "tiny", bindings)
    rows = help_rows(bindings, steering)["Steer"]
    asked = {key: row.text for row in rows for key in row.keys}
    assert asked["1"] == "in the fog" and asked["2"] == "quick prompt 2"
    assert not any("–" in key for key in asked) and "quick prompt 1" not in [row.text for row in rows]
    button = Bindings.parse("quick_1: ['1', pad x]\n", "keys.yaml")
    (row,) = (row for row in help_rows(button, steering)["Steer"] if row.text == "quick prompt 1")
    assert row.keys == [] and row.pads == ["X"]


def test_a_scenario_steers() -> None:
    steering = Steering.of(parse_scenario(SCENARIO, "two.yaml"), "tiny", Bindings.default())
    change = steering.change("a", "left")
    assert change is not None and steering.apply(change, CAT) == CAT.replace("jumps", "moves left")
    change = steering.change("up", "up")
    assert change is not None and steering.apply(change, CAT) == OWL
    assert steering.change("3", "quick_3") is None and steering.change("space", "pause") is None
    assert steering.change("z", None) is None


def test_a_key_changes_several_parts() -> None:
    text = SCENARIO.replace("  left:", "  x: {weather: in a purple storm, setting: on the moon}\n  left:")
    steering = Steering.of(parse_scenario(text, "two.yaml"), "tiny", Bindings.default())
    change = steering.change("x", None)
    assert change is not None
    prompt = steering.apply(change, "a red cat jumps in the city at night")
    assert prompt == "a red cat jumps on the moon in a purple storm"
    assert steering.apply(change, prompt) == prompt  # words of its own are found again
    rows = help_rows(Bindings.default(), steering)
    assert "in a purple storm, on the moon" in [row.text for row in rows["Steer"]]


def test_keys_exchange_what_the_timeline_has_brought() -> None:
    timeline = """
timeline:
  - at: block 1
    choose:
      - {weather: in a purple storm}
      - {timeline: [{at: block 2, action: does a backflip}]}
"""
    scenario = parse_scenario(SCENARIO.partition("timeline:")[0].rstrip() + timeline, "two.yaml")
    steering = Steering.of(scenario, "tiny", Bindings.default())
    rain = next(change for change in steering.quick if change.words == "in the rain")
    assert steering.apply(rain, "a red cat jumps in the city in a purple storm") == (
        "a red cat jumps in the city in the rain"
    )
    prompt = "a red cat does a backflip in the city at night"
    assert steering.apply(steering.moves["left"], prompt) == "a red cat walks left in the city at night"


def test_without_a_scenario_there_are_sensible_keys() -> None:
    for vocabulary in ("tiny", ""):
        steering = Steering.of(None, vocabulary, Bindings.default())
        assert set(steering.moves) == {"left", "right", "up", "down"} and len(steering.quick) == 9
    change = Steering.of(None, "tiny", Bindings.default()).change("4", "quick_4")
    assert change is not None and change.words == "in the rain"


def test_a_scenario_does_not_take_the_viewers_own_keys() -> None:
    text = SCENARIO.replace("  left:", f"  r: {OWL}\n  d: {OWL}\n  8: {OWL}\n  left:")
    steering = Steering.of(parse_scenario(text, "two.yaml"), "tiny", Bindings.default())
    assert set(steering.keys) == {"d", "8"}
    assert steering.warnings == (
        "the viewer keeps R for itself (start anew under this prompt); choose another key in the scenario",
    )
    assert steering.change("d", "right") is steering.keys["d"]


def test_letters_of_other_alphabets_are_keys_by_their_place() -> None:
    def named(key: int, scancode: int) -> str:
        return key_name(pygame.Event(pygame.KEYDOWN, key=key, scancode=scancode, mod=0, unicode=""))

    assert named(ord("ф"), pygame.KSCAN_A) == "a" and named(ord("ρ"), pygame.KSCAN_R) == "r"
    assert named(pygame.K_a, pygame.KSCAN_Q) == "a"  # a French A is an A
    assert named(ord("ф"), 0) == ""
