"""Changes of a prompt: all of it, or one part of it while the rest is said again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from longlive_env.envs.vocabulary import vocabulary_of

WHOLE = "prompt"
PARTS = ("subject", "colour", "action", "setting", "weather")  # what can be exchanged in a prompt that stands
_ARTICLE = re.compile(r"(?:an?|the)\s", re.IGNORECASE)


@dataclass(frozen=True)
class Wording:
    """Phrases by which the parts of a prompt are found.

    Attributes:
        phrases: part -> phrases that stand for it.
    """

    phrases: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, world: str, changes: Iterable[Change] = ()) -> Wording:
        """The wording of a world, and of changes that may have been made to a prompt before.

        Args:
            world: name of the world, whose vocabulary counts.
            changes: their words count as phrases too, so that words of one's own can be exchanged again.
        """
        vocabulary, changes = vocabulary_of(world), list(changes)
        known = {**vocabulary.phrases, "subject": vocabulary.nouns, "colour": vocabulary.colours}
        return cls(
            {part: (*known[part], *(one.words for one in changes if one.part == part)) for part in PARTS}
        )

    def finds(self, prompt: str, part: str) -> bool:
        """Whether `prompt` holds a phrase of this part; a subject can be given a colour."""
        found = self._pattern(part).search(prompt)
        return found is not None or (part == "colour" and self.finds(prompt, "subject"))

    def exchange(self, prompt: str, part: str, words: str) -> str:
        """`prompt` with `words` instead of its phrase for `part`; at the end, if it holds none.

        A subject goes with its colour. An article before it, or before a colour, stays unless the words bring
        one, and becomes "a" or "an" as they begin.
        """
        place = self._pattern(part).search(prompt)
        if place is None and part == "colour" and (place := self._pattern("subject").search(prompt)):
            words = f"{words} {place['what']}"
        if place is None:
            return f"{prompt.rstrip(' .,')}, {words}"
        article = "" if _ARTICLE.match(words) else place.groupdict().get("article") or ""
        if article.strip().lower() in ("a", "an"):
            article = f"{article[0]}{'n' * (words[0].lower() in 'aeiou')} "
        return prompt[: place.start()] + article + words + prompt[place.end() :]

    def _pattern(self, part: str) -> re.Pattern[str]:
        phrase = self._any(part)
        if part == "colour":
            phrase = rf"(?P<article>an?\s+)?{phrase}"
        elif part == "subject":
            phrase = rf"(?P<article>(?:an?|the)\s+)?(?:{self._any('colour')}\s+)?(?P<what>{phrase})"
        return re.compile(rf"(?<!\w){phrase}(?!\w)", re.IGNORECASE)

    def _any(self, part: str) -> str:
        longest_first = sorted(self.phrases[part], key=len, reverse=True)
        return rf"(?:{'|'.join(map(re.escape, longest_first)) or '(?!)'})"


@dataclass(frozen=True)
class Change:
    """What becomes of the prompt in force.

    Attributes:
        words: the new prompt, or words for one part of it.
        part: `"prompt"`, or which of `PARTS` they replace.
        line: line of the file, for messages; 0 when there is none.
    """

    words: str
    part: str = WHOLE
    line: int = 0

    def apply(self, prompt: str, wording: Wording) -> str:
        """The prompt that follows on `prompt`."""
        return self.words if self.part == WHOLE else wording.exchange(prompt, self.part, self.words)

    def __str__(self) -> str:
        return self.words if self.part == WHOLE else f"{self.part}: {self.words}"
