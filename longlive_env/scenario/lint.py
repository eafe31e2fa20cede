"""Advice on prompts: a switch goes smoothly when each prompt names its subject and its setting again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from longlive_env.envs.vocabulary import vocabulary_of
from longlive_env.scenario.change import WHOLE
from longlive_env.scenario.model import Scenario


def lint(
    scenario: Scenario, world: str, unknown_words: Callable[[str], Sequence[str]] | None = None
) -> list[str]:
    """Warnings about the prompts of `scenario`, one line each, in the order of the timeline.

    Args:
        scenario: what to look at.
        world: name of the world that plays it, whose vocabulary decides.
        unknown_words: tells which words of a prompt the world does not know; None asks nobody.
    """
    vocabulary = vocabulary_of(world)
    warnings = []
    previous = ""
    for line, prompt in _prompts(scenario):
        place = ":".join(str(part) for part in (scenario.file or scenario.name, line) if part)
        if not vocabulary.names_subject(prompt):
            examples = ", ".join(vocabulary.subjects)
            warnings.append(
                f"{place}: {prompt!r} names no subject (such as {examples}); switches go smoother with one"
            )
        if not vocabulary.names_setting(prompt):
            examples = ", ".join(vocabulary.settings)
            warnings.append(
                f"{place}: {prompt!r} names no setting (such as {examples}); switches go smoother with one"
            )
        if unknown_words is not None and (unknown := unknown_words(prompt)):
            warnings.append(f"{place}: world {world!r} does not know {', '.join(map(repr, unknown))}")
        if prompt == previous:
            warnings.append(f"{place}: {prompt!r} is already in force; this entry changes nothing")
        previous = prompt
    return [*warnings, *_bindings(scenario, world, unknown_words)]


def _bindings(
    scenario: Scenario, world: str, unknown_words: Callable[[str], Sequence[str]] | None
) -> Iterator[str]:
    """Warnings about what keys change."""
    vocabulary, wording = vocabulary_of(world), scenario.wording(world)
    bound = [*scenario.keys.items(), *((f"quick {i}", one) for i, one in enumerate(scenario.quick, start=1))]
    for name, change in bound:
        place = f"{scenario.file or scenario.name}:{change.line}: {name}"
        if change.part != WHOLE and not wording.finds(scenario.prompt, change.part):
            yield (
                f"{place}: {scenario.prompt!r} holds no {change.part} that is known; "
                f"{change.words!r} would be added at its end"
            )
        if change.part == WHOLE and not (
            vocabulary.names_subject(change.words) and vocabulary.names_setting(change.words)
        ):
            yield (
                f"{place}: {change.words!r} is a whole prompt without subject or setting; "
                f"to change a part of the prompt, write {{action: {change.words}}}"
            )
        if unknown_words is not None and (unknown := unknown_words(change.words)):
            yield f"{place}: world {world!r} does not know {', '.join(map(repr, unknown))}"


def _prompts(scenario: Scenario) -> Iterator[tuple[int, str]]:
    yield scenario.line, scenario.prompt
    for cue in scenario.timeline:
        yield cue.line, cue.prompt
