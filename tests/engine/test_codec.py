"""What every codec owes its callers."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from longlive_env.engine.codec import Codec, CodecState
from longlive_env.engine.codec.light_vae import LightVAE
from longlive_env.engine.codec.patch_vae import PatchVAE
from longlive_env.engine.codec.wan_vae import WanVAE
from longlive_env.engine.config import LightVAEConfig, PatchVAEConfig, WanVAEConfig
from longlive_env.engine.weights import build

FRAMES = 5  # latent frames of the clips here, 17 pixel frames
H, W = 2, 3
ROUNDING = 1e-5  # of another batch size, whose sums run in another order


def make(kind: str) -> Codec:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "wan":
            codec: Codec = WanVAE(WanVAEConfig(dim=4, residual_blocks=1))
        elif kind == "light":
            codec = LightVAE(LightVAEConfig(decoder_widths=(12, 8, 6, 6), encoder_width=6))
        else:
            codec = PatchVAE(PatchVAEConfig((16, 8), (1, 1), (16, 8), (1, 1)))
            codec.get_buffer("latent_mean").normal_()
            codec.get_buffer("latent_std").uniform_(0.5, 2)
    return codec.eval().requires_grad_(False)


CODECS = {kind: make(kind) for kind in ("wan", "light", "patch")}


@pytest.fixture(params=CODECS)
def codec(request: pytest.FixtureRequest) -> Iterator[Codec]:
    yield CODECS[request.param]


def latent_clip(worlds: int, frames: int = FRAMES, seed: int = 0) -> Tensor:
    return torch.randn(worlds, frames, 16, H, W, generator=torch.Generator().manual_seed(seed))


def pixel_clip(worlds: int, frames: int = 4 * FRAMES - 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(worlds, frames, 3, 8 * H, 8 * W, generator=generator) * 2 - 1


def decode_in(codec: Codec, latents: Tensor, chunks: list[int]) -> tuple[Tensor, CodecState]:
    state, parts = CodecState.fresh(len(latents)), []
    for chunk in torch.split(latents, chunks, dim=1):
        pixels, state = codec.decode(chunk, state)
        parts.append(pixels)
    return torch.cat(parts, dim=1), state


def difference(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return ((ours - theirs).norm() / theirs.norm()).item()


def cuts(total: int) -> st.SearchStrategy[list[int]]:
    """All ways to write `total` as a sum."""
    edges = st.sets(st.integers(1, total - 1)).map(lambda inner: [0, *sorted(inner), total])
    return edges.map(lambda at: [b - a for a, b in pairwise(at)])


@settings(max_examples=8)
@given(kind=st.sampled_from(list(CODECS)), chunks=cuts(FRAMES))
def test_streaming_decode_equals_whole_decode(kind: str, chunks: list[int]) -> None:
    codec, latents = CODECS[kind], latent_clip(2)
    whole, _ = codec.decode(latents, CodecState.fresh(2))
    assert whole.shape == (2, 4 * FRAMES - 3, 3, 8 * H, 8 * W)
    streamed, state = decode_in(codec, latents, chunks)
    assert torch.equal(streamed, whole) if kind == "wan" else difference(streamed, whole) < 1e-6
    assert state.ages == (FRAMES, FRAMES)


@settings(max_examples=8)
@given(kind=st.sampled_from(list(CODECS)), chunks=cuts(FRAMES))
def test_streaming_encode_equals_whole_encode(kind: str, chunks: list[int]) -> None:
    codec, pixels = CODECS[kind], pixel_clip(2)
    whole, _ = codec.encode(pixels, CodecState.fresh(2))
    assert whole.shape == (2, FRAMES, 16, H, W)
    pixel_chunks = [4 * chunks[0] - 3, *(4 * chunk for chunk in chunks[1:])]
    state, parts = CodecState.fresh(2), []
    for chunk in torch.split(pixels, pixel_chunks, dim=1):
        latents, state = codec.encode(chunk, state)
        parts.append(latents)
    streamed = torch.cat(parts, dim=1)
    assert torch.equal(streamed, whole) if kind == "wan" else difference(streamed, whole) < 1e-6


def test_decoding_is_causal(codec: Codec) -> None:
    latents = latent_clip(1)
    changed = latents.clone()
    changed[:, 3] += 1
    before, _ = codec.decode(latents, CodecState.fresh(1))
    after, _ = codec.decode(changed, CodecState.fresh(1))
    assert torch.equal(before[:, :9], after[:, :9])
    assert not torch.allclose(before[:, 9:13], after[:, 9:13])


def test_encoding_is_causal(codec: Codec) -> None:
    pixels = pixel_clip(1)
    changed = pixels.clone()
    changed[:, 9:] = 0
    before, _ = codec.encode(pixels, CodecState.fresh(1))
    after, _ = codec.encode(changed, CodecState.fresh(1))
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.allclose(before[:, 3], after[:, 3])


def test_worlds_of_different_ages_decode_as_each_would_alone(codec: Codec) -> None:
    old, young = latent_clip(1, 4, seed=1), latent_clip(1, 2, seed=2)
    _, state = codec.decode(old[:, :2], CodecState.fresh(1))
    rest, alone_state = codec.decode(old[:, 2:], state)
    fresh, fresh_state = codec.decode(young, CodecState.fresh(1))

    batch = CodecState.fresh(3).assign([1], state)
    pixels, after = codec.decode(torch.cat([young, old[:, 2:], young]), batch)
    assert pixels.shape[1] == 8 and after.ages == (2, 4, 2)
    assert difference(pixels[1:2], rest) < ROUNDING
    assert difference(pixels[::2, 3:], fresh.expand(2, -1, -1, -1, -1)) < ROUNDING
    assert torch.equal(pixels[0, :3], pixels[0, 3:4].expand(3, -1, -1, -1))  # repeats of its first frame

    more = latent_clip(3, 1, seed=3)
    together, _ = codec.decode(more, after)
    assert together.shape[1] == 4
    alone = [
        codec.decode(more[i : i + 1], one)[0] for i, one in enumerate((fresh_state, alone_state, fresh_state))
    ]
    assert difference(together, torch.cat(alone)) < ROUNDING


def test_worlds_of_different_ages_encode_as_each_would_alone(codec: Codec) -> None:
    old, young = pixel_clip(1, 9, seed=1), pixel_clip(1, 1, seed=2)
    _, state = codec.encode(old[:, :5], CodecState.fresh(1))
    rest, _ = codec.encode(old[:, 5:], state)
    fresh, _ = codec.encode(young, CodecState.fresh(1))
    padded = torch.cat(
        [torch.full((1, 3, *young.shape[2:]), torch.nan), young], dim=1
    )  # the lead is not read
    latents, after = codec.encode(torch.cat([padded, old[:, 5:]]), CodecState.fresh(2).assign([1], state))
    assert after.ages == (1, 3)
    assert difference(latents, torch.cat([fresh, rest])) < ROUNDING


def test_the_state_is_a_value(codec: Codec) -> None:
    """A state can be used again: nothing hides in the codec, and no call changes what it was given."""
    latents = latent_clip(1)
    _, state = codec.decode(latents[:, :2], CodecState.fresh(1))
    copies = {name: value.clone() for name, value in state.memory.items()}
    one, _ = codec.decode(latents[:, 2:], state)
    codec.decode(latent_clip(1, seed=9), CodecState.fresh(1))
    two, _ = codec.decode(latents[:, 2:], state)
    assert torch.equal(one, two)
    assert all(torch.equal(state.memory[name], value) for name, value in copies.items())


def test_a_reset_world_starts_afresh_beside_its_neighbour(codec: Codec) -> None:
    latents = latent_clip(2)
    _, state = codec.decode(latents[:, :2], CodecState.fresh(2))
    state = state.reset([0])
    assert state.ages == (0, 2)
    pixels, _ = codec.decode(latents[:, 2:3], state)
    fresh, _ = codec.decode(latents[:1, 2:3], CodecState.fresh(1))
    assert difference(pixels[:1, 3:], fresh) < ROUNDING


def test_state_survives_tensors_selection_and_assignment(codec: Codec) -> None:
    _, state = codec.decode(latent_clip(3), CodecState.fresh(3))
    back = CodecState.from_tensors(state.to_tensors())
    assert back.ages == state.ages and back.memory.keys() == state.memory.keys()
    assert all(torch.equal(back.memory[name], state.memory[name]) for name in state.memory)

    whole = state.select([0, 1, 2])
    for name, value in state.memory.items():
        assert torch.equal(whole.memory[name], value) and whole.memory[name].stride() == value.stride()
        assert whole.memory[name].data_ptr() != value.data_ptr()
    picked = state.select([2, -3])
    assert picked.batch == 2
    swapped = state.assign([0, -1], picked)
    for name, value in state.memory.items():
        assert torch.equal(swapped.memory[name], value[[2, 1, 0]])
    with pytest.raises(ValueError, match="1 worlds to assign, but the given state holds 2"):
        state.assign([0], picked)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 16, 2, 3), "expected .*16 channels"),
        ((1, 2, 15, 2, 3), "expected .*16 channels"),
        ((1, 0, 16, 2, 3), "expected .*16 channels"),
        ((2, 1, 16, 2, 3), "2 worlds, but the codec state holds 1"),
    ],
)
def test_latents_of_a_wrong_shape_are_refused(codec: Codec, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        codec.decode(torch.zeros(shape), CodecState.fresh(1))


@pytest.mark.parametrize(
    ("shape", "age", "message"),
    [
        ((1, 4, 3, 16, 16), 0, r"4 pixel frames cannot be encoded here; give 4 \* n \+ 1"),
        ((1, 5, 3, 16, 16), 1, r"5 pixel frames cannot be encoded here; give 4 \* n frames"),
        ((1, 1, 3, 12, 16), 0, "12 x 16; both sides must be multiples of 8"),
        ((1, 1, 4, 16, 16), 0, "expected .*3 channels"),
    ],
)
def test_pixels_of_a_wrong_shape_are_refused(
    codec: Codec, shape: tuple[int, ...], age: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        codec.encode(torch.zeros(shape), CodecState((age,)))


def test_half_precision_runs_and_stays_close(codec: Codec) -> None:
    kind = next(kind for kind, one in CODECS.items() if one is codec)
    half = build(lambda: make(kind), codec.state_dict(), kind, dtype=torch.bfloat16)
    latents = latent_clip(1)
    want, _ = codec.decode(latents, CodecState.fresh(1))
    got, state = half.decode(latents.bfloat16(), CodecState.fresh(1))
    assert got.dtype == torch.bfloat16
    assert {value.dtype for value in state.memory.values()} == {torch.bfloat16}
    assert (got.float() - want).norm() / want.norm() < 5e-2
    assert half.encode(want.bfloat16(), CodecState.fresh(1)).latents.dtype == torch.bfloat16


def test_a_whole_batch_is_replaced_in_place(codec: Codec) -> None:
    """Captured decodings know addresses and strides; a snapshot's memories lie otherwise."""
    latents = torch.randn(2, 3, codec.latent_channels, 2, 3)
    with torch.inference_mode():
        state = codec.decode(latents, CodecState.fresh(2)).state
    mine = {name: value.mT.contiguous().mT for name, value in state.memory.items()}  # of other strides
    state = CodecState(state.ages, mine)
    source = codec.decode(latents.flip(0), CodecState.fresh(2)).state
    source = codec.decode(latents, source).state
    replaced = state.overwrite(source)
    assert replaced.ages == source.ages == (6, 6)
    for name, value in replaced.memory.items():
        assert value is mine[name] and value is not source.memory[name]
        assert torch.equal(value, source.memory[name])
    fresh = replaced.overwrite(CodecState.fresh(2))
    assert fresh.ages == (0, 0) and not fresh.memory


def test_a_batch_of_another_size_is_replaced_by_a_copy(codec: Codec) -> None:
    state = codec.decode(torch.randn(1, 3, codec.latent_channels, 2, 3), CodecState.fresh(1)).state
    source = codec.decode(torch.randn(2, 3, codec.latent_channels, 2, 3), CodecState.fresh(2)).state
    replaced = state.overwrite(source)
    assert replaced.batch == 2
    for name, value in replaced.memory.items():
        assert torch.equal(value, source.memory[name]) and value is not source.memory[name]
