"""Messages during play: from the worker, and about goals, remarks, the end, and slow worlds."""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch

from longlive_env.engine.config import WorldConfig
from longlive_env.engine.devices import WORTHWHILE, bfloat16_gain
from longlive_env.engine.world import World
from longlive_env.viewer.bindings import Bindings
from longlive_env.viewer.exchange import Notice
from longlive_env.viewer.messages import SECONDS_NOTE, Messages
from longlive_env.viewer.playback import Playback
from longlive_env.viewer.view import View

SLOW_S = 10.0  # of being slower than the video before advice is given
FASTER = "Too slow for this machine? longlive play {} is faster"


class News:
    """Notices what there is to report.

    Args:
        messages: messages in the window.
        bindings: bindings of keys to actions.
        advises: whether to say how to make a slow world faster, which would not show a recorded run.
    """

    def __init__(self, messages: Messages, bindings: Bindings, *, advises: bool = True) -> None:
        self._messages, self._bindings = messages, bindings
        self._ended = False  # whether the frame on show is past the end of the scenario
        self._keeps_up_at, self._advises = 0.0, advises  # time it last kept up; whether to offer help

    def tell(self, notices: Iterable[Notice], now: float) -> None:
        """Show messages of the worker."""
        for notice in notices:
            if notice.settles:
                self._messages.drop_errors()
            self._messages.add(as_sentence(notice.text), now, wrong=notice.wrong)

    def update(self, playback: Playback, view: View, now: float) -> None:
        """Report what came with the frame on show."""
        beats = playback.news()
        for remark in (remark for beat in beats for remark in beat.remarks):
            self._messages.add(remark, now, seconds=SECONDS_NOTE)
        for goal in (goal for beat in beats for goal in beat.reached):  # last, as few messages have room
            fault = goal.points < 0
            kind = "Penalty" if fault else "Goal"
            self._messages.add(f"{kind}: {goal.name} ({goal.points:+d})", now, wrong=fault)
        ended = view.ends is not None and playback.position >= view.ends
        if ended and not self._ended:
            self._messages.add(_the_end(view, self._bindings), now)
        self._ended = ended
        self._advise(playback, view, now)

    def _advise(self, playback: Playback, view: View, now: float) -> None:
        """Say once how to speed up a world that is slower than its video."""
        if not playback.clock.slow(now):
            self._keeps_up_at = now
        elif self._advises and now - self._keeps_up_at > SLOW_S:
            self._advises = False
            options = faster_options(view.config, _wants_bfloat16(view.world))
            if options:
                self._messages.add(FASTER.format(options), now, seconds=SECONDS_NOTE)


def as_sentence(text: str) -> str:
    """Return a message that begins with a capital, as all in the window do, unless it begins with a name."""
    return text[:1].upper() + text[1:] if re.match(r"[a-z]+[ ,;]", text) else text


def faster_options(config: WorldConfig, bfloat16: bool = False) -> str:
    """Return options of `longlive play` that speed up a world; empty if none is left.

    Args:
        config: the world as it is played.
        bfloat16: whether it would be faster in that type.
    """
    half = len(config.sampler.steps) // 2  # fewer denoising steps
    options = {
        "--precision bf16": bfloat16,
        f"--steps {half}": half > 0,
        "--codec light": config.draws_detail,
    }
    return " ".join(option for option, helps in options.items() if helps)


def _wants_bfloat16(world: World) -> bool:
    """Return whether a world is computed in float32 on a processor that is faster in bfloat16."""
    slow = world.device.type == "cpu" and world.dtype == torch.float32
    return slow and bfloat16_gain() > WORTHWHILE


def _the_end(view: View, bindings: Bindings) -> str:
    """Return the message for the end of a scenario."""
    if view.score is None:
        return "The story ends here. The world goes on, and it is yours"
    result = f"The end: {view.score.points} of {view.score.possible} points"
    return f"{result}. Click where you want to try again, or {bindings.first('restart')} begins anew"
