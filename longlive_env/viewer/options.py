"""What the viewer is started with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from longlive_env.scenario import Scenario
from longlive_env.viewer.bindings import Bindings
from longlive_env.viewer.scaling import Size, UIScale


@dataclass(frozen=True)
class Options:
    """What the viewer is started with.

    Attributes:
        title: of the window.
        world: name of the world or folder of its weights, as saved scenarios name it.
        scenario: whose keys and quick prompts count; None for none.
        read_again: reads the scenario again; None if it comes from no file.
        replays: whether a recorded run is watched, with the options that it was made with.
        bindings: which key does what.
        out: where recordings, screenshots and scenarios go.
        size: of the window in points; None for one that suits the screen.
        ui_scale: how large texts and panels are.
        crisp: whether pixels keep their edges.
        fullscreen: whether it fills the screen.
        agent_first: whether the agent begins in the seat.
        prompts: the file in which typed prompts are kept for later; None keeps none.
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
