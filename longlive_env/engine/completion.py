"""Prompts of a few words: what they leave out is filled in before they are encoded.

A small world is trained on sentences that name everything it can show, and draws a blend of whatever a
sentence leaves open. Its folder may say how to complete a prompt: which phrases name which value of which
attribute, what is usual, and a sentence to put the values into. What a take's first prompt leaves out is
usual; what a later one leaves out stays as it is. (The term and the idea of rewriting short prompts are
common: Wan's repository calls it prompt extension, and asks a language model.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from longlive_env.engine.config_values import from_dict
from longlive_env.errors import ConfigError

COMPLETION_FILE = "completion.json"  # in the folder of a world that completes prompts

Phrases = Mapping[str, Mapping[str, tuple[str, ...]]]  # attribute -> value -> phrases, the plainest first

_WORD = re.compile(r"[a-z0-9]+|[^\sa-z0-9]")
_ARTICLE = re.compile(r"\ba (?=[aeiou])")


@dataclass(frozen=True)
class Found:
    """What a text names.

    Attributes:
        values: attribute -> its values, in the order of the text; in the order of the phrases' attributes.
        in_full: attributes that are named by phrases which are not short.
        rest: words that belong to no phrase.
    """

    values: Mapping[str, tuple[str, ...]]
    in_full: frozenset[str]
    rest: tuple[str, ...]


class PhraseBook:
    """Finds phrases in texts.

    Args:
        phrases: phrases of each value.
        short: more of them, which count only where no other phrase names their attribute.
    """

    def __init__(self, phrases: Phrases, short: Phrases) -> None:
        self._names = tuple(phrases)
        entries = [
            (brief, tuple(_words(phrase)), name, value)
            for brief, table in ((False, phrases), (True, short))
            for name, values in table.items()
            for value, wordings in values.items()
            for phrase in wordings
        ]
        self._entries = sorted(entries, key=lambda entry: (entry[0], -len(entry[1])))  # the longest first
        self.words = frozenset(word for _, phrase, _, _ in entries for word in phrase)

    def read(self, text: str) -> Found:
        """Find every phrase once; a word counts once, so that the blue of a blue sky is not a colour."""
        words, found, in_full = _words(text), list[tuple[int, str, str]](), set[str]()
        for brief, phrase, name, value in self._entries:
            at = None if brief and name in in_full else _find(words, phrase)
            if at is None:
                continue
            found.append((at, name, value))
            words[at : at + len(phrase)] = [""] * len(phrase)
            if not brief:
                in_full.add(name)
        named: dict[str, list[str]] = {}
        for _, name, value in sorted(found):
            values = named.setdefault(name, [])
            if value not in values:
                values.append(value)
        ordered = {name: tuple(named[name]) for name in self._names if name in named}
        return Found(ordered, frozenset(in_full), tuple(word for word in words if word))


@dataclass(frozen=True)
class Completion:
    """How to complete the prompts of a world.

    Attributes:
        sentence: a sentence with a place for each attribute, such as "a {colour} {subject} {action}".
        phrases: the phrases that the world has learned.
        short_phrases: others that people use, see `PhraseBook`.
        either: attribute -> word -> values that it may mean: the one that holds already, or else the first.
        usual: attribute -> its usual value.
        goes_with: attribute -> its value -> usual values of other attributes beside it.

    Raises:
        ConfigError: the sentence lacks an attribute, one has no usual value, or a value is unknown.
    """

    sentence: str
    phrases: Phrases
    usual: Mapping[str, str]
    short_phrases: Phrases = field(default_factory=dict)
    either: Phrases = field(default_factory=dict)
    goes_with: Mapping[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.phrases:
            if f"{{{name}}}" not in self.sentence:
                raise ConfigError(f"the sentence {self.sentence!r} has no place for {name}; write {{{name}}}")
            self._check("usual", name, self.usual.get(name))
        for name, table in self.short_phrases.items():
            self._check("short_phrases", name, *table)
        for name, words in self.either.items():
            self._check("either", name, *(value for values in words.values() for value in values))
        for name, beside in self.goes_with.items():
            self._check("goes_with", name, *beside)
            for other, value in (pair for one in beside.values() for pair in one.items()):
                self._check("goes_with", other, value)

    def _check(self, where: str, name: str, *values: str | None) -> None:
        """Check that values exist; `where` is for the message."""
        known = self.phrases.get(name)
        if known is None:
            raise ConfigError(f"{where} names {name!r}; expected one of {', '.join(self.phrases)}")
        for value in values:
            if value not in known:
                raise ConfigError(f"{where} has {value!r} for {name}; expected one of {', '.join(known)}")

    @classmethod
    def of(cls, values: Any) -> Completion:
        """The completion of plain JSON values; `dataclasses.asdict` returns such.

        Raises:
            ConfigError: the values are something else.
        """
        return from_dict(cls, values, "completion")

    def complete(self, prompt: str, before: str = "") -> str:
        """The whole prompt that a prompt stands for.

        Args:
            prompt: any prompt.
            before: the whole prompt in force so far, as this returned it; empty at the start of a take.

        Returns:
            `prompt` itself if it names every attribute in phrases that the world has learned; `before` if it
            asks for nothing else.
        """
        found = self._book.read(prompt)
        if found.in_full == frozenset(self.phrases):
            return prompt
        shown = {name: values[0] for name, values in self._book.read(before).values.items()}
        named = {name: values[0] for name, values in found.values.items()}
        for name, words in self.either.items():
            for word in found.rest:
                if name not in named and word in words:
                    named[name] = shown[name] if shown.get(name) in words[word] else words[word][0]
        if before and {**shown, **named} == shown:
            return before
        values = {**self.usual, **shown, **named}
        if not before:
            beside = [table.get(values[name], {}) for name, table in self.goes_with.items()]
            values |= {name: value for one in beside for name, value in one.items() if name not in named}
        spoken = {name: self.phrases[name][value][0] for name, value in values.items()}
        return _ARTICLE.sub("an ", self.sentence.format(**spoken))

    def knows(self, word: str) -> bool:
        """Whether a word is part of a phrase, or may mean one of several values."""
        return word.lower() in self._known

    @cached_property
    def _book(self) -> PhraseBook:
        return PhraseBook(self.phrases, self.short_phrases)

    @cached_property
    def _known(self) -> frozenset[str]:
        return self._book.words.union(*self.either.values())


def _words(text: str) -> list[str]:
    """Lower-case words and punctuation marks."""
    return _WORD.findall(text.lower())


def _find(words: list[str], phrase: tuple[str, ...]) -> int | None:
    """Index at which a phrase begins."""
    size = len(phrase)
    return next((i for i in range(len(words) - size + 1) if tuple(words[i : i + size]) == phrase), None)
