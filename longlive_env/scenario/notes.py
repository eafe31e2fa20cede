"""What a log says of decisions and goals. All other notes are remarks, for whoever watches."""

from __future__ import annotations

import re

_OWN = re.compile(r"choice at .+: \d+ of \d+|when .+: (?:yes|no)|goal .+: [+-]\d+")


def choice_note(at: object, number: int, options: int) -> str:
    """The note that says which option was chosen, counted from 1."""
    return f"choice at {at}: {number} of {options}"


def branch_note(when: object, *, seen: bool) -> str:
    """The note that says whether what a branch waits for was seen."""
    return f"when {when}: {'yes' if seen else 'no'}"


def goal_note(name: str, points: int) -> str:
    """The note that says that a goal was reached."""
    return f"goal {name}: {points:+d}"


def is_remark(note: str) -> bool:
    """Whether a note of a log, which does not say so itself, is none of the above."""
    return _OWN.fullmatch(note) is None
