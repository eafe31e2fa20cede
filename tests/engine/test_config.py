import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from longlive_env.engine.config import (
    PRESETS,
    SamplerConfig,
    TransformerConfig,
    WorldConfig,
    from_dict,
    to_dict,
)
from longlive_env.engine.config_values import differences
from longlive_env.engine.world_files import read_config
from longlive_env.errors import ConfigError


def test_the_published_numbers_follow() -> None:
    config = PRESETS["1.3b"]
    assert (config.latent_height, config.latent_width) == (60, 104)
    assert config.frame_tokens == 1560
    assert config.transformer.head_dim == 128
    assert config.context_blocks == 4
    assert (config.block_pixel_frames, config.missing_frames, config.block_seconds) == (12, 3, 0.75)
    assert config.latent_shape == (16, 60, 104)


@pytest.mark.parametrize("name", PRESETS)
def test_json_and_back(name: str) -> None:
    text = json.dumps(to_dict(PRESETS[name]))
    assert from_dict(WorldConfig, json.loads(text)) == PRESETS[name]


def test_only_presets_from_before_there_were_vocabularies_have_one() -> None:
    values = to_dict(PRESETS["tiny"])
    del values["vocabulary"]
    assert WorldConfig.of(values) == PRESETS["tiny"] == read_config("tiny")
    assert WorldConfig.of({**values, "vocabulary": ""}).vocabulary == ""
    assert WorldConfig.of({**values, "name": "mine"}).vocabulary == ""
    for wrong in (None, [], {"name": ["tiny"]}):
        with pytest.raises(ConfigError, match="WorldConfig"):
            WorldConfig.of(wrong)


def test_differences_are_told_by_path_the_kind_first() -> None:
    was = {"b": 1, "codec": {"detail": [1], "kind": "patch_vae"}, "same": {"a": 2}, "gone": 0}
    here = {"b": 2, "codec": {"detail": [], "kind": "light_vae"}, "same": {"a": 2}, "new": {"a": 1}}
    assert list(differences(was, here)) == [
        ("b", 1, 2),
        ("codec.kind", "patch_vae", "light_vae"),
        ("codec.detail", [1], []),
        ("gone", 0, None),
        ("new", None, {"a": 1}),
    ]


def edited(edit: Callable[[dict[str, Any]], object]) -> WorldConfig:
    values = json.loads(json.dumps(to_dict(PRESETS["tiny"])))
    edit(values)
    return from_dict(WorldConfig, values)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda v: v.update(widht=160), "WorldConfig has no 'widht'; did you mean 'width'"),
        (lambda v: v["transformer"].update(zzz=1), "WorldConfig.transformer has no 'zzz'; known names: dim"),
        (lambda v: v.pop("height"), "WorldConfig lacks height"),
        (lambda v: v.update(height="96"), "WorldConfig.height is '96'; expected int"),
        (lambda v: v.update(keep_sink=1), "WorldConfig.keep_sink is 1; expected bool"),
        (lambda v: v.update(fps=True), "WorldConfig.fps is True; expected int"),
        (
            lambda v: v.update(rope="spiral"),
            "WorldConfig.rope is 'spiral'; expected one of 'absolute', 'relative'",
        ),
        (
            lambda v: v["codec"].update(kind="jpeg"),
            "WorldConfig.codec.kind is 'jpeg'; expected one of wan_vae",
        ),
        (lambda v: v.update(codec=3), "WorldConfig.codec.kind is None"),
        (lambda v: v.update(sampler=[1]), r"WorldConfig.sampler is \[1\]; expected a table"),
        (lambda v: v["sampler"].update(steps=4), "WorldConfig.sampler.steps is 4; expected a list"),
        (lambda v: v["sampler"].update(steps=["x"]), r"WorldConfig.sampler.steps\[0\] is 'x'; expected int"),
        *(
            (
                lambda v, size=size: v["transformer"].update(patch_size=size),
                "patch_size is .*; expected 1, as",
            )
            for size in ([1, 2], [1, 0, 2], [2, 2, 2], [])
        ),
        (lambda v: v.update(width=830), "width 830 is not a multiple of 32; try 832"),
        (lambda v: v.update(height=-16), "WorldConfig.height is -16; it must be positive"),
        (lambda v: v.update(context_frames=5), "context_frames 5 cannot hold 3 sink frames.*raise it to 6"),
        (lambda v: v["transformer"].update(in_channels=8), "takes 8 channels and the codec makes 16"),
        (lambda v: v["transformer"].update(text_dim=8), "text_dim is 8 and the text encoder's dim is 256"),
        *(
            (lambda v, given=given: v.update(viewpoints=given), "expected a number of places and of latent")
            for given in ([5], [2, 8], [-5, -8], [5, 8, 1])
        ),
    ],
)
def test_errors_name_the_field_and_the_remedy(edit: Callable[[dict[str, Any]], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        edited(edit)


def test_whole_numbers_serve_as_floats() -> None:
    config = edited(lambda v: v["sampler"].update(shift=5))
    assert config.sampler.shift == 5.0 and isinstance(config.sampler.shift, float)


@pytest.mark.parametrize("steps", [(), (500, 750), (1000, 1000), (1001,), (10, 0)])
def test_steps_must_fall(steps: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="they must fall"):
        SamplerConfig(steps=steps)


def test_steps_are_spread_as_published() -> None:
    published = SamplerConfig(shift=3.0)
    assert published.spread(4) == published
    assert published.spread(1).steps == (1000,) and published.spread(3).steps == (1000, 667, 333)
    assert PRESETS["tiny"].with_steps(2).sampler == SamplerConfig((1000, 500), shift=3.0)
    assert PRESETS["tiny"].with_steps(None) is PRESETS["tiny"]
    for count in (0, -1, 1001, True, "2"):
        with pytest.raises(ConfigError, match=f"steps is {count!r}; expected a number of denoising steps"):
            published.spread(count)  # type: ignore[arg-type]


def test_positions_can_be_chosen() -> None:
    published = PRESETS["1.3b"]
    assert published.with_rope("relative") == replace(published, rope="relative")
    assert published.with_rope(None) is published
    with pytest.raises(ConfigError, match="rope is 'spiral'; it must be 'absolute' or 'relative'"):
        published.with_rope("spiral")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"dim": 30, "heads": 4}, "dim 30 with 4 heads"),
        ({"dim": 12, "heads": 4}, "make dim a multiple of 8"),
        ({"layers": 0}, "layers is 0"),
        ({"freq_dim": 3}, "freq_dim is 3; it must be even"),
        ({"patch_size": (2, 2, 2)}, "expected 1, as a patch holds one frame"),
    ],
)
def test_impossible_transformers(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TransformerConfig(**{"dim": 32, "ffn_dim": 48, "heads": 2, "layers": 1, **sizes})
