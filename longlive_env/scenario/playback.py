"""Playing a plan in a world.

Shapes: T pixel frames, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from longlive_env.engine.config import RECACHE_MODES, WorldConfig
from longlive_env.envs.spaces import is_allowed
from longlive_env.errors import RecordingError
from longlive_env.frames import Frames
from longlive_env.recording.log import ActionLog, LogBlock, LogGoal
from longlive_env.scenario.condition import Reading
from longlive_env.scenario.goals import Scoreboard
from longlive_env.scenario.mix import Mix, switch_mix
from longlive_env.scenario.model import Plan
from longlive_env.scenario.moment import Moment, Pace
from longlive_env.scenario.script import Script
from longlive_env.scenario.sight import Sight, sight_of
from longlive_env.scenario.timeline import Cue

if TYPE_CHECKING:
    from longlive_env.engine.rollout import Rollout
    from longlive_env.engine.world import World


@dataclass(frozen=True)
class Block:
    """One generated block.

    Attributes:
        index: number of the block, from 0.
        prompt: the prompt in force, or the one that a blend is approaching.
        frames: uint8 [T, H, W, 3].
        mix: what the text embedding was made of.
        notes: decisions made before the block and goals that it reached, for the log.
        reached: goals that the block reached.
        remarks: what a viewer is shown with it, see `Step`.
        recached: whether it was generated after a recache.
    """

    index: int
    prompt: str
    frames: Frames
    mix: Mix
    notes: tuple[str, ...] = ()
    reached: tuple[LogGoal, ...] = ()
    remarks: tuple[str, ...] = ()
    recached: bool = False


# Somebody who steers: from the running world, its newest block and the prompt that would be in force, to
# another prompt, or "" to leave it.
Steer = Callable[["Rollout", Block, str], str]


def play(world: World, plan: Plan, sight: Sight | None = None, steer: Steer | None = None) -> Iterator[Block]:
    """The blocks of `plan`, each generated when it is asked for.

    Args:
        world: the world that plays it.
        plan: the plan to play.
        sight: says what frames show, for branches and goals; None takes the world's own.
        steer: asked for a prompt before each block but the first. The plan's timeline is then followed
            only if it is live, and a prompt from `steer` takes precedence over it.

    Raises:
        PromptError: the world cannot read one of the prompts.
        ScenarioError: the plan depends on what pictures show, and nothing can read those of this world.
    """
    from longlive_env.envs.prompts import checked_prompt  # torch loads here

    def check(text: str) -> str:
        return checked_prompt(world, text)

    if plan.looks and sight is None:
        sight = sight_of(world.config)
    if steer is not None and not plan.live:
        plan = replace(plan, timeline=())
    plan.check(check)
    return _blocks(world, plan, sight, steer, check)


def _blocks(
    world: World, plan: Plan, sight: Sight | None, steer: Steer | None, check: Callable[[str], str]
) -> Iterator[Block]:
    newest: dict[int, Frames] = {}
    readings: dict[int, Reading] = {}  # of the newest block, if something asked

    def see(block: int) -> Reading:
        assert sight is not None
        if block not in readings:
            readings[block] = sight(newest[block])
        return readings[block]

    script = Script(plan, see if plan.looks else None, check)
    score = Scoreboard(plan.goals, plan.pace)
    rollout, block = None, None
    world.encode_ahead(plan.prompts)
    for index in range(plan.blocks):
        step = script.before(index)
        if steer is not None and rollout is not None and block is not None:
            prompt = check(steer(rollout, block, step.mix.prompt))
            if prompt and prompt != step.mix.prompt:
                step = replace(step, mix=Mix.of(prompt))
                script.interject(step.mix)
        mix, recached = step.mix, False
        if rollout is None or block is None:
            text = mix.embedding(world)
            rollout = world.start(mix.prompt, seed=plan.seed, text=text, frames=plan.start)
        elif mix != block.mix:
            switch_mix(rollout, mix, plan.recache)
            recached = mix.recaches(block.mix, plan.recache)
        frames = rollout.step()[0].numpy()
        readings.clear()
        newest.clear()
        newest[index] = frames
        reached = step.reached
        if plan.goals:
            reached = tuple(goal.logged for goal in score.add(index, see(index)))
        notes = (*step.notes, *(goal.note for goal in reached))
        block = Block(index, mix.prompt, frames, mix, notes, reached, step.remarks, recached)
        yield block


def replay_plan(log: ActionLog, config: WorldConfig, start: Frames | None = None) -> Plan:
    """The plan that repeats a recorded run as far as its log goes, without deciding anything again.

    Args:
        log: log of the run.
        config: configuration of the world that repeats it.
        start: frames that the run continued from, uint8 [T, H, W, 3]; see `LogHeader.frames`.

    Raises:
        RecordingError: the log holds no block, was written with an unknown recache mode, or has an invalid
            mix or texts with control characters.
    """
    if not log.blocks:
        raise RecordingError("the log holds no block; there is nothing to replay")
    if log.header.recache not in RECACHE_MODES:
        raise RecordingError(
            f"the log's recache is {log.header.recache!r}; expected {', '.join(RECACHE_MODES)}"
        )
    _check_texts(log)
    mixes = [_mix(block) for block in log.blocks]
    cues = [
        Cue(Moment(index, "blocks"), mix)
        for index, mix in enumerate(mixes)
        if log.blocks[index].notes or index == 0 or mix != mixes[index - 1]
    ]
    return Plan(
        prompt=log.blocks[0].prompt,
        seed=log.header.seed,
        blocks=len(log.blocks),
        timeline=tuple(cues),
        pace=Pace.of(config, continues=start is not None),
        recache=log.header.recache,
        start=start,
        recorded=log,
        name=log.header.name,
    )


def _mix(block: LogBlock) -> Mix:
    """The mix that was in force for a block of a log."""
    if not block.mix:
        return Mix.of(block.prompt)
    shares = all(0 <= weight <= 1 for weight in block.mix.values())
    if not shares or list(block.mix)[-1] != block.prompt:
        raise RecordingError(
            f"block {block.block} of the log has the mix {dict(block.mix)!r}; expected weights from 0 to 1, "
            "that of its prompt last"
        )
    return Mix(tuple(block.mix.items()))


def _check_texts(log: ActionLog) -> None:
    """Pass if what the log has to tell can be shown."""
    told = [(f"block {block.block}", "notes", [*block.notes, *block.remarks]) for block in log.blocks]
    goals = [*log.header.goals, *(goal for block in log.blocks for goal in block.reached)]
    for place, what, texts in (("the header", "goals", [goal.name for goal in goals]), *told):
        if not all(map(is_allowed, "".join(texts))):
            raise RecordingError(
                f"{place} of the log has the {what} {texts!r}; expected texts without control characters"
            )
