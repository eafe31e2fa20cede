"""Views: what a picture looks like in another shape, alone and in batches."""

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from longlive_env.envs.wrappers.views import ChannelsFirst, Last, OnChannels, Read, Resized, View, seen_as
from longlive_env.errors import ConfigError
from longlive_env.tiny.render import render_take
from longlive_env.tiny.scene import ATTRIBUTES, BLOCK_FRAMES, Scene, Take

SHAPE = (12, 8, 10, 3)
SPACE = spaces.Box(0, 255, SHAPE, np.uint8)
BLOCK = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)
VIEWS = st.one_of(
    st.just(Last()),
    st.just(ChannelsFirst()),
    st.just(Read("tiny")),
    st.builds(OnChannels, st.none() | st.integers(1, 12)),
    st.builds(Resized, st.integers(1, 20), st.integers(1, 20)),
)


@settings(max_examples=40)
@given(VIEWS)
def test_batches_are_seen_as_single_blocks_are(view: View) -> None:
    space = seen_as(view, SPACE)
    assert space.contains(view(BLOCK))
    batch = np.stack([BLOCK, BLOCK[::-1]])
    np.testing.assert_allclose(view(batch), np.stack([view(block) for block in batch]), rtol=0, atol=1e-5)


def test_the_last_frame_lets_go_of_its_block() -> None:
    assert Last()(BLOCK).base is None


def test_frames_on_channels_are_the_last_of_even_parts() -> None:
    stacked = OnChannels(4)(BLOCK)
    assert stacked.shape == (8, 10, 12)
    for index, frame in enumerate((2, 5, 8, 11)):
        assert np.array_equal(stacked[..., 3 * index : 3 * index + 3], BLOCK[frame])
    assert np.array_equal(OnChannels(1)(BLOCK), Last()(BLOCK))
    assert np.array_equal(OnChannels()(BLOCK)[..., -3:], BLOCK[-1])
    assert OnChannels(5)(BLOCK)[..., -3:].tolist() == BLOCK[-1].tolist()


def test_channels_first() -> None:
    first = ChannelsFirst()(BLOCK)
    assert first.shape == (12, 3, 8, 10) and np.array_equal(first[4, 1], BLOCK[4, :, :, 1])
    assert first.flags["C_CONTIGUOUS"]


def test_resizing_is_a_mean_where_factors_are_whole() -> None:
    assert np.array_equal(Resized(8, 10)(BLOCK), BLOCK)
    flat = np.full(SHAPE, 77, np.uint8)
    assert np.array_equal(Resized(3, 17)(flat), np.full((12, 3, 17, 3), 77))
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    assert np.abs(Resized(8, 8)(stripes).astype(int) - 100).max() <= 4, "no aliasing"


def test_what_cannot_be_seen() -> None:
    for view in (Last(), OnChannels()):
        with pytest.raises(ConfigError, match=r"needs whole blocks \[T, H, W, 3\]"):
            seen_as(view, spaces.Box(0, 255, SHAPE[1:], np.uint8))
    with pytest.raises(ConfigError, match=r"frame adapters need uint8 frames.*inside GoalInObservation"):
        seen_as(Last(), spaces.Dict({"frames": SPACE}))
    for space, told in (
        (spaces.Box(0, 255, SHAPE[1:3], np.uint8), r"uint8 \[8, 10\]"),
        (spaces.Box(0, 1, SHAPE, np.float32), r"float32 \[12, 8, 10, 3\]"),
    ):
        with pytest.raises(
            ConfigError, match=rf"the observations are {told}; frame adapters need uint8 \[\.\.\."
        ):
            seen_as(Resized(4, 4), space)


@pytest.mark.parametrize("wrong", [0, 13.0, "48", 4.0, True])
def test_sizes_and_counts_are_whole_numbers(wrong: Any) -> None:
    for size in ((wrong, 8), (8, wrong)):
        told = f"the size is {size[0]!r}x{size[1]!r}; expected whole numbers of pixels"
        with pytest.raises(ConfigError, match=told):
            Resized(*size)
    for count in (wrong, 13):
        with pytest.raises(ConfigError, match=f"frames is {count!r}; expected a whole number from 1 to 12"):
            seen_as(OnChannels(count), SPACE)


@pytest.mark.parametrize("size", [(48, 80), (144, 240)])
def test_the_probe_reads_no_resized_scenes(size: tuple[int, int]) -> None:
    told = f"got pictures of {size[0]}x{size[1]}; it reads 96x160 .* directly around the env"
    with pytest.raises(ConfigError, match=told):
        seen_as(Read("tiny"), spaces.Box(0, 255, (12, *size, 3), np.uint8))


def test_the_probe_reads_what_is_rendered() -> None:
    scene = Scene("robot", "red", "moon", "night", "jump")
    block = render_take(Take(((0, scene),), 0.0), BLOCK_FRAMES, BLOCK_FRAMES).numpy()
    read = np.split(Read("tiny")(block), np.cumsum([len(values) for values in ATTRIBUTES.values()])[:-1])
    named = [values[part.argmax()] for values, part in zip(ATTRIBUTES.values(), read, strict=True)]
    assert named == [scene.attribute(name) for name in ATTRIBUTES]
    np.testing.assert_allclose([part.sum() for part in read], 1, atol=1e-5)
    with pytest.raises(ConfigError, match="reads worlds of the vocabulary 'tiny', not of ''"):
        Read("")
