"""Advice on prompts: a switch goes smoothly when each prompt names its subject and its setting again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from longlive_env.envs.vocabulary import vocabulary_of
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
    return warnings


def _prompts(scenario: Scenario) -> Iterator[tuple[int, str]]:
    yield scenario.line, scenario.prompt
    for cue in scenario.timeline:
        yield cue.line, cue.prompt
