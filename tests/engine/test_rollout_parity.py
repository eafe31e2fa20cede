"""The recorded outputs of the published implementation, through the public rollout."""

from dataclasses import replace

import pytest
import torch
from parity import CONFIG, DATA
from safetensors.torch import load_file
from torch import Tensor

from longlive_env.engine.codec.patch_vae import PatchVAE
from longlive_env.engine.config import WorldConfig
from longlive_env.engine.noise import RecordedNoise
from longlive_env.engine.transformer import CausalWanTransformer
from longlive_env.engine.weights import State, build, plain_names, read_tensors, state_of, with_lora
from longlive_env.engine.world import World

MODELS = DATA / "mini" / "LongLive-1.3B" / "models"
CASES = {
    "single": CONFIG,
    "batch2": CONFIG,
    "no_sink": replace(CONFIG, context_frames=9, sink_frames=0),
    "switch_global_sink": CONFIG,
    "switch_recached_sink": replace(CONFIG, keep_sink=False),
    "relative_rope": replace(CONFIG, rope="relative"),
    "lora": CONFIG,
}


def entry_of(name: str, entry: str) -> State:
    return state_of(read_tensors(MODELS / name), MODELS / name, (entry,))


def generator(lora: bool) -> CausalWanTransformer:
    state = plain_names(entry_of("longlive_base.pt", "generator"), "model.")
    if lora:
        state = with_lora(state, entry_of("lora.pt", "generator_lora"), "lora.pt")
    return build(lambda: CausalWanTransformer(CONFIG.transformer), state, "longlive_base.pt")


def replay(config: WorldConfig, transformer: CausalWanTransformer, case: dict[str, Tensor]) -> Tensor:
    world = World(config, transformer, PatchVAE(config.codec))
    batch, frames = case["noise"].shape[:2]
    noise = RecordedNoise(case["noise"], case["step_noise"])
    rollout = world.start(["0"] * batch, text=case["context_0"], noise=noise)
    switches = {frame: str(i + 1) for i, frame in enumerate(case["switch_frames"].tolist())}
    blocks = []
    for frame in range(0, frames, config.frames_per_block):
        if frame in switches:
            rollout.switch_prompt(switches[frame], text=case[f"context_{switches[frame]}"])
        blocks.append(rollout.step_latents())
    return torch.cat(blocks, 1)


@pytest.mark.parametrize("name", CASES)
def test_recorded_rollout_is_reproduced(name: str) -> None:
    case = load_file(DATA / "cases" / f"rollout_{name}.safetensors")
    got = replay(CASES[name], generator(name == "lora"), case)
    assert (got - case["latents"]).norm() / case["latents"].norm() < 1e-5


def test_cases_tell_a_wrong_setting_from_a_right_one() -> None:
    case = load_file(DATA / "cases" / "rollout_switch_recached_sink.safetensors")
    got = replay(CONFIG, generator(False), case)  # keeps the sink
    assert (got - case["latents"]).norm() / case["latents"].norm() > 1e-3
