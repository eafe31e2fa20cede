"""Advice on scenarios: a switch goes smoothly when each prompt names its subject and its setting again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from longlive_env.engine.config import WorldConfig
from longlive_env.envs.vocabulary import vocabulary_of
from longlive_env.scenario.change import WHOLE, Change
from longlive_env.scenario.model import Scenario
from longlive_env.scenario.reach import unreachable
from longlive_env.scenario.timeline import Branch, Cue, Entry, every_change, every_entry, nested

UnknownWords = Callable[[str], Sequence[str]]


def lint(
    scenario: Scenario,
    world: str,
    unknown_words: UnknownWords | None = None,
    config: WorldConfig | None = None,
) -> list[str]:
    """Warnings about `scenario`, one line each.

    Those about prompts of the timeline come first, then keys and quick prompts, then conditions, and last
    what can never happen.

    Args:
        scenario: what to look at.
        world: name of the world that plays it, whose vocabulary decides.
        unknown_words: tells which words of a prompt the world does not know; None asks the vocabulary.
        config: of the world, which decides what comes too late; None leaves that out.
    """
    unknown = vocabulary_of(world).unknown_words if unknown_words is None else unknown_words
    return [
        *_prompts(scenario, world, unknown),
        *_repeated(scenario, (Cue(scenario.duration, Change(scenario.prompt)), *scenario.timeline)),
        *_bindings(scenario, world, unknown),
        *_blind(scenario, world),
        *(unreachable(scenario, config) if config is not None else ()),
    ]


def _prompts(scenario: Scenario, world: str, unknown: UnknownWords) -> Iterator[str]:
    """Warnings about the prompts of the timeline."""
    vocabulary = vocabulary_of(world)
    for change in (Change(scenario.prompt, line=scenario.line), *every_change(scenario.timeline)):
        place = scenario.place(change.line)
        if change.part == WHOLE:
            for what, names, examples in (
                ("subject", vocabulary.names_subject, vocabulary.subjects),
                ("setting", vocabulary.names_setting, vocabulary.settings),
            ):
                if not names(change.words):
                    yield (
                        f"{place}: {change.words!r} names no {what} (such as {', '.join(examples)}); "
                        "switches go smoother with one"
                    )
        yield from _words(scenario, change, world, unknown, place)


def _bindings(scenario: Scenario, world: str, unknown: UnknownWords) -> Iterator[str]:
    """Warnings about what keys change."""
    vocabulary = vocabulary_of(world)
    bound = [*scenario.keys.items(), *((f"quick {i}", one) for i, one in enumerate(scenario.quick, start=1))]
    for name, change in bound:
        place = f"{scenario.place(change.line)}: {name}"
        if change.part == WHOLE and not (
            vocabulary.names_subject(change.words) and vocabulary.names_setting(change.words)
        ):
            yield (
                f"{place}: {change.words!r} is a whole prompt without subject or setting; "
                f"to change a part of the prompt, write {{action: {change.words}}}"
            )
        yield from _words(scenario, change, world, unknown, place)


def _words(
    scenario: Scenario, change: Change, world: str, unknown: UnknownWords, place: str
) -> Iterator[str]:
    """Warnings about a change's words and the place that they would take in the starting prompt."""
    wording = scenario.wording(world)
    if change.part != WHOLE and not wording.finds(scenario.prompt, change.part):
        yield (
            f"{place}: {scenario.prompt!r} holds no {change.part} that is known; "
            f"{change.words!r} would be added at its end"
        )
    if change.part == "colour" and not vocabulary_of(world).colours:
        subject = wording.uncoloured(scenario.prompt)
        if " " in subject:  # where one of its words may be a colour
            yield (
                f"{place}: {change.words!r} would be put before {subject!r}, whose colour world {world!r} "
                "does not know; change the subject instead"
            )
    if found := unknown(change.words):
        yield f"{place}: world {world!r} does not know {', '.join(map(repr, found))}"


def _repeated(scenario: Scenario, timeline: Sequence[Entry]) -> Iterator[str]:
    """Warnings about whole prompts that stand twice in a row."""
    previous: Change | None = None
    for entry in timeline:
        change = entry.change if isinstance(entry, Cue) and isinstance(entry.change, Change) else None
        if change and previous and (change.words, change.part) == (previous.words, previous.part):
            place = scenario.place(change.line)
            yield f"{place}: {change.words!r} is already in force; this entry changes nothing"
        previous = change
        for inner in nested(entry):
            yield from _repeated(scenario, inner)


def _blind(scenario: Scenario, world: str) -> Iterator[str]:
    """Warnings about conditions that nothing can judge."""
    if vocabulary_of(world).attributes:
        return
    branches = [entry.line for entry in every_entry(scenario.timeline) if isinstance(entry, Branch)]
    for line in [*branches, *(goal.line for goal in scenario.goals)]:
        yield f"{scenario.place(line)}: nothing reads pictures of world {world!r}; this cannot be judged"
