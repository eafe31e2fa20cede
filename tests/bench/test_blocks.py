"""What is timed, and what is not."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from longlive_env import World
from longlive_env.bench import Prompts, blocks


def test_prompts_are_drawn_before_the_clock_starts(small_world: World) -> None:
    """Those that are embeddings wait for the device, and with it for what the block before has left."""
    happened: list[str] = []

    class Drawn(Prompts):
        def new(self) -> dict[str, Any]:
            happened.append("drawn")
            return super().new()

    rollout = small_world.start("a red cat")
    rollout.step()
    switch = rollout.switch_prompt

    def switch_prompt(*arguments: Any, **options: Any) -> None:
        happened.append("switched")
        switch(*arguments, **options)

    rollout.switch_prompt = switch_prompt  # type: ignore[method-assign]
    assert blocks.switches(rollout, Drawn(small_world, 1), 1.0)["prompt_switch"]["to_frames_ms"] > 0
    assert happened == ["drawn"] * blocks.REPEATS + ["switched"] * blocks.REPEATS


def test_the_clock_starts_when_the_device_is_idle(
    small_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []
    fake = SimpleNamespace(
        device=torch.device("cuda"),
        text_encoding=small_world.text_encoding,
        start=lambda **arguments: happened.append("started") or SimpleNamespace(step=lambda: None),
    )
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: happened.append("waited"))
    blocks.first_block(fake, Prompts(fake, 1))  # type: ignore[arg-type]
    assert happened == ["waited", "started"]


def test_parts_run_as_in_a_step(small_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    rollout, inside = small_world.start("a red cat"), []
    rollout.step()
    step_latents = rollout.step_latents

    def watched() -> torch.Tensor:
        inside.append(torch.is_inference_mode_enabled())
        return step_latents()

    rollout.step_latents = watched  # type: ignore[method-assign, assignment]
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    assert len(blocks._parts_alone(rollout, 1)) == 1
    assert inside == [True, True]


def test_a_block_ahead_has_begun_whenever_one_is_timed(small_world: World) -> None:
    rollout = small_world.start("a red cat")
    begin, receive, order = rollout._begin_block, rollout._receive, list[str]()
    rollout._begin_block = lambda: (order.append("begun"), begin())[1]  # type: ignore[method-assign]
    rollout._receive = lambda one: (order.append("received"), receive(one))[1]  # type: ignore[method-assign]
    times = blocks.block_times_ahead(rollout, 3)
    assert len(times) == 3 and min(times) > 0
    assert order == ["begun"] + ["begun", "received"] * 4 + ["received"]  # none is left under way
    assert rollout.blocks == [5]
