"""Results as Markdown tables, with a 95 % interval after each figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from longlive_env.ablation.study import Result
from longlive_env.ablation.switches import DISTANCES
from longlive_env.ablation.variants import PROMPT_SWITCH
from longlive_env.evaluate import SETTLE_BLOCKS, SOON_BLOCKS
from longlive_env.intervals import Estimate, Share, difference_of_means, difference_of_shares
from longlive_env.long_take import FALL_TARGET, MOTION_TARGET, STATISTICS, LongTake, further_drift
from longlive_env.tiny.scene import ATTRIBUTES

NOT_MEASURED = "–"


def summary(results: Sequence[Result]) -> str:
    """Summarise the findings in a few columns: obeyed, smooth, still obeyed, drift."""
    head = (
        "",
        "rollouts: switch, long",
        "switch: new prompt obeyed",
        "switch: jump of pixels",
        "long take: adherence, last 10 s",
        "long take: drift",
    )

    def cells(one: Result, first: Result) -> tuple[str, ...]:
        return (
            ", ".join(str(part.rollouts) if part else NOT_MEASURED for part in (one.switch, one.long)),
            share(one.switch.obeyed()) if one.switch else NOT_MEASURED,
            times(one.switch.jump("pixels")) if one.switch else NOT_MEASURED,
            *_long_in_short(one, first, results),
        )

    return _by_group(head, results, cells)


def switch_table(results: Sequence[Result]) -> str:
    """Return the full table of prompt switches."""
    head = (
        "",
        "rollouts",
        f"obeyed in block {SOON_BLOCKS}",
        f"in block {SETTLE_BLOCKS}",
        "against the first, points",
        "others kept",
        *(f"jump: {name}" for name in ("pixels", "features", "features of the unchanged")),
    )

    def cells(one: Result, first: Result) -> tuple[str, ...] | None:
        switch = one.switch
        if switch is None:
            return None
        against = NOT_MEASURED
        if one is not first and first.switch is not None:
            both = min(switch.rollouts, first.switch.rollouts)
            against = points(
                difference_of_shares(first.switch.settled[:both], switch.settled[:both]).scaled(100)
            )
        return (
            str(switch.rollouts),
            share(switch.obeyed(SOON_BLOCKS)),
            share(switch.obeyed()),
            against,
            share(switch.kept()),
            *(times(switch.jump(name)) for name in DISTANCES),
        )

    return _by_group(head, results, cells)


def long_table(results: Sequence[Result]) -> str:
    """Return the full table of long takes."""
    head = (
        "",
        "rollouts",
        "seconds",
        "adherence, first 10 s",
        "last 10 s",
        "against the first, points",
        "drift",
        "against the first, points",
        "motion / rendered",
    )

    def cells(one: Result, first: Result) -> tuple[str, ...] | None:
        long = one.long
        if long is None:
            return None
        adherence, drift = NOT_MEASURED, NOT_MEASURED
        if one is not first and first.long is not None and first.long.seconds == long.seconds:
            both = min(long.rollouts, first.long.rollouts)
            ours, theirs = (take.shown[:both, -1].mean(axis=1) for take in (long, first.long))
            adherence = points(difference_of_means(theirs, ours).scaled(100))
            drift = points(further_drift(first.long, long).scaled(100))
        return (
            str(long.rollouts),
            f"{long.seconds:.0f}",
            share(long.adherence(0)),
            share(long.adherence(-1)),
            adherence,
            percent(long.drift),
            drift,
            times(long.motion_ratio),
        )

    return _by_group(head, [one for one in results if _has_long(one)], cells)


def change_table(results: Sequence[Result]) -> str:
    """Return the table of changes in look from the first ten seconds to the last, beside rendered scenes."""
    head = ("", *(_title(name) for name in STATISTICS), "drift of the same scenes, rendered")

    def cells(one: Result, _: Result) -> tuple[str, ...] | None:
        if one.long is None:
            return None
        changes = (percent(one.long.change(name), signed=True) for name in STATISTICS)
        return (*changes, percent(one.long.rendered_drift))

    return _by_group(head, [one for one in results if _has_long(one)], cells)


def attribute_table(long: LongTake) -> str:
    """Return the table of one world's attributes over long takes, beside the targets."""
    head = ("", "first 10 s", "last 10 s", "fall, points", "target")
    lines = [
        (
            name,
            share(long.share(name, 0)),
            share(long.share(name, -1)),
            points(long.fall(name)),
            f"at most {FALL_TARGET:g}: {_verdict(long.fall(name).value <= FALL_TARGET)}",
        )
        for name in ATTRIBUTES
    ]
    ratio = long.motion_ratio
    target = (
        f"{1 - MOTION_TARGET:g} to {1 + MOTION_TARGET:g}: {_verdict(abs(ratio.value - 1) <= MOTION_TARGET)}"
    )
    lines.append(("motion / rendered", "", times(ratio), "", target))
    if (flicker := long.flicker) is not None and (moving := long.motion_beyond_flicker) is not None:
        excess = f"{1e3 * flicker.value:.1f}{_interval(flicker.scaled(1e3), '{:.1f}')}"
        lines.append(("scenes at rest: motion beyond rendered, thousandths", "", excess, "", ""))
        lines.append(("other scenes: motion less that, / rendered", "", times(moving), "", ""))
    return _table(head, lines)


def eval_table(measures: Sequence[dict[str, Any]], headings: dict[str, str]) -> str:
    """Return the table of a `longlive eval` report, from its JSON."""
    head = ("", "", "share", "bar", "target")
    lines = []
    for one in measures:
        low, high = one["interval"]
        cells = [f"{100 * one['share']:.1f} % ({100 * low:.0f} to {100 * high:.0f})"]
        for goal, reached in (("bar", "passed"), ("target", "on_target")):
            known = one[goal] is not None
            cells.append(f"{100 * one[goal]:.0f} %: {_verdict(one[reached])}" if known else "")
        lines.append((headings[one["group"]], one["name"], *cells))
    return _table(head, lines)


def share(value: Share) -> str:
    """Format as `91 % (81 to 96)`."""
    low, high = value.interval
    return f"{100 * value.share:.0f} % ({100 * low:.0f} to {100 * high:.0f})"


def times(value: Estimate) -> str:
    """Format as `1.42 (1.30 to 1.61)`."""
    return f"{value.value:.2f}" + _interval(value, "{:.2f}")


def percent(value: Estimate, signed: bool = False) -> str:
    """Format as `12 % (10 to 15)`."""
    form = "{:+.0f}" if signed else "{:.0f}"
    return form.format(100 * value.value) + " %" + _interval(value.scaled(100), form)


def points(value: Estimate) -> str:
    """Format as `-3.1 (-6.0 to -0.2)`."""
    return f"{value.value:+.1f}" + _interval(value, "{:+.1f}")


def _interval(value: Estimate, form: str) -> str:
    if value.interval is None:
        return ""
    return " ({} to {})".format(*(form.format(end) for end in value.interval))


def _by_group(
    head: Sequence[str],
    results: Sequence[Result],
    cells: Callable[[Result, Result], tuple[str, ...] | None],
) -> str:
    """Return a table; `cells` is called with a result and the first of its group, None is not measured."""
    lines: list[tuple[str, ...]] = []
    first: Result | None = None
    for one in results:
        if first is None or first.variant.group != one.variant.group:
            first = one
            lines.append((f"*{one.variant.group}*",))
        lines.append((one.variant.name, *(cells(one, first) or [NOT_MEASURED] * (len(head) - 1))))
    return _table(head, lines)


def _table(head: Sequence[str], lines: Sequence[tuple[str, ...]]) -> str:
    full = [(*line, *[""] * (len(head) - len(line))) for line in lines]
    rows = [head, ("---",) * len(head), *full]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _has_long(one: Result) -> bool:
    """Return whether long takes say anything about a variant: they have no prompt switch."""
    return one.variant.group != PROMPT_SWITCH


def _long_in_short(one: Result, first: Result, results: Sequence[Result]) -> tuple[str, str]:
    """Return adherence and drift, with the length of the takes if it differs from the others."""
    if one.long is None:
        return NOT_MEASURED, NOT_MEASURED
    if one is not first and not _has_long(one):
        return (f"as {first.variant.name}",) * 2
    longest = max(other.long.seconds for other in results if other.long)
    seconds = "" if one.long.seconds == longest else f", {one.long.seconds:.0f} s"
    return share(one.long.adherence(-1)) + seconds, percent(one.long.drift)


def _title(name: str) -> str:
    return "gradient energy" if name == "gradient" else name


def _verdict(reached: bool) -> str:
    return "reached" if reached else "missed"
