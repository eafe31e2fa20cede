"""How the viewer looks: a dark room with one warm light. Sizes are in units of a window of 720 rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from longlive_env.viewer.history import Source

Colour = tuple[int, int, int]

INK: Colour = (12, 13, 17)  # behind everything
DOCK: Colour = (18, 20, 26)
PANEL: Colour = (24, 26, 34)
RAISED: Colour = (37, 40, 51)
LINE: Colour = (52, 56, 70)
CAP: Colour = (66, 71, 88)  # of a key
PAD_CAP: Colour = (46, 92, 96)
TEXT: Colour = (236, 234, 226)
SOFT: Colour = (168, 172, 186)
DIM: Colour = (124, 129, 147)
AMBER: Colour = (255, 186, 92)  # the user, and whatever waits for the user
TEAL: Colour = (98, 207, 200)  # the agent
LILAC: Colour = (184, 156, 240)  # the scenario
CORAL: Colour = (255, 116, 108)  # wrong, recording
WARNING: Colour = (58, 30, 32)  # behind messages about what went wrong
LEAF: Colour = (152, 208, 128)

SPANS: tuple[Colour, ...] = (
    (214, 146, 74),
    (72, 158, 170),
    (158, 118, 196),
    (122, 164, 92),
    (206, 104, 98),
    (92, 130, 202),
    (196, 126, 164),
    (150, 146, 104),
)
SOURCES: dict[Source, Colour] = {"start": SOFT, "you": AMBER, "agent": TEAL, "scenario": LILAC}

SMALL, BODY, LARGE, TITLE = 13, 15, 19, 26
DOCK_HEIGHT = 124
KEY_HEIGHT = 20
MARGIN = 20
RADIUS = 8


def mixed(one: Colour, other: Colour, share: float) -> Colour:
    """Mix two colours."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


class PromptColours:
    """Assigns a colour to each prompt, in order of first appearance."""

    def __init__(self) -> None:
        self._order: dict[str, int] = {}

    def of(self, prompt: str) -> Colour:
        """Return the colour of a prompt."""
        return SPANS[self._order.setdefault(prompt, len(self._order)) % len(SPANS)]
