"""Conditions on what a picture shows, such as `weather == rain and action != still`.

Grammar, where `and` binds tighter than `or`, and `not` tightest::

    any  = all ("or" all)*
    all  = one ("and" one)*
    one  = "not" one | "(" any ")" | NAME ("==" | "!=") VALUE | NAME "in" "(" VALUE ("," VALUE)* ")"

Names and values may stand in quotes.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from longlive_env.errors import did_you_mean

Reading = Mapping[str, str]  # attribute -> the value that a picture shows

_TOKEN = re.compile(r"""\s*(?:(?P<quote>["'])(?P<quoted>[^"']+)(?P=quote)|(?P<bare>[(),]|[=!]=|\w+|.))""")
_MOST_READINGS = 10_000  # that are tried
_KEYWORDS = ("and", "or", "not", "in", "(", ")", ",", "==", "!=")


@dataclass(frozen=True)
class Shows:
    """The attribute has one of the values."""

    attribute: str
    values: tuple[str, ...]

    def holds(self, reading: Reading) -> bool:
        """Whether the reading has one of the values."""
        return reading[self.attribute] in self.values


@dataclass(frozen=True)
class Not:
    """The opposite of a test."""

    inner: Test

    def holds(self, reading: Reading) -> bool:
        """Whether the inner test fails."""
        return not self.inner.holds(reading)


@dataclass(frozen=True)
class Several:
    """All or any of some tests."""

    joined: Literal["and", "or"]
    parts: tuple[Test, ...]

    def holds(self, reading: Reading) -> bool:
        """Whether all of them hold, or any of them."""
        results = (part.holds(reading) for part in self.parts)
        return all(results) if self.joined == "and" else any(results)


Test = Shows | Not | Several


@dataclass(frozen=True)
class Condition:
    """A condition on what a picture shows.

    Attributes:
        text: the condition as it was written.
        test: what it means.
    """

    text: str
    test: Test

    @classmethod
    def parse(cls, text: str, attributes: Mapping[str, Collection[str]]) -> Condition:
        """Read a condition.

        Args:
            text: the condition, see the grammar above.
            attributes: attribute -> values that it can have.

        Raises:
            ValueError: `text` is not a condition, or names an unknown attribute or value.
        """
        parser = _Parser(text, attributes)
        test = parser.any()
        if parser.token:
            raise ValueError(f"{parser.token!r} is one too many; join conditions by 'and' or 'or'")
        return cls(text, test)

    @property
    def is_possible(self) -> bool:
        """Whether some picture may fulfil it, as far as that can be told by the values it names."""
        named: dict[str, set[str]] = {}
        for shows in _every_shows(self.test):
            named.setdefault(shows.attribute, {""}).update(shows.values)  # "" is any other value
        if math.prod(map(len, named.values())) > _MOST_READINGS:
            return True
        readings = (dict(zip(named, values, strict=True)) for values in itertools.product(*named.values()))
        return any(map(self.test.holds, readings))

    def holds(self, reading: Reading) -> bool:
        """Whether the condition holds for what was read from a picture."""
        return self.test.holds(reading)

    def __str__(self) -> str:
        return self.text


def _every_shows(test: Test) -> Iterator[Shows]:
    """The tests of single attributes that a test consists of."""
    match test:
        case Shows():
            yield test
        case Not():
            yield from _every_shows(test.inner)
        case Several():
            for part in test.parts:
                yield from _every_shows(part)


class _Parser:
    """Recursive descent over the tokens; `token` is the next one, empty at the end."""

    def __init__(self, text: str, attributes: Mapping[str, Collection[str]]) -> None:
        self._tokens: Iterator[str] = (
            match["quoted"] or match["bare"] for match in _TOKEN.finditer(text.strip())
        )
        self._attributes = attributes
        self.token = next(self._tokens, "")

    def any(self) -> Test:
        parts = [self._all()]
        while self._skip("or"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else Several("or", tuple(parts))

    def _all(self) -> Test:
        parts = [self._one()]
        while self._skip("and"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else Several("and", tuple(parts))

    def _one(self) -> Test:
        if self._skip("not"):
            return Not(self._one())
        if self._skip("("):
            inner = self.any()
            self._expect(")")
            return inner
        attribute = self._name("attribute", self._attributes)
        values = self._attributes[attribute]
        if self._skip("in"):
            self._expect("(")
            listed = [self._name(attribute, values)]
            while self._skip(","):
                listed.append(self._name(attribute, values))
            self._expect(")")
            return Shows(attribute, tuple(listed))
        if self._skip("!="):
            return Not(Shows(attribute, (self._name(attribute, values),)))
        self._expect("==")
        return Shows(attribute, (self._name(attribute, values),))

    def _skip(self, token: str) -> bool:
        if self.token != token:
            return False
        self.token = next(self._tokens, "")
        return True

    def _expect(self, token: str) -> None:
        if not self._skip(token):
            raise ValueError(
                f"expected {token!r} before {self.token or 'the end'!r}; "
                "write conditions such as: weather == rain and action != still"
            )

    def _name(self, what: str, valid: Collection[str]) -> str:
        name = self.token
        if name not in valid:
            got = "the end" if not name else f"{name!r}"
            remedy = did_you_mean(name, valid, f"valid: {', '.join(valid)}")
            missing = not name or name in _KEYWORDS
            raise ValueError(
                f"{got} is not a valid {what}; {remedy}" if not missing else f"{what} is missing before {got}"
            )
        self._skip(name)
        return name
