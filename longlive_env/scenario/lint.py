"""Advice on scenarios: a switch goes smoothly when each prompt names its subject and its setting again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from longlive_env.engine.config import WorldConfig
from longlive_env.envs.vocabulary import vocabulary_of
from longlive_env.scenario.change import PARTS, WHOLE, Change, Wording
from longlive_env.scenario.model import Scenario
from longlive_env.scenario.reach import unreachable
from longlive_env.scenario.schema import CLOSING, CURLY, within_braces
from longlive_env.scenario.timeline import Branch, Cue, Entry, every_change, every_entry, nested

if TYPE_CHECKING:
    from longlive_env.engine.world import World

UnknownWords = Callable[[str], Sequence[str]]
_STRAIGHT = 'it stays a part of the text, so write straight quotes (") instead'
_QUOTED = 80  # most characters of a text that a warning quotes


@dataclass(frozen=True)
class _Terms:
    """What the words of a scenario are judged by: the names of a world and its vocabulary, and a wording.

    A world that `completes` prompts needs no advice on what they leave out.
    """

    scenario: Scenario
    world: str
    vocabulary: str
    unknown: UnknownWords
    wording: Wording
    completes: bool


def lint(
    scenario: Scenario,
    config: WorldConfig,
    unknown_words: UnknownWords | None = None,
    *,
    cut: bool = False,
    completes: bool = False,
) -> list[str]:
    """Warnings about `scenario`, one line each.

    Warnings about prompts of the timeline come first, then those about keys and quick prompts, about
    quotes, about conditions, and about what can never happen.

    Args:
        scenario: the scenario to check.
        config: configuration of the world that plays it, whose vocabulary decides.
        unknown_words: returns the words of a prompt that the world does not know; None asks the vocabulary.
        cut: whether only a part is played, so that nothing is said about what can never happen.
        completes: whether the world completes prompts, so that nothing is said about what they leave out.
    """
    name = config.vocabulary
    unknown = unknown_words or partial(vocabulary_of(name).unknown_words, completes=completes)
    terms = _Terms(scenario, config.name, name, unknown, scenario.wording(name), completes)
    return [
        *_prompts(terms),
        *_repeated(scenario, (Cue(scenario.duration, Change(scenario.prompt)), *scenario.timeline)),
        *_bindings(terms),
        *_curly(scenario),
        *_blind(terms),
        *(() if cut else unreachable(scenario, config)),
    ]


def lint_in(world: World, scenario: Scenario, *, cut: bool = False) -> list[str]:
    """Warnings about a scenario that a loaded world is to play, see `lint`."""
    completes = world.completion is not None
    return lint(scenario, world.config, world.unknown_words, cut=cut, completes=completes)


def _prompts(terms: _Terms) -> Iterator[str]:
    """Warnings about the prompts of the timeline."""
    scenario = terms.scenario
    place = scenario.opening_place
    for what in _missing(terms, scenario.prompt):
        yield f"{place}: {_lacks(scenario.prompt, what, terms.vocabulary)}"
    yield from _unknown(terms, scenario.prompt, place)
    if _replaced(scenario) and not terms.completes:
        yield from _lacking(terms)
    for change in every_change(scenario.timeline):
        yield from _change(terms, change)


def _replaced(scenario: Scenario) -> bool:
    """Whether an option gives the starting prompt instead of the file, whose lines cannot be blamed then."""
    return scenario.opening_place.startswith("--")


def _lacking(terms: _Terms) -> Iterator[str]:
    """One warning about all parts that the scenario changes and the starting prompt lacks."""
    scenario = terms.scenario
    changed = {one.part for change in scenario.changes for one in change.each if one.part != WHOLE}
    if parts := [
        part for part in PARTS if part in changed and not terms.wording.finds(scenario.prompt, part)
    ]:
        yield (
            f"{scenario.opening_place}: {_quoted(scenario.prompt)} holds no {' or '.join(parts)} that is "
            "known, and the scenario changes that; its words would be added at the end, so name one there"
        )


def _bindings(terms: _Terms) -> Iterator[str]:
    """Warnings about what keys change."""
    scenario = terms.scenario
    bound = [*scenario.keys.items(), *((f"quick {i}", one) for i, one in enumerate(scenario.quick, start=1))]
    for name, change in bound:
        yield from _change(terms, change, f": {name}")


def _change(terms: _Terms, change: Change, name: str = "") -> Iterator[str]:
    """Warnings about one change; `name` follows its place."""
    for one in change.each:
        place = f"{terms.scenario.place(one.line)}{name}"
        told = _whole(terms, one.words) if one.part == WHOLE else _part(terms, one)
        yield from (f"{place}: {warning}" for warning in told)
        yield from _unknown(terms, one.words, place)


def _whole(terms: _Terms, words: str) -> Iterator[str]:
    """Warnings about a whole prompt, which may have been meant for a part of one."""
    missing, part = _missing(terms, words), Wording.known(terms.vocabulary).part_of(words)
    if missing and (part or len(missing) == 2):
        yield (
            f"{_quoted(words)} is a whole prompt without {' or '.join(missing)}; "
            f"to change a part of the prompt, write {within_braces(part or 'action', words)}"
        )
        return
    for what in missing:
        yield _lacks(words, what, terms.vocabulary)


def _missing(terms: _Terms, prompt: str) -> list[str]:
    """Which of subject and setting a whole prompt lacks, where that matters."""
    if terms.completes:
        return []
    known = vocabulary_of(terms.vocabulary)
    names = {"subject": known.names_subject, "setting": known.names_setting}
    return [what for what, has in names.items() if not has(prompt)]


def _lacks(prompt: str, what: str, vocabulary: str) -> str:
    """The warning that a prompt lacks its subject or setting."""
    known = vocabulary_of(vocabulary)
    examples = {"subject": known.subjects, "setting": known.settings}[what]
    return f"{_quoted(prompt)} names no {what} (such as {', '.join(examples)}); switches go smoother with one"


def _part(terms: _Terms, change: Change) -> Iterator[str]:
    """Warnings about words for a part, and the place that they would take in the starting prompt."""
    prompt, wording = terms.scenario.prompt, terms.wording
    words = _quoted(change.words)
    if other := Wording.known(terms.vocabulary).other_part(change):
        article = "an" if other[0] in "aeiou" else "a"
        yield f"{words} is {article} {other}; write {within_braces(other, change.words)[1:-1]}"
        return
    if not (terms.completes or _replaced(terms.scenario) or wording.finds(prompt, change.part)):
        yield f"{_quoted(prompt)} holds no {change.part} that is known; {words} would be added at its end"
    if change.part == "colour" and not vocabulary_of(terms.vocabulary).colours:
        subject = wording.uncoloured(prompt)
        if " " in subject:  # where one of its words may be a colour
            yield (
                f"{words} would be put before {_quoted(subject)}, whose colour world {terms.world!r} "
                "does not know; change the subject instead"
            )


def _unknown(terms: _Terms, words: str, place: str) -> Iterator[str]:
    """A warning about words that the world does not know."""
    if found := terms.unknown(words):
        nearest = vocabulary_of(terms.vocabulary).nearest
        told = (
            f"{_quoted(word)} (did you mean {near!r}?)" if (near := nearest(word)) else _quoted(word)
            for word in found
        )
        yield f"{place}: world {terms.world!r} does not know {', '.join(told)}"


def _repeated(scenario: Scenario, timeline: Sequence[Entry]) -> Iterator[str]:
    """Warnings about prompts that come twice in a row."""
    previous: Change | None = None
    for entry in timeline:
        change = entry.change if isinstance(entry, Cue) and isinstance(entry.change, Change) else None
        if change and previous and (change.words, change.part) == (previous.words, previous.part):
            place = scenario.place(change.line)
            yield f"{place}: {_quoted(change.words)} is already in force; this entry changes nothing"
        previous = change
        for inner in nested(entry):
            yield from _repeated(scenario, inner)


def _curly(scenario: Scenario) -> Iterator[str]:
    """Warnings about quotes that YAML does not know, so that they become a part of the text."""
    words = [(one.words, one.line) for change in scenario.changes for one in change.each]
    for text, place in [
        (scenario.prompt, scenario.opening_place),
        *((text, scenario.place(line)) for text, line in words),
    ]:
        if text.startswith(CURLY):
            yield f"{place}: {_quoted(text)} begins with {text[0]}; {_STRAIGHT}"
    cues = [entry for entry in every_entry(scenario.timeline) if isinstance(entry, Cue)]
    for text, place in [
        (scenario.description, scenario.place_of("description")),
        (scenario.notes, scenario.place_of("notes")),
        *((note, scenario.place(cue.line)) for cue in cues for note in cue.notes),
        *((goal.name, scenario.place(goal.line)) for goal in scenario.goals),
    ]:
        if text.startswith(CURLY) and text.endswith(tuple(CLOSING)):  # others may quote somebody
            yield f"{place}: {_quoted(text)} begins with {text[0]}; {_STRAIGHT}"


def _blind(terms: _Terms) -> Iterator[str]:
    """Warnings about conditions that nothing can judge."""
    if vocabulary_of(terms.vocabulary).attributes:
        return
    scenario = terms.scenario
    branches = [entry.line for entry in every_entry(scenario.timeline) if isinstance(entry, Branch)]
    told = f"nothing reads pictures of world {terms.world!r}; this cannot be judged"
    for line in [*branches, *(goal.line for goal in scenario.goals)]:
        yield f"{scenario.place(line)}: {told}"


def _quoted(text: str) -> str:
    """A text in quotes, cut short."""
    return repr(text if len(text) <= _QUOTED else f"{text[: _QUOTED - 1]}…")
