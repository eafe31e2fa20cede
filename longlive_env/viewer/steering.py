"""Prompt changes by key: the scenario's bindings, and sensible defaults where it has none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from longlive_env.scenario import Change, Scenario, Wording
from longlive_env.scenario.timeline import every_change
from longlive_env.viewer.actions import BY_NAME, DIRECTIONS
from longlive_env.viewer.bindings import Bindings, shown

MOVES = {"left": "walks left", "right": "walks right", "up": "jumps", "down": "stands still"}
QUICK = (
    *(Change(words, "weather") for words in ("on a sunny day", "at sunset", "at night")),
    *(Change(words, "weather") for words in ("in the rain", "in the snow", "in the fog")),
    *(Change(words, "setting") for words in ("in the city", "on the beach", "on the moon")),
)


@dataclass(frozen=True)
class Steering:
    """Changes of the prompt by key.

    Attributes:
        moves: direction -> change.
        quick: changes for the number keys, starting at 1.
        keys: further chords -> change.
        wording: finder of the parts of prompts that changes replace.
        warnings: messages about keys that a scenario asks for but does not get.
        prepared: number key -> a prompt of the user's own, which overrides the scenario's.
    """

    moves: Mapping[str, Change]
    quick: tuple[Change, ...]
    keys: Mapping[str, Change]
    wording: Wording
    warnings: tuple[str, ...] = ()
    prepared: Mapping[int, Change] = field(default_factory=dict)

    @property
    def numbered(self) -> dict[int, Change]:
        """What the number keys ask for, in order."""
        return dict(sorted((dict(enumerate(self.quick, start=1)) | dict(self.prepared)).items()))

    @classmethod
    def of(cls, scenario: Scenario | None, vocabulary: str, bindings: Bindings) -> Steering:
        """Create the changes for a scenario, which may be None, in words of the vocabulary of that name.

        A scenario's letters and numbers override steering by letters and the quick prompts, but not the
        viewer's own keys, such as R.
        """
        bound = dict(scenario.keys) if scenario is not None else {}
        told = every_change(scenario.timeline) if scenario is not None else ()
        moves = {way: bound.pop(way, Change(words, "action")) for way, words in MOVES.items()}
        quick = scenario.quick if scenario is not None and scenario.quick else QUICK
        kept = kept_keys(bound, bindings)
        free = {key: change for key, change in bound.items() if key not in kept}
        wording = Wording.of(vocabulary, [*moves.values(), *quick, *free.values(), *told])
        return cls(moves, tuple(quick), free, wording, tuple(kept.values()))

    def change(self, chord: str, action: str | None) -> Change | None:
        """Return the change for a chord, which is bound to `action`."""
        if chord in self.keys:
            return self.keys[chord]
        if action is None:
            return None
        if action in self.moves:
            return self.moves[action]
        asked = BY_NAME[action]
        return self.numbered.get(asked.number) if asked.kind == "quick" else None

    def free(self, action: str, bindings: Bindings) -> list[str]:
        """Return the keys of an action, without those that the scenario has taken."""
        return [chord for chord in bindings.keys(action) if chord not in self.keys]

    def replaces(self, action: str, bindings: Bindings) -> bool:
        """Return whether the scenario has taken all that asked for an action."""
        chords = [*bindings.keys(action), *bindings.keys(action, pad=True)]
        return bool(chords) and all(chord in self.keys for chord in chords)

    def prepare(self, number: int, prompt: str, bindings: Bindings) -> Steering:
        """Return a copy in which a number key asks for this prompt, whatever it did before."""
        free = {chord: change for chord, change in self.keys.items() if not _asks(bindings, chord, number)}
        return replace(self, keys=free, prepared={**self.prepared, number: Change(prompt)})

    def apply(self, change: Change, prompt: str) -> str:
        """Apply a change to `prompt`."""
        return change.apply(prompt, self.wording)


def kept_keys(keys: Iterable[str], bindings: Bindings) -> dict[str, str]:
    """Return the scenario's keys that the viewer reserves, with a message to the author about each."""
    kept = {}
    for key in keys:
        action = bindings.action(key)
        if action is not None and action not in DIRECTIONS and BY_NAME[action].kind != "quick":
            own = f"the viewer keeps {shown(key)} for itself ({BY_NAME[action].text})"
            kept[key] = f"{own}; choose another key in the scenario"
    return kept


def _asks(bindings: Bindings, chord: str, number: int) -> bool:
    """Return whether a chord is the key of a quick prompt."""
    return bindings.action(chord) == f"quick_{number}"
