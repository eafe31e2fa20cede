"""Prompts in anybody's words: they are put into words that a world has learned before they are encoded.

A small world is trained on sentences that name everything it can show, and nothing else. It draws a blend of
whatever a sentence leaves open, and mistakes a yellow taxi beside a white ghost for the ghost's colour. Its
folder may say how to complete a prompt: which phrases name which value of which attribute, what is usual, and
a sentence to put the values into. What a take's first prompt leaves out is usual; what a later one leaves out
stays as it is. (The idea of rewriting prompts is common: Wan's repository calls it prompt extension, and asks
a language model.)
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from string import Formatter
from typing import Any

from longlive_env.engine.config_values import from_dict, to_dict
from longlive_env.errors import ConfigError

_LEAVING = ("leave", "leaves", "leaving")
EXCLUDING = frozenset(("not", "no", "never", "without", "except", "nor", "nothing", *_LEAVING))
BETWEEN = frozenset(("a", "an", "the", "any", "more"))  # may stand between such a word and what it excludes
COMPLETION_FILE = "completion.json"  # in the folder of a world that completes prompts

Phrases = Mapping[str, Mapping[str, tuple[str, ...]]]  # attribute -> value -> phrases, the plainest first
Meanings = Mapping[str, Mapping[str, tuple[str, ...]]]  # attribute -> word -> values

_WORD = re.compile(r"[a-z0-9]+|[^\sa-z0-9]")  # as in `longlive_env.tiny.captions`, which has no place here
_ARTICLE = re.compile(r"\b([aA]) (?=[aeiou])")


@dataclass(frozen=True)
class Found:
    """What a text names.

    Attributes:
        values: attribute -> its values, in the order of the text; in the order of the phrases' attributes.
        in_full: attributes that are named by phrases which are not short.
        rest: words that belong to no phrase, without those that are excluded.
        doubtful: whether some of its words name another value than `values` begins with, wherever they stand:
            what is orange "under a blue sky" may be taken for blue.
    """

    values: Mapping[str, tuple[str, ...]]
    in_full: frozenset[str]
    rest: tuple[str, ...]
    doubtful: bool


class PhraseBook:
    """Finds phrases in texts.

    Args:
        phrases: phrases of each value.
        short: more of them, which count only where no other phrase names their attribute.
        needless: phrases that ask for nothing, so that their words name nothing: "right now" is not right.
        describes: attribute -> the attribute whose phrases its own describe, see `Completion`.

    Attributes:
        words: the words of all phrases.
        read: function from a text to what it names; remembers recent texts.
    """

    def __init__(
        self,
        phrases: Phrases,
        short: Phrases,
        needless: tuple[str, ...] = (),
        describes: Mapping[str, str] | None = None,
    ) -> None:
        self._names, self._describes = tuple(phrases), describes or {}
        entries = [
            (brief, tuple(_words(phrase)), name, value)
            for brief, table in ((False, phrases), (True, short))
            for name, values in table.items()
            for value, wordings in values.items()
            for phrase in wordings
        ]
        entries += [(True, tuple(_words(phrase)), "", "") for phrase in needless]  # after others as long
        entries.sort(key=lambda entry: (-len(entry[1]), entry[0]))  # the longest first
        self._beginning: dict[str, list[tuple[int, bool, tuple[str, ...], str, str]]] = {}  # by first word
        for rank, entry in enumerate(entries):
            self._beginning.setdefault(entry[1][0], []).append((rank, *entry))
        self.words = frozenset(word for _, phrase, _, _ in entries for word in phrase)
        single = (entry for entry in entries if len(entry[1]) == 1 and not entry[0])
        self._alone = {phrase[0]: (name, value) for _, phrase, name, value in single}
        self.read = lru_cache(maxsize=4096)(self._read)

    def _read(self, text: str) -> Found:
        """Find every phrase, except after "no", "not" and the like.

        A word counts once, for the longest phrase: what stands "under a blue sky" is not blue.
        """
        said = _words(text)
        words, found = list(said), list[tuple[int, int, str, str, bool]]()
        possible = (entry for word in set(words) for entry in self._beginning.get(word, ()))
        for _, brief, phrase, name, value in sorted(possible):
            while (at := _find(words, phrase)) is not None:
                end = at + len(phrase)
                words[at:end] = [""] * len(phrase)
                if name and not _excluded(words[:at]):
                    found.append((at, end, name, value, brief))
        in_full = frozenset(name for *_, name, _, brief in found if not brief)
        beginnings = {(at, name) for at, _, name, _, _ in found}
        named: dict[str, list[str]] = {}
        # First what stands right before the thing that it describes, then in the order of the text.
        for _, _, name, value, brief in sorted(
            found, key=lambda one: ((one[1], self._describes.get(one[2])) not in beginnings, one)
        ):
            values = named.setdefault(name, [])
            if value not in values and not (brief and name in in_full):
                values.append(value)
        ordered = {name: tuple(named[name]) for name in self._names if name in named}
        rest = (word for at, word in enumerate(words) if word and not _excluded(words[:at]))
        meant = {(name, values[0]) for name, values in ordered.items()}
        alone = {self._alone[word] for word in said if word in self._alone}
        others = {(name, value) for _, _, name, value, _ in found} | alone
        return Found(ordered, in_full, tuple(rest), bool(others - meant))


@dataclass(frozen=True)
class Completion:
    """How to complete the prompts of a world.

    Attributes:
        sentence: a sentence with a place for each attribute, such as "a {colour} {subject} {action}".
        phrases: the phrases that the world has learned.
        short_phrases: others that people use, see `PhraseBook`.
        either: attribute -> word -> values that it may mean: the one that holds already, or else the first.
        relative: attribute -> phrase -> the value that holds -> the value meant then; the phrase asks for
            nothing where another value holds.
        weak: attribute -> values that give way to another one beside them: "stop and dance" is a dance.
        usual: attribute -> its usual value.
        goes_with: attribute -> its value -> usual values of other attributes beside it.
        needless: lower-case words and phrases that ask for nothing, and that nobody need be warned of.
        linking: words and marks that stand between phrases in the sentences that the world has learned.
        describes: attribute -> the attribute whose phrases its own describe: of several colours, the one
            right before a subject is meant.

    Raises:
        ConfigError: the sentence lacks an attribute, one has no usual value, or a value is unknown.
    """

    sentence: str
    phrases: Phrases
    usual: Mapping[str, str]
    short_phrases: Phrases = field(default_factory=dict)
    either: Meanings = field(default_factory=dict)
    relative: Mapping[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)
    weak: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    goes_with: Mapping[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)
    needless: tuple[str, ...] = ()
    linking: tuple[str, ...] = ()
    describes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            places = {name for _, name, _, _ in Formatter().parse(self.sentence) if name is not None}
        except ValueError as error:
            raise ConfigError(f"the sentence {self.sentence!r} cannot be filled in: {error}") from error
        if places != set(self.phrases):
            wanted = ", ".join(f"{{{name}}}" for name in self.phrases)
            raise ConfigError(f"the sentence is {self.sentence!r}; expected a place for each of {wanted}")
        for name, value in {**dict.fromkeys(self.phrases), **self.usual}.items():
            self._check("usual", name, value)
        for where, tables in (("phrases", self.phrases), ("short_phrases", self.short_phrases)):
            for value, phrases in (pair for table in tables.values() for pair in table.items()):
                if not all(map(_words, phrases)) or not (phrases or where == "short_phrases"):
                    raise ConfigError(f"{where} has {list(phrases)} for {value!r}; expected texts")
        for name, table in self.short_phrases.items():
            self._check("short_phrases", name, *table)
        for name, words in self.either.items():
            self._check("either", name, *(value for values in words.values() for value in values))
            for word, values in words.items():
                if _words(word) != [word] or not values:
                    raise ConfigError(
                        f"either has {list(values)} for {word!r}; expected values for a lower-case word"
                    )
        for name, turns in self.relative.items():
            both = (value for turn in turns.values() for pair in turn.items() for value in pair)
            self._check("relative", name, *both)
            if not all(map(_words, turns)) or not turns.keys().isdisjoint(self.phrases[name]):
                raise ConfigError(
                    f"relative has {list(turns)} for {name}; expected phrases, and no value's name"
                )
        for name, giving_way in self.weak.items():
            self._check("weak", name, *giving_way)
        for names in self.describes.items():
            for name in names:
                self._check("describes", name)
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
        """The completion of plain JSON values; `to_dict` returns such.

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
            `prompt` itself if it names every attribute in phrases that the world has learned, and says
            nothing else; `before` if it asks for nothing else.
        """
        if not self.completes(prompt):
            return prompt
        shown = self._meant(before, {})
        named = self._meant(prompt, shown)
        if before and {**shown, **named} == shown:
            return before
        values = {**self.usual, **shown, **named}
        if not before:
            beside = [table.get(values[name], {}) for name, table in self.goes_with.items()]
            values |= {name: value for one in beside for name, value in one.items() if name not in named}
        spoken = {name: self.phrases[name][value][0] for name, value in values.items()}
        return _ARTICLE.sub(r"\1n ", self.sentence.format(**spoken))

    def _meant(self, text: str, shown: Mapping[str, str]) -> dict[str, str]:
        """Attribute -> the value that a text asks for, where the values of `shown` hold."""
        found = self._book.read(text)
        if found.in_full == frozenset(self.phrases):  # it describes a scene, and so changes none
            shown = {}
        named: dict[str, str] = {}
        for name, values in found.values.items():
            holds, turns = shown.get(name, ""), self.relative.get(name, {})
            meant = (turns[value].get(holds, "") if value in turns else value for value in values)
            if possible := [value for value in meant if value]:
                named[name] = self._chosen(name, possible, holds)
        for name, words in self.either.items():
            for word in found.rest:
                if name not in named and word in words:
                    named[name] = shown[name] if shown.get(name) in words[word] else words[word][0]
        return named

    def _chosen(self, name: str, values: list[str], holds: str) -> str:
        """Of several values one that is new, as where a cat becomes a dinosaur, and not weak."""
        new = [value for value in values if value != holds] or values
        return next((value for value in new if value not in self.weak.get(name, ())), new[0])

    def completes(self, prompt: str) -> bool:
        """Whether a prompt leaves something out, says it in short phrases, or says anything else."""
        found = self._book.read(prompt)
        whole = found.in_full == frozenset(self.phrases)
        return not whole or found.doubtful or not self._linking.issuperset(found.rest)

    def knows(self, word: str) -> bool:
        """Whether a word is part of a phrase, may mean one of several values, or is needless."""
        return self._known.issuperset(_words(word))

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits that differ for another completion."""
        return hashlib.sha256(json.dumps(to_dict(self)).encode()).hexdigest()[:16]

    @cached_property
    def _book(self) -> PhraseBook:
        short = {name: dict(table) for name, table in self.short_phrases.items()}
        for name, turns in self.relative.items():
            short.setdefault(name, {}).update((phrase, (phrase,)) for phrase in turns)
        needless = tuple(one for one in self.needless if len(_words(one)) > 1)
        return PhraseBook(self.phrases, short, needless, self.describes)

    @cached_property
    def _linking(self) -> frozenset[str]:
        return frozenset(self.linking)

    @cached_property
    def _known(self) -> frozenset[str]:
        return self._book.words.union(*self.either.values(), *map(_words, self.needless))


def _words(text: str) -> list[str]:
    """Lower-case words and punctuation marks."""
    return _WORD.findall(text.lower())


def _excluded(before: list[str]) -> bool:
    """Whether the words before a phrase end with one that excludes it, as in "without a" or "don't"."""
    while before and before[-1] in BETWEEN:
        before = before[:-1]
    return bool(before) and (before[-1] in EXCLUDING or before[-2:] in (["'", "t"], ["’", "t"]))


def _find(words: list[str], phrase: tuple[str, ...]) -> int | None:
    """Index at which a phrase begins."""
    size = len(phrase)
    return next((i for i in range(len(words) - size + 1) if tuple(words[i : i + size]) == phrase), None)
