"""The prompt switch: rebuild the cached keys and values of past frames under a new prompt."""

from __future__ import annotations

from collections.abc import Sequence

from longlive_env.engine import sampler
from longlive_env.engine.kv_cache import KVCache
from longlive_env.engine.state import RolloutState
from longlive_env.engine.transformer import CausalWanTransformer


def recache(
    transformer: CausalWanTransformer, state: RolloutState, worlds: Sequence[int], *, keep_sink: bool
) -> None:
    """Run the newest clean latents of some worlds through the network once, under their current prompts.

    The frames attend to each other without a causal mask. A video no longer than the context is rewritten
    whole, sink included. For a longer one, `keep_sink` leaves the sink as it is: the frames see it, and those
    that would fall on its slots are not computed. Otherwise the oldest frames of the pass become the new
    sink.

    Args:
        transformer: the world's transformer.
        state: the rollout's state, with the new prompts already set.
        worlds: worlds to recache; those that have no frames yet are left alone.
        keep_sink: whether the sink of a longer video stays, see above.
    """
    for rows in neighbours(state.cache, worlds):
        timeline = state.cache.timelines[rows.start]
        keep = keep_sink and timeline.stored > state.config.context_frames
        budget = state.config.context_frames - (state.config.sink_frames if keep else 0)
        frames = min(timeline.position, budget)
        if not frames:
            continue
        memory = state.cache.rewrite(rows, frames, keep_sink=keep)
        latents = state.history[rows, -frames:]
        sampler.remember(transformer, latents, state.cross.rows(rows), memory)
        state.cache.commit(memory)


def neighbours(cache: KVCache, worlds: Sequence[int]) -> list[slice]:
    """Split worlds into runs of neighbours with equal timelines; each is one batch, without copies."""
    runs: list[slice] = []
    for world in sorted(set(worlds)):
        joins = runs and runs[-1].stop == world and cache.timelines[world] == cache.timelines[world - 1]
        if joins:
            runs[-1] = slice(runs[-1].start, world + 1)
        else:
            runs.append(slice(world, world + 1))
    return runs
