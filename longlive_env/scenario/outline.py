"""A scenario as text: its timeline with the prompts that result, goals and keys."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from longlive_env.scenario.change import WHOLE
from longlive_env.scenario.goals import Goal, possible_points
from longlive_env.scenario.mix import Mix
from longlive_env.scenario.model import Plan, Scenario
from longlive_env.scenario.moment import START, Moment
from longlive_env.scenario.script import Script, Step
from longlive_env.scenario.timeline import Branch, Choice, Cue, Entry, Loop, every_entry

WIDTH = 100  # columns
INDENT = "  "
_HEAD = f"{'time':>9}  {'block':>5}  "  # what stands left of the prompts


def outline(scenario: Scenario, plan: Plan) -> Iterator[str]:
    """Lines that say what will happen, as far as the seed and the file decide it.

    Args:
        scenario: the scenario to describe.
        plan: plan of that scenario in some world.
    """
    yield from _heading(scenario, plan)
    yield ""
    yield f"{_HEAD}prompt, and what comes with it"
    yield from _timeline(plan)
    if plan.goals:
        possible = possible_points(plan.logged_goals)
        yield from ("", f"goals, for {possible} points")
        for goal in plan.goals:
            yield from _wrapped(f"{goal.points:>+5}  ", _goal(goal))
    names = max(map(len, scenario.keys), default=1)
    numbered = {f"{number}": change for number, change in enumerate(scenario.quick, start=1)}
    for title, bound in (("keys", scenario.keys), ("number keys", numbered)):
        if bound:
            yield from ("", title)
        for name, change in bound.items():
            yield from _wrapped(f"{INDENT}{name:<{names}}  ", str(change))


def _heading(scenario: Scenario, plan: Plan) -> Iterator[str]:
    """Name, description, and what is set besides the timeline."""
    yield from _wrapped("", f"{scenario.name}: {scenario.description}".rstrip(": "))
    facts = [
        f"world {scenario.world}",
        f"seed {plan.seed}",
        f"{plan.blocks} blocks, {plan.frames / plan.pace.fps:.1f} s",
    ]
    facts += [f"pack {scenario.pack}"] * bool(scenario.pack)
    facts += ["live, so it goes on while somebody steers"] * plan.live
    facts += [f"goes on from {scenario.frames}"] * bool(scenario.frames)
    facts += [f"recache {plan.recache}"] * (plan.recache != "full")
    yield from _wrapped("", "; ".join(facts))
    if scenario.notes:
        yield from _wrapped("", scenario.notes)


def _timeline(plan: Plan) -> Iterator[str]:
    """A row for each block in which something happens, with its time and what happens."""
    script = Script(plan)
    known, drawn = True, True  # whether the prompt is, and what choices draw
    for block in range(plan.blocks):
        step = script.before(block)
        texts: list[str] = []
        for branch in step.open:
            known = False
            drawn &= not any(
                isinstance(entry, Choice) and entry.seed is None for entry in every_entry((branch,))
            )
            texts += _undecided(branch)
        texts += _decisions(step, drawn)
        known |= any(_is_whole(cue) for cue in step.cues)
        if block == 0 or step.cues:
            texts.append(_prompt(step, known))
        texts += (f"{INDENT}note: {remark}" for remark in step.remarks)
        head = f"{plan.pace.first_frame(block) / plan.pace.fps:>7.1f} s  {block:>5}  "
        for text in texts:
            yield from _wrapped(head, text)
            head = " " * len(_HEAD)


def _is_whole(cue: Cue) -> bool:
    """Whether the prompt after a cue is the same, whatever it was before."""
    return isinstance(cue.change, Mix) or cue.change.part == WHOLE


def _prompt(step: Step, known: bool) -> str:
    """The prompt that is in force, and how long it takes to blend in."""
    text = step.mix.prompt
    if not known:
        changes = ", ".join(str(cue.change) for cue in step.cues)
        text = f"{changes}; the rest depends on the picture"
    blend = step.cues[-1].blend if step.cues else None
    return text if blend is None else f"{text} (blends for {blend.length})"


def _decisions(step: Step, drawn: bool) -> Iterator[str]:
    """What was chosen on the way to this step."""
    for note in step.notes:
        if note not in step.remarks:
            yield note if drawn else f"{note}, unless a choice within a branch draws before"


def _undecided(branch: Branch) -> Iterator[str]:
    """What a branch waits for, and what follows if it is seen and if it is not."""
    yield f"depends on the picture: {branch.when}{_within(branch)}"
    yield from _sides(branch, INDENT)


def _sides(branch: Branch, indent: str) -> Iterator[str]:
    for name, timeline in (("then", branch.then), ("else", branch.otherwise)):
        if timeline:
            yield f"{indent}{name}:"
            yield from _entries(timeline, indent + INDENT)


def _entries(timeline: Sequence[Entry], indent: str) -> Iterator[str]:
    """Entries of a timeline without a known start, as the file has them; times count from that start."""
    for entry in timeline:
        after = f"{indent}+{entry.at.length}  "
        match entry:
            case Cue():
                blend = f" (blends for {entry.blend.length})" if entry.blend else ""
                yield f"{after}{entry.change}{blend}"
                yield from (f"{indent}{INDENT}note: {note}" for note in entry.notes)
            case Choice():
                yield f"{after}one of these, drawn by {'its own' if entry.seed is not None else 'the'} seed:"
                for number, option in enumerate(entry.options, start=1):
                    weight = f" (weight {option.weight:g})" if option.weight != 1 else ""
                    yield f"{indent}{INDENT}option {number}{weight}:"
                    yield from _entries(option.timeline, indent + 2 * INDENT)
            case Branch():
                yield f"{after}depends on the picture: {entry.when}{_within(entry)}"
                yield from _sides(entry, indent + INDENT)
            case Loop():
                times = "always" if entry.times is None else f"{entry.times} times"
                yield f"{after}repeats {times}, every {entry.every.length}:"
                yield from _entries(entry.timeline, indent + INDENT)


def _within(branch: Branch) -> str:
    return f", within {branch.within.length}" if branch.within is not None else ""


def _goal(goal: Goal) -> str:
    """A goal with its conditions."""
    terms = [f"when {goal.when}"]
    terms += [f"for {Moment(goal.hold, 'blocks').length}"] * (goal.hold > 1)
    terms += [f"after {goal.after}"] * (goal.after != START)
    terms += [f"by {goal.by}"] * (goal.by is not None)
    return f"{goal.name}: {', '.join(terms)}"


def _wrapped(head: str, text: str) -> list[str]:
    """`text` after `head`, in lines of `WIDTH` columns at most, indented to where the text begins."""
    words = text.lstrip(" ")
    begin = head + text[: len(text) - len(words)]
    return textwrap.wrap(
        words,
        WIDTH,
        initial_indent=begin,
        subsequent_indent=" " * len(begin) + INDENT * bool(begin),
        break_on_hyphens=False,
    )
