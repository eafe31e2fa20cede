"""Options of the viewer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from longlive_env.scenario import Scenario
from longlive_env.viewer.bindings import Bindings
from longlive_env.viewer.scaling import Size, UIScale


@dataclass(frozen=True)
class Options:
    """Options that the viewer is started with.

    Attributes:
        title: title of the window.
        world: name of the world or folder of its weights, as saved scenarios name it.
        scenario: scenario whose keys and quick prompts apply; None for none.
        read_again: function that reloads the scenario; None if it does not come from a file.
        replays: whether a recorded run is replayed, with its own options.
        bindings: bindings of keys to actions.
        out: folder for recordings, screenshots and scenarios.
        size: size of the window in points; None for one that suits the screen.
        ui_scale: scale of texts and panels.
        crisp: whether pixels keep sharp edges.
        fullscreen: whether the window starts in full screen.
        agent_first: whether the agent starts in the seat.
        prompts: file in which typed prompts are kept for later; None keeps none.
    """

    title: str = "longlive"
    world: str = "tiny"
    scenario: Scenario | None = None
    read_again: Callable[[], Scenario] | None = None
    replays: bool = False
    bindings: Bindings = field(default_factory=Bindings.default)
    out: Path = Path("out") / "play"
    size: Size | None = None
    ui_scale: UIScale = field(default_factory=UIScale)
    crisp: bool = False
    fullscreen: bool = False
    agent_first: bool = False
    prompts: Path | None = None
