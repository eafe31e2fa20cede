"""The sheet of key cards: what a click on it asks for, and the goals that it lists."""

from collections.abc import Callable
from itertools import combinations, pairwise

import pygame
import pytest
from viewer_player import Player
from viewer_stage import CAT, OWL, SCENARIO

from longlive_env import World
from longlive_env.recording import LogGoal
from longlive_env.scenario import Plan, parse_scenario
from longlive_env.viewer.bindings import Bindings
from longlive_env.viewer.canvas import Canvas, Typeface
from longlive_env.viewer.cards import Sheet, _entries, draw_cards
from longlive_env.viewer.steering import Steering
from longlive_env.viewer.story import Score

Start = Callable[..., Player]

GOALS = """
goals:
  - {name: Rain has been seen by everybody who was there to see it, when: weather == rain, points: 2, hold: 3}
  - {name: Wrong way, when: weather == rain, points: -5, hold: 2}
"""


@pytest.fixture
def goals(small_world: World, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A story with goals, in a world where it always rains."""
    monkeypatch.setattr(
        "longlive_env.viewer.story.sight_of", lambda config: lambda frames: {"weather": "rain"}
    )
    return parse_scenario(SCENARIO + GOALS, "goals.yaml").plan(small_world.config)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All texts that are drawn, in their order."""
    texts: list[str] = []
    draw = Canvas.text

    def text(canvas: Canvas, words: str, *args: object, **kwargs: object) -> pygame.Rect:
        texts.append(words)
        return draw(canvas, words, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Canvas, "text", text)
    return texts


def opened(player: Player) -> Sheet:
    """The sheet of cards, which somebody opens."""
    player.press("f2")
    player.app.draw()
    (sheet,) = player.app.screen._sheets
    return sheet


def test_a_click_on_a_card_asks_for_its_change(start: Start) -> None:
    player = start()
    sheet = opened(player)
    assert len(sheet.cards) == 6
    wanted = []
    for rect, _ in sheet.cards:
        player.click(*rect.center)
        wanted.append(player.worker.exchange.wanted())
    assert "moves left" in wanted[0] and "walks right" in wanted[1] and "stands still" in wanted[3]
    assert wanted[2] == wanted[5] == OWL and "in the rain" in wanted[4]
    assert not player.app.playback.paused and player.app.controls.open.cards
    player.wait(16)
    played = player.app.playback.played
    assert played is not None and played.beat.prompt == OWL


def test_a_card_names_the_key_that_asks_for_it() -> None:
    keys = f"keys:\n  1: {{weather: in the fog}}\n  a: {OWL}\n  w: {OWL}\n"
    text = f"name: one\nduration: 10s\nprompt: {CAT}\n{keys}"
    bindings = Bindings.parse("left: [a, pad left]\nright: a\nup: w\n", "keys.yaml")
    steering = Steering.of(parse_scenario(text, "one.yaml"), "tiny", bindings)
    listed = [(key, change.words) for key, change in _entries(bindings, steering)]
    assert [words for key, words in listed if key == "1"] == ["in the fog"]
    assert [words for key, words in listed if key == "A"] == [OWL]
    assert ("2", "at sunset") in listed and "on a sunny day" not in dict(listed).values()
    assert ("–", "walks left") in listed  # which a button asks for
    assert ("–", "walks right") in listed  # which has no key at all
    assert "jumps" not in dict(listed).values()


def test_cards_do_not_overlap(start: Start) -> None:
    sheet = opened(start())
    rects = [rect for rect, _ in sheet.cards]
    assert all(one.bottom == next.top for one, next in pairwise(rects))
    assert all(sheet.rect.contains(rect) for rect in rects)


def test_a_click_beside_the_cards_of_a_panel_does_nothing(start: Start) -> None:
    player = start()
    sheet = opened(player)
    player.press("f3")
    player.app.draw()
    statistics = player.app.screen._sheets[1]
    assert sheet.rect.colliderect(player.app.screen.stage.rect)
    for x, y in ((sheet.rect.x + 20, sheet.rect.y + 8), statistics.rect.center):
        player.click(x, y)
        assert not player.app.playback.paused and player.worker.exchange.wanted() == CAT
    player.press("f2")
    player.press("f3")
    player.click(*sheet.cards[0][0].center)
    assert player.app.playback.paused and player.worker.exchange.wanted() == CAT  # it is the picture again


def test_a_click_on_what_has_stopped_the_world_does_nothing(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    player = start()
    with monkeypatch.context() as patch:
        patch.setattr("longlive_env.viewer.session.Session.advance", lambda self: 1 / 0)
        player.wait(30)
    (sheet,) = player.app.screen._sheets
    player.click(*sheet.rect.center)
    assert not player.app.playback.paused


def test_a_finger_opens_the_cards_and_closes_them(start: Start) -> None:
    player = start()
    player.wait()
    spot = player.app.screen.places.cards
    assert min(spot.size) >= 28 and not spot.colliderect(player.app.screen.places.caption)
    for is_open in (True, False):
        player.click(*spot.center)
        assert player.app.controls.open.cards is is_open and not player.app.playback.paused
    player.press("t")
    player.click(*spot.center)  # beside the prompt box
    assert player.app.box is None and player.app.controls.open.cards
    player.press("t")
    player.app.draw()
    player.click(*player.app.screen._sheets[0].cards[0][0].center)
    assert player.app.box is None and "moves left" in player.worker.exchange.wanted()


def test_a_tall_window_leaves_the_picture_visible(start: Start) -> None:
    player = start(options={"size": (640, 1200)})
    player.wait()
    sheet = opened(player)
    assert not sheet.rect.colliderect(player.app.screen.stage.rect)


def test_the_sheet_lists_what_earns_points(start: Start, goals: Plan, written: list[str]) -> None:
    player = start(goals)
    sheet = opened(player)
    assert len(sheet.cards) == 6
    listed = written[written.index("Goals") :]
    name = " ".join(listed[2 : listed.index("+2")])
    assert name == "Rain has been seen by everybody who was there to see it"  # in as many lines as it needs
    assert listed[1] == "0 of 2 points" and listed[listed.index("Wrong way") + 1] == "-5"
    player.click(sheet.rect.centerx, sheet.rect.bottom - 20)
    assert not player.app.playback.paused
    plain = pygame.image.tobytes(player.app.draw().subsurface(sheet.rect), "RGB")
    player.play(3)
    written.clear()
    assert pygame.image.tobytes(player.app.draw().subsurface(sheet.rect), "RGB") != plain
    assert "-3 of 2 points" in written[written.index("Goals") :]
    player.press("r")
    player.wait(12)
    written.clear()
    player.app.draw()
    assert "Goals" not in written and "end" not in written and not any("points" in text for text in written)


@pytest.mark.parametrize(
    ("area", "scale", "least"), [((1280, 596), 1.0, 0.8), ((640, 282), 0.625, 0.5), ((500, 922), 0.625, 0.4)]
)
def test_many_keys_and_goals_stay_readable(
    monkeypatch: pytest.MonkeyPatch, area: tuple[int, int], scale: float, least: float
) -> None:
    scales, texts, draw = [], [], Canvas.text

    def text(canvas: Canvas, words: str, *args: object, **kwargs: object) -> pygame.Rect:
        scales.append(canvas.scale)
        texts.append(words)
        rect = draw(canvas, words, *args, **kwargs)  # type: ignore[arg-type]
        assert canvas.surface.get_rect().contains(rect), words
        return rect

    monkeypatch.setattr(Canvas, "text", text)
    keys = "keys:\n" + "".join(f"  {letter}: {{action: walks left}}\n" for letter in "adefghijklmnopsvwxyz")
    quick = "quick:\n" + f"  - {OWL}\n" * 9
    bindings = Bindings.default()
    scenario = parse_scenario(f"name: one\nduration: 10s\nprompt: {CAT}\n{keys}{quick}", "one.yaml")
    steering = Steering.of(scenario, "tiny", bindings)
    goals = tuple((LogGoal(f"goal {number} " + "with a long name " * 3, 1), None) for number in range(20))
    score = Score(((goals[0][0], 5), *goals[1:]))
    canvas, whole = Canvas(pygame.Surface(area), Typeface(), scale), pygame.Rect(0, 0, *area)
    sheet = draw_cards(canvas, whole, bindings, steering, CAT, score, None)
    rects = [rect for rect, _ in sheet.cards]
    assert len(rects) == 33 and min(scales) >= least
    assert whole.contains(sheet.rect) and all(sheet.rect.contains(rect) for rect in rects)
    assert not any(one.colliderect(other) for one, other in combinations(rects, 2))
    listed = [words for words in texts if words.startswith("goal ")]
    hidden = 20 - len(listed)
    assert (f"… and {hidden} more" in texts) == (hidden > 0)
    assert not hidden or listed[0].startswith("goal 1 ")  # the one that was reached makes room first


def test_a_fault_does_not_read_like_an_achievement(start: Start, goals: Plan) -> None:
    player = start(goals)
    player.play(1.5)
    assert "Penalty: Wrong way (-5)" in player.told
    assert [wrong for text, wrong, _ in player.app.messages.shown(player.now) if "Wrong way" in text] == [
        True
    ]
    player.play(1)
    assert "Goal: Rain has been seen by everybody who was there to see it (+2)" in player.told
    assert "Reached" not in player.told
    player.play(4)
    assert "The end: -3 of 2 points" in player.told and "Home begins anew" in player.told
