"""What is timed is the world that was asked for."""

from pathlib import Path
from typing import Any

import pytest
import torch

from longlive_env import World
from longlive_env.bench import BenchConfig, open_world, random_world, world_config
from longlive_env.engine.config import PRESETS
from longlive_env.engine.memory import MemoryPlan
from longlive_env.errors import BackendError, ConfigError

SHAPE = PRESETS["tiny"].transformer
TEXT = torch.zeros(1, SHAPE.text_len, SHAPE.text_dim)


@pytest.mark.parametrize(
    "values", [{"blocks": 0}, {"layers": 0}, {"batch": 0}, {"threads": 0}, {"dtype": "int3"}]
)
def test_impossible_configs_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        BenchConfig(**values)


def test_random_weights_need_a_preset(small_world_folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"known: .*tiny"):
        open_world(BenchConfig(world=str(small_world_folder), random_weights=True))


def test_random_weights_are_drawn_where_they_shall_live(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device without data draws in no time what takes a CPU minutes."""
    drawn, plain = set[torch.device](), torch.nn.init.xavier_uniform_

    def draw(tensor: torch.Tensor) -> torch.Tensor:
        drawn.add(tensor.device)
        return plain(tensor)

    monkeypatch.setattr(torch.nn.init, "xavier_uniform_", draw)
    world = random_world(PRESETS["1.3b"], "meta", torch.bfloat16)
    assert drawn == {world.device} == {torch.device("meta")}
    assert {parameter.dtype for parameter in world.transformer.parameters()} == {torch.bfloat16}
    assert random_world(PRESETS["tiny"], "cpu", torch.float32).start("", text=TEXT).step().float().std() > 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"precision": "fp8"}, "precision fp8 on cpu"),
        ({"attention": "flash"}, "'flash' on cpu"),
        ({"compile": "graphs"}, "'graphs' on cpu"),
    ],
)
def test_what_cannot_run_is_told_before_a_world_is_made(
    values: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(World, "from_config", lambda *args, **kwargs: pytest.fail("a world was made"))
    with pytest.raises(BackendError, match=message):
        open_world(BenchConfig(random_weights=True, **values))


@pytest.mark.parametrize("values", [{"merge": True}, {"compile": "default"}])
def test_what_weights_on_the_host_exclude_is_told_before_a_world_is_made(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    least = MemoryPlan("cpu", None, "fp8", offload=True, running_bytes=1, encoding_bytes=1, budget_bytes=1)
    monkeypatch.setattr("longlive_env.engine.memory.plan", lambda *args, **kwargs: least)
    monkeypatch.setattr(World, "from_config", lambda *args, **kwargs: pytest.fail("a world was made"))
    with pytest.raises(ConfigError, match=r"on the host, which excludes (merged|compile default)"):
        open_world(BenchConfig(random_weights=True, memory="1", **values))


def test_the_codec_that_is_timed_is_the_one_asked_for() -> None:
    with pytest.raises(ConfigError, match="patch_vae"):
        open_world(BenchConfig(world="tiny", random_weights=True, codec="wan"))
    light = open_world(BenchConfig(world="tiny", random_weights=True, codec="light")).config
    assert (light.height, light.width) == (96, 160)


def test_a_world_is_opened_in_the_precision_and_memory_asked_for(small_world_folder: Path) -> None:
    config = BenchConfig(world="tiny", random_weights=True, memory="8", kv_precision="fp8")
    world = open_world(config)
    assert world.memory_plan and world.memory_plan.budget_bytes == 8 << 30
    assert world.transformer.kv_dtype == torch.float8_e4m3fn
    half = open_world(BenchConfig(world="tiny", random_weights=True, precision="bf16"))
    assert {parameter.dtype for parameter in half.transformer.parameters()} == {torch.bfloat16}
    loaded = open_world(BenchConfig(world=str(small_world_folder), memory="8"))
    assert loaded.memory_plan and loaded.memory_plan.text_encoder == "resident"


def test_a_world_is_opened_with_the_positions_asked_for(small_world_folder: Path) -> None:
    own = World.load(small_world_folder).config.rope
    other: Any = "absolute" if own == "relative" else "relative"
    assert open_world(BenchConfig(str(small_world_folder), rope=other)).config.rope == other
    cut = BenchConfig("1.3b", random_weights=True, size=(32, 48), layers=1, rope="relative")
    assert world_config(cut).rope == "relative"


def test_a_world_is_opened_with_the_steps_asked_for(small_world_folder: Path) -> None:
    for config in (
        BenchConfig(world="tiny", random_weights=True, steps=2),
        BenchConfig(str(small_world_folder), steps=2),
    ):
        assert open_world(config).config.sampler.steps == world_config(config).sampler.steps == (1000, 500)
