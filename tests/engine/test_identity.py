"""The fingerprint of a world: what it tells apart, and what it does not."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from longlive_env.engine.codec import Codec, put_channels_last
from longlive_env.engine.codec.light_vae import LightVAE
from longlive_env.engine.codec.wan_vae import WanVAE
from longlive_env.engine.config import LightVAEConfig, Precision, WanVAEConfig
from longlive_env.engine.identity import weights_digest
from longlive_env.engine.merge import merge_projections
from longlive_env.engine.world import World


def test_it_does_not_depend_on_how_a_world_was_loaded(
    make_world: Callable[..., World], tmp_path: Path
) -> None:
    world = make_world()
    world.save(tmp_path / "world")
    again, half = (World.load(tmp_path / "world", dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
    assert again.fingerprint == half.fingerprint
    merged = World.load(tmp_path / "world")
    merge_projections(merged.transformer)
    assert merged.fingerprint == again.fingerprint and len(again.fingerprint) == 16


@pytest.mark.parametrize("precision", [None, "bf16"])
def test_parts_precision_and_layout_do_not_count(precision: Precision | None) -> None:
    whole, light = (World.load("tiny", codec=codec, precision=precision) for codec in (None, "light"))
    strided = World.load("tiny", precision=precision)
    put_channels_last(strided.codec)  # as on a GPU
    assert {world.fingerprint for world in (whole, light, strided)} == {World.load("tiny").fingerprint}
    assert light.resume(light.start("a red robot", seed=1).snapshot()).step().shape == (1, 9, 96, 160, 3)


@pytest.mark.parametrize(
    "codec", [WanVAE(WanVAEConfig(dim=4, residual_blocks=1)), LightVAE(LightVAEConfig((8, 6, 4, 4), 4))]
)
def test_layouts_of_published_codecs_do_not_count(codec: Codec) -> None:
    """Some kernels of the Wan VAE end in an axis of one, which is strided when channels come last."""
    known = weights_digest(codec.to(torch.bfloat16))
    put_channels_last(codec)
    with torch.device("meta"):  # nor does the caller's default device
        assert weights_digest(codec) == known


@pytest.mark.parametrize("model", ["transformer", "codec"])
def test_any_tensor_counts(make_world: Callable[..., World], model: str) -> None:
    """Training changes all of them; here each is changed alone."""
    world = make_world()
    known = {weights_digest(world.transformer, world.codec)}
    counting = [
        parameter
        for name, parameter in getattr(world, model).named_parameters()
        if not any(f"self_attn.{projection}." in name for projection in "qkv")  # merging renames these
    ]
    for parameter in counting:
        parameter.data.add_(1)
        known.add(weights_digest(world.transformer, world.codec))
    assert len(known) == 1 + len(counting)


def test_a_snapshot_says_under_which_weights_it_was_taken(
    make_world: Callable[..., World], caplog: pytest.LogCaptureFixture
) -> None:
    world, other = make_world(), make_world()
    other.transformer.head.modulation.data.add_(0.5)
    rollout = world.start("a", seed=1)
    rollout.step()
    data = rollout.snapshot()
    with caplog.at_level(logging.WARNING):
        world.resume(data)
    assert not caplog.records
    other.resume(data).step()
    (record,) = caplog.records
    told = f"taken under other weights ({world.fingerprint}, here {other.fingerprint})"
    assert told in record.getMessage()
