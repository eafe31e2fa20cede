"""Captured decoding: the same frames and the same state, at fixed addresses."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from longlive_env.engine import block_step, decode_graph
from longlive_env.engine.codec import Codec, CodecState
from longlive_env.engine.codec.light_vae import LightVAE
from longlive_env.engine.codec.patch_vae import PatchVAE
from longlive_env.engine.codec.wan_vae import WanVAE
from longlive_env.engine.config import CompileMode, LightVAEConfig, PatchVAEConfig, WanVAEConfig
from longlive_env.engine.decode_graph import CapturedDecode, DecodeGraphs
from longlive_env.engine.world import World

CODECS: dict[str, Callable[[], Codec]] = {
    "wan": lambda: WanVAE(WanVAEConfig(dim=4, residual_blocks=1)),
    "light": lambda: LightVAE(LightVAEConfig(decoder_widths=(12, 8, 6, 6), encoder_width=6)),
    "patch": lambda: PatchVAE(PatchVAEConfig((16, 8), (1, 1), (16, 8), (1, 1), latent_channels=16)),
}


class RunAgain(CapturedDecode):
    """What a captured decoding does, without a GPU: runs on its own tensors, whatever it is called with."""

    def _capture(self, decode: Any) -> None:
        self._decode = decode  # capturing runs nothing

    def _replay(self) -> Tensor:
        return self._step(self._decode)


@pytest.mark.parametrize("kind", CODECS)
def test_captured_decoding_is_decoding(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_graph, "CapturedDecode", RunAgain)
    torch.manual_seed(0)
    codec = CODECS[kind]().eval().requires_grad_(False)

    def decode(latents: Tensor, state: CodecState) -> tuple[Tensor, CodecState]:
        pixels, after = codec.decode(latents, state)
        return pixels, after

    graphs, ours, theirs = DecodeGraphs(), CodecState.fresh(2), CodecState.fresh(2)
    kept: list[tuple[CodecState, dict[str, Tensor]]] = []
    for block, latents in enumerate(torch.randn(6, 2, 3, 16, 2, 3)):
        if block == 4:  # one world is new, and does not run captured; its neighbour goes on
            ours, theirs = ours.reset([1]), theirs.reset([1])
        got, ours = graphs.run(decode, latents, ours)
        want, theirs = decode(latents, theirs)
        torch.testing.assert_close(got, want)
        assert ours.ages == theirs.ages and ours.memory.keys() == theirs.memory.keys()
        for name, value in theirs.memory.items():
            torch.testing.assert_close(ours.memory[name], value)
        copy = ours.select([0, 1])
        kept.append((copy, {name: value.clone() for name, value in copy.memory.items()}))
    captured = [one for one in graphs._captured.values() if one is not None]
    assert len(captured) == 1
    assert all(ours.memory[name] is value for name, value in captured[0].memory.items())
    for state, content in kept:  # copies of a state stay what they were
        assert all(torch.equal(state.memory[name], value) for name, value in content.items())


def test_other_strides_are_another_kind() -> None:
    """Compiled code asks for them, and must not be compiled again in the middle of a capture."""
    latents = torch.zeros(1, 3, 2)
    plain = CodecState((3,), {"past": torch.zeros(1, 4, 6)})
    turned = CodecState((3,), {"past": torch.zeros(1, 6, 4).mT})
    kinds = [decode_graph._kind(latents, state) for state in (plain, turned)]
    assert plain.memory["past"].shape == turned.memory["past"].shape and kinds[0] != kinds[1]
    with torch.inference_mode():
        inside = CodecState((3,), {"past": torch.zeros(1, 4, 6)})
    assert decode_graph._kind(latents, inside) != kinds[0]


def test_steps_that_nobody_holds_are_gone_at_once(
    make_config: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their graphs hold gigabytes, for which nobody calls the collector of cycles."""
    monkeypatch.setattr(block_step, "captures", lambda mode, device: True)
    steps = block_step.BlockSteps(World.from_config(make_config()))
    assert steps.graphs is not None
    gone = weakref.ref(steps)
    gc.disable()
    try:
        del steps
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.gpu
def test_captured_frames_on_cuda_are_those_of_eager_steps(make_config: Callable[..., Any]) -> None:
    results, rollouts = [], []
    modes: tuple[CompileMode, ...] = ("off", "graphs")
    for mode in modes:
        world = World.from_config(make_config(), device="cuda")
        world.optimize()
        world.compile(mode)
        rollout, fork, frames = world.start(["a red cat", "a dog"]), None, []
        for block in range(9):
            if block == 5:
                fork = rollout.fork()
            if block == 6:
                rollout.reset_world(1, "a cat", 7)
            frames.append(rollout.step())
        assert fork is not None
        results.append((torch.cat(frames, 1), fork.step()))
        rollouts.append(rollout)
    assert any(rollouts[1]._steps._decode_graphs._captured.values())  # type: ignore[union-attr]
    for got, want in zip(results[1], results[0], strict=True):
        assert (got.int() - want.int()).abs().max() <= 1
