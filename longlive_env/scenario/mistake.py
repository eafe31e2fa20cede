"""A mistake in YAML, as its parser sees it, and the lines around it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import yaml

Told = tuple[int, str] | None  # a line, counted from 1, and what is said of it
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # where lines end in YAML
_QUOTED = 60  # most characters of a line that a message quotes


@dataclass(frozen=True)
class Mistake:
    """What the parser of YAML complains about; lines and columns count from 0."""

    text: str
    error: yaml.MarkedYAMLError

    @property
    def problem(self) -> str:
        """What it complains about; "" if it does not say."""
        return self.error.problem or ""

    @property
    def context(self) -> str:
        """What it was reading; "" if it does not say."""
        return self.error.context or ""

    @property
    def mark(self) -> yaml.Mark:
        """Where the parser gave up."""
        assert self.error.problem_mark is not None  # `slip` has checked it
        return self.error.problem_mark

    @property
    def begin(self) -> yaml.Mark:
        """Where what it could not read begins."""
        return self.error.context_mark or self.mark

    @property
    def line(self) -> int:
        """The line where the parser gave up."""
        return int(self.mark.line)

    @cached_property
    def lines(self) -> list[str]:
        """The lines of the text."""
        return _BREAK.split(self.text)

    def above(self, line: int) -> Iterator[tuple[int, str]]:
        """The lines above one, upwards, without those that hold nothing."""
        for number in range(line - 1, -1, -1):
            if (text := self.lines[number]).strip() and not text.lstrip().startswith("#"):
                yield number, text

    def token_before(self) -> yaml.Token | None:
        """The token that ends before the mistake."""
        last = None
        try:
            for token in yaml.scan(self.text, Loader=yaml.SafeLoader):
                if token.start_mark.index >= self.mark.index:
                    break
                if token.end_mark.index > token.start_mark.index:
                    last = token
        except yaml.YAMLError:  # beyond the mistake
            pass
        return last


def short(text: str) -> str:
    """What a message quotes of a line."""
    return text if len(text) <= _QUOTED else f"{text[: _QUOTED - 1]}…"
