"""The shipped probe reads rendered scenes rightly, and what it looks at carries gradients."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from longlive_env.errors import ConfigError, WeightsError
from longlive_env.evaluate import probe_accuracy
from longlive_env.tiny.probe import BLOCKS_AT_ONCE, Probe, readable_scale, to_pixels
from longlive_env.tiny.render import render_scene
from longlive_env.tiny.scene import ATTRIBUTES, BLOCK_FRAMES, sample_scene


@pytest.fixture(scope="module")
def probe() -> Probe:
    return Probe.load()


def test_it_is_small(probe: Probe) -> None:
    assert sum(p.numel() for p in probe.parameters()) <= 600_000


def test_loading_it_draws_from_no_generator_of_the_caller() -> None:
    before = torch.get_rng_state()
    Probe.load()
    assert torch.equal(torch.get_rng_state(), before)


def test_it_reads_rendered_held_out_scenes(probe: Probe) -> None:
    for name, share in probe_accuracy(probe, 128, seed=100).items():
        assert share.share >= 0.96, (
            f"{name}: {share.share}"
        )  # 0.98 is the bar on more blocks, see `longlive eval`


def test_blocks_do_not_influence_each_other(probe: Probe) -> None:
    scenes = [sample_scene(np.random.default_rng(i)) for i in range(3)]
    frames = torch.stack([render_scene(scene, BLOCK_FRAMES) for scene in scenes])
    together = probe.predict(frames)
    alone = [probe.predict(frames[i : i + 1]) for i in range(3)]
    assert together == {name: [one[name][0] for one in alone] for name in ATTRIBUTES}


def test_probabilities_sum_to_one(probe: Probe) -> None:
    frames = render_scene(sample_scene(np.random.default_rng(0)), BLOCK_FRAMES)[None]
    for name, rows in probe.probabilities(frames).items():
        assert rows.shape == (1, len(ATTRIBUTES[name]))
        torch.testing.assert_close(rows.sum(dim=1), torch.ones(1))


def test_what_it_looks_at_carries_gradients(probe: Probe) -> None:
    pixels = to_pixels(
        render_scene(sample_scene(np.random.default_rng(0)), BLOCK_FRAMES)[None]
    ).requires_grad_()
    torch.cat(list(probe.pooled(pixels).values()), dim=1).square().sum().backward()
    assert pixels.grad is not None and pixels.grad.abs().sum() > 0


def test_another_block_length_is_refused(probe: Probe) -> None:
    with pytest.raises(ConfigError, match=r"pixels \[1, 9, 3, 96, 160\]; expected .* repeat the first frame"):
        probe(torch.zeros(1, 9, 3, 96, 160))
    for shape in ((1, 9, 96, 160, 3), (12, 96, 160, 3), (1, 12, 96, 160), (1, 12, 3, 96, 160)):
        with pytest.raises(ConfigError, match=r"got frames \[1.*expected \[N, 12, H, W, 3\]"):
            probe.predict(torch.zeros(shape, dtype=torch.uint8))


@pytest.mark.parametrize("size", [(48, 80), (144, 240), (192, 160), (96, 96), (192, 480)])
def test_scenes_of_other_sizes_are_refused(probe: Probe, size: tuple[int, int]) -> None:
    told = f"got pictures of {size[0]}x{size[1]}; it reads 96x160 or a whole multiple"
    with pytest.raises(ConfigError, match=told):
        readable_scale(*size)
    with pytest.raises(ConfigError, match=told):
        probe.pooled(torch.zeros(1, BLOCK_FRAMES, 3, *size))


def test_scenes_are_read_at_whole_multiples_and_small_worlds_as_they_are() -> None:
    assert [readable_scale(96 * scale, 160 * scale) for scale in (1, 2, 5)] == [1, 2, 5]
    assert readable_scale(32, 48) == 1  # a world of tests


def test_many_blocks_are_read_a_few_at_a_time(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (19, 12, 32, 48, 3), np.uint8))
    expected = {name: logits.softmax(dim=1) for name, logits in probe(to_pixels(frames)).items()}
    pooled, counts = probe.pooled, list[int]()

    def counted(pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        counts.append(len(pixels))
        return pooled(pixels)

    monkeypatch.setattr(probe, "pooled", counted)
    torch.testing.assert_close(probe.probabilities(frames), expected)
    assert sum(counts) == 19 and max(counts) <= BLOCKS_AT_ONCE


def test_wrong_weights_are_refused(tmp_path: Path) -> None:
    other = Probe().state_dict()
    other["look.0.bias"] = other["look.0.bias"][:16].clone()
    save_file(other, tmp_path / "other.safetensors")
    (tmp_path / "damaged.safetensors").write_bytes(b"not a weights file")
    for name in ("other", "damaged", "absent"):
        with pytest.raises(WeightsError, match="probe"):
            Probe.load(tmp_path / f"{name}.safetensors")
