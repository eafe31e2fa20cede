"""What a world is asked to be is checked before its weights are read."""

from pathlib import Path

import pytest
import torch
from parity import DATA

from longlive_env.engine import world_files
from longlive_env.engine.config import PRESETS, CodecConfig, CodecKind, LightVAEConfig, PatchVAEConfig
from longlive_env.engine.load_options import checked_config, default_memory, dtype_of
from longlive_env.engine.world import World
from longlive_env.errors import BackendError, ConfigError, LongLiveError


def test_it_is_the_configuration_of_the_loaded_world() -> None:
    assert checked_config("tiny") == World.load("tiny").config
    config = checked_config("tiny", steps=4, rope="absolute", memory="8")
    assert config == World.load("tiny", steps=4, rope="absolute").config
    assert len(config.sampler.steps) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps"),
        ({"rope": "spiral"}, "rope"),
        ({"codec": "wan"}, "has the codec patch_vae, not 'wan'; expected 'light' or None"),
        ({"codec": "heavy"}, "codec is 'heavy'"),
        ({"precision": "fp7"}, "precision is 'fp7'"),
        ({"kv_precision": "fp7"}, "kv_precision is 'fp7'"),
        ({"compile": "graphs"}, "graphs"),
        ({"compile": "soon"}, "soon"),
        ({"device": "abacus"}, "abacus"),
        ({"dtype": "float16"}, "dtype is 'float16'"),
        ({"precision": "bf16", "dtype": torch.float16}, "contradict each other"),
    ],
)
def test_loading_refuses_what_it_refuses_before_weights_are_read(
    options: dict[str, object], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LongLiveError, match=message) as told:
        checked_config("tiny", **options)  # type: ignore[arg-type]
    assert isinstance(told.value, (ConfigError, BackendError))
    monkeypatch.setattr(world_files, "load", lambda *_: pytest.fail("weights were read"))
    with pytest.raises(type(told.value), match=message):
        World.load("tiny", **options)  # type: ignore[arg-type]


def test_a_folder_without_a_world_is_told(tmp_path: Path) -> None:
    with pytest.raises(LongLiveError, match="holds neither"):
        checked_config(tmp_path)


@pytest.mark.parametrize(
    ("own", "codec", "message"),
    [
        (PatchVAEConfig(), "light", "patch_vae, not 'light'; leave codec out, as it draws no detail"),
        (PatchVAEConfig(), "wan", "patch_vae, not 'wan'; leave codec out, as it draws no detail"),
        (LightVAEConfig(), "wan", "light_vae, not 'wan'; expected 'light' or None"),
    ],
)
def test_the_codecs_that_a_world_has_are_told(own: CodecConfig, codec: CodecKind, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        world_files.with_codec(PRESETS["tiny"].with_codec(own), codec)


def test_a_precision_may_mean_a_type() -> None:
    assert dtype_of(None, None) is None
    assert dtype_of(torch.float16, "int8") is torch.float16
    assert dtype_of(None, "bf16") is torch.bfloat16


@pytest.mark.parametrize(
    ("world", "device", "memory"),
    [
        ("MINI", "cuda:0", "auto"),
        ("MINI", torch.device("cuda"), "auto"),
        ("MINI", "cpu", None),
        ("tiny", "cuda", None),
    ],
)
def test_published_worlds_are_planned_for_what_is_free_on_a_gpu(
    world: str, device: str | torch.device, memory: str | None
) -> None:
    assert default_memory(str(DATA / "mini") if world == "MINI" else world, device) == memory
