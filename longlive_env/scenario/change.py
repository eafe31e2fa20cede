"""Changes of a prompt: all of it, or parts of it while the rest is repeated."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from longlive_env.envs.vocabulary import vocabulary_of

WHOLE = "prompt"
PARTS = ("subject", "colour", "action", "setting", "weather")  # what can be exchanged in a prompt that stands
_ARTICLE = re.compile(r"^(?:an?|the)\s", re.IGNORECASE)


@dataclass(frozen=True)
class Wording:
    """Phrases by which the parts of a prompt are found.

    Attributes:
        phrases: part -> phrases that stand for it; subjects are without their article.
    """

    phrases: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, vocabulary: str, changes: Iterable[Change] = ()) -> Wording:
        """The wording of a vocabulary, and of changes that may have been made to a prompt before.

        Args:
            vocabulary: name of the vocabulary, see `WorldConfig.vocabulary`.
            changes: their words count as phrases too, so that later changes can replace them. Words that the
                vocabulary knows as another part do not, since later changes would replace that part.
        """
        known = cls.known(vocabulary)
        said: dict[str, list[str]] = {part: [] for part in PARTS}
        for one in (single for change in changes for single in change.each):
            if one.part in said and not known.other_part(one):
                said[one.part].append(_ARTICLE.sub("", one.words) if one.part == "subject" else one.words)
        return cls({part: (*known.phrases[part], *dict.fromkeys(said[part])) for part in PARTS})

    @classmethod
    @lru_cache
    def known(cls, vocabulary: str) -> Wording:
        """The wording of the vocabulary of that name alone."""
        found = vocabulary_of(vocabulary)
        nouns = tuple(_ARTICLE.sub("", noun) for noun in found.nouns)
        return cls({**found.phrases, "subject": nouns, "colour": found.colours})

    def part_of(self, words: str) -> str:
        """The part for which `words` as a whole are a phrase; "" if there is none."""
        return next((part for part in PARTS if self._is_phrase(words, part)), "")

    def other_part(self, change: Change) -> str:
        """The other part for which the words of a one-part change are a phrase, if any; else ""."""
        return "" if self._is_phrase(change.words, change.part) else self.part_of(change.words)

    def finds(self, prompt: str, part: str) -> bool:
        """Whether `prompt` holds a phrase of this part; a subject can be given a colour."""
        found = self._find(prompt, part)
        return found is not None or (part == "colour" and self.finds(prompt, "subject"))

    def uncoloured(self, prompt: str) -> str:
        """The subject that a colour would go before; "" if there is none, or a colour to replace."""
        place = None if self._find(prompt, "colour") else self._find(prompt, "subject")
        return "" if place is None else place["what"]

    def exchange(self, prompt: str, part: str, words: str) -> str:
        """`prompt` with `words` in place of its phrase for `part`, or at the end if it holds none.

        A phrase within a longer one of another part stays. A subject is replaced together with its colour. An
        article before a subject or a colour stays unless the words bring one; it becomes "a" or "an" to suit
        them.
        """
        place = self._find(prompt, part)
        if place is None and part == "colour" and (place := self._find(prompt, "subject")):
            words = f"{words} {place['what']}"
        if place is None:
            return f"{prompt.rstrip(' .,')}, {words}"
        article = "" if _ARTICLE.match(words) else place.groupdict().get("article") or ""
        if article.strip().lower() in ("a", "an"):
            article = f"{article[0]}{'n' * (words[0].lower() in 'aeiou')} "
        return prompt[: place.start()] + article + words + prompt[place.end() :]

    def _find(self, prompt: str, part: str) -> re.Match[str] | None:
        """The first phrase of this part, `what`, that does not lie within a longer phrase of another part.

        A subject may hold its colour.
        """
        others = set(PARTS) - {part, "subject" if part == "colour" else part}
        taken = [found.span("what") for other in others for found in self._patterns[other].finditer(prompt)]
        for found in self._patterns[part].finditer(prompt):
            if not any(_within(found.span("what"), span) for span in taken):
                return found
        return None

    def _is_phrase(self, words: str, part: str) -> bool:
        return self._patterns[part].fullmatch(words.strip(" .,")) is not None

    @cached_property
    def _patterns(self) -> Mapping[str, re.Pattern[str]]:
        return {part: self._pattern(part) for part in PARTS}

    def _pattern(self, part: str) -> re.Pattern[str]:
        phrase, before = self._any(part), ""
        if part == "colour":
            before = r"(?P<article>an?\s+)?"
        elif part == "subject":
            colour = self._any("colour")
            before = rf"(?P<article>(?:an?|the)\s+)?(?:{colour}\s+)?"
            colours = re.compile(rf"(?<!\w){colour}(?!\w)", re.IGNORECASE)
            # another one may have taken its place
            phrase = _any_of(colour.join(map(re.escape, colours.split(one))) for one in self._longest(part))
        return re.compile(rf"(?<!\w){before}(?P<what>{phrase})(?!\w)", re.IGNORECASE)

    def _any(self, part: str) -> str:
        return _any_of(map(re.escape, self._longest(part)))

    def _longest(self, part: str) -> list[str]:
        """The phrases of a part, the longest first."""
        return sorted(self.phrases[part], key=len, reverse=True)


def _any_of(patterns: Iterable[str]) -> str:
    return rf"(?:{'|'.join(patterns) or '(?!)'})"


def _within(inner: tuple[int, int], outer: tuple[int, int]) -> bool:
    """Whether a span, from its start to the place after its end, lies in a longer one."""
    return outer != inner and outer[0] <= inner[0] and inner[1] <= outer[1]


@dataclass(frozen=True)
class Change:
    """What becomes of the prompt in force.

    Attributes:
        words: the new prompt, or the words for one part of it; for several parts, all of them, as people read
            them.
        part: `"prompt"`, or which of `PARTS` they replace; for several, all of these.
        line: line of the file, for messages; 0 when there is none.
        steps: one change for each part where several change at once, in order; otherwise empty.
    """

    words: str
    part: str = WHOLE
    line: int = 0
    steps: tuple[Change, ...] = ()

    @classmethod
    def of(cls, steps: Sequence[Change]) -> Change:
        """Several one-part changes as one change, made in this order; a single step is returned as it is."""
        if len(steps) == 1:
            return steps[0]
        words, parts = (
            ", ".join(texts) for texts in zip(*((one.words, one.part) for one in steps), strict=True)
        )
        return cls(words, parts, steps[0].line, tuple(steps))

    @property
    def each(self) -> tuple[Change, ...]:
        """The changes it consists of: each of the whole prompt, or of one part of it."""
        return self.steps or (self,)

    def apply(self, prompt: str, wording: Wording) -> str:
        """The prompt that this change makes of `prompt`."""
        for one in self.each:
            prompt = one.words if one.part == WHOLE else wording.exchange(prompt, one.part, one.words)
        return prompt

    def __str__(self) -> str:
        return ", ".join(one.words if one.part == WHOLE else f"{one.part}: {one.words}" for one in self.each)
