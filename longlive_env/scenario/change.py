"""Changes of a prompt: all of it, or one part of it while the rest is said again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from longlive_env.envs.vocabulary import vocabulary_of

WHOLE = "prompt"
PARTS = ("action", "setting", "weather")  # what can be exchanged in a prompt that stands


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
        known = vocabulary_of(world).phrases
        changes = list(changes)
        return cls(
            {part: (*known[part], *(one.words for one in changes if one.part == part)) for part in PARTS}
        )

    def finds(self, prompt: str, part: str) -> bool:
        """Whether `prompt` holds a phrase of this part."""
        return self._pattern(part).search(prompt) is not None

    def exchange(self, prompt: str, part: str, words: str) -> str:
        """`prompt` with `words` instead of its phrase for `part`; at the end, if it holds none."""
        replaced, count = self._pattern(part).subn(lambda _: words, prompt, count=1)
        return replaced if count else f"{prompt.rstrip(' .,')}, {words}"

    def _pattern(self, part: str) -> re.Pattern[str]:
        longest_first = sorted(self.phrases[part], key=len, reverse=True)
        return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)", re.IGNORECASE)


@dataclass(frozen=True)
class Change:
    """What becomes of the prompt in force.

    Attributes:
        words: the new prompt, or words for one part of it.
        part: `"prompt"`, or which part they replace: `"action"`, `"setting"` or `"weather"`.
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
