"""Rewards look at pixels: rendered scenes score by what they show."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from pixels import brightness, shot

from longlive_env.envs import goals
from longlive_env.envs.rewards import (
    Describes,
    ImageTextReward,
    ProbeReward,
    checked_scores,
    clip_similarity,
    scores,
)
from longlive_env.errors import ConfigError, MissingExtraError
from longlive_env.tiny.scene import ATTRIBUTES, Scene

ROBOT = Scene("robot", "red", "city", "night", "still")
CAT = Scene("cat", "blue", "beach", "clear", "left")
PRIMARIES = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)}


def colour_similarity(pictures: npt.NDArray[np.uint8], texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """Compares pictures with names of colours: cosine of the mean colour."""
    seen = pictures.reshape(len(pictures), -1, 3).mean(axis=1)
    named = np.array([PRIMARIES.get(text.split()[-1], (1, 1, 1)) for text in texts], dtype=float)
    named /= np.linalg.norm(named, axis=1, keepdims=True)
    return np.asarray(seen / np.linalg.norm(seen, axis=1, keepdims=True) @ named.T)


def test_the_probe_scores_what_is_shown() -> None:
    frames = np.stack([shot(ROBOT), shot(ROBOT), shot(CAT), shot(CAT)])
    texts = [
        "a crimson android stands still in town at night",
        "a red robot on the beach at night",  # one of four is wrong
        "a blue cat by the sea",
        "a red robot in the city at night",
    ]
    right, one_wrong, other, all_wrong = ProbeReward()(frames, texts)
    assert right > 0.95 and other > 0.95
    assert 0.6 < one_wrong <= 0.76 and all_wrong < 0.1


def test_a_reading_says_what_each_block_shows() -> None:
    blocks = {scene: shot(scene) for scene in (ROBOT, CAT)}
    reading = ProbeReward().read(np.stack(list(blocks.values())))
    assert reading.descriptions() == [goals.describe_scene(scene) for scene in blocks]
    assert reading.descriptions(["setting", "subject"]) == ["a robot in the city", "a cat on the beach"]
    texts = ["a red robot", "a red robot"]
    assert reading.scores(texts).tolist() == ProbeReward()(np.stack(list(blocks.values())), texts).tolist()


@pytest.mark.parametrize("size", [(48, 80), (144, 240)])
def test_the_probe_refuses_resized_scenes(size: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match=f"got pictures of {size[0]}x{size[1]}; it reads 96x160"):
        ProbeReward()(np.zeros((1, 12, *size, 3), np.uint8), ["a cat"])


def test_pictures_become_texts() -> None:
    reader = ProbeReward()
    assert isinstance(reader, Describes) and not isinstance(ImageTextReward(colour_similarity), Describes)
    block = shot(CAT)
    assert goals.parse(reader.describe(block)) == goals.values_of(CAT, tuple(ATTRIBUTES))
    assert goals.parse(reader.describe(block[5])) == goals.values_of(CAT, goals.LOOKS)
    with pytest.raises(ConfigError, match=r"got a goal picture float64 \[96, 160, 3\]; expected uint8"):
        reader.describe(block[0] / 255)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="got a goal of 5 frames; expected 1 or 12"):
        reader.describe(block[:5])


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (48, 80), (144, 240), (192, 160)])
def test_goal_pictures_have_a_size_of_the_world(size: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match=rf"pictures of {size[0]}x{size[1]}; it reads 96x160 or a whole"):
        ProbeReward().describe(np.zeros((*size, 3), np.uint8))


def test_image_text_models_choose_among_texts() -> None:
    reward = ImageTextReward(colour_similarity, contrast=("all green", "all blue"))
    frames = np.zeros((2, 12, 8, 8, 3), np.uint8)
    frames[0, ..., 0], frames[1, ..., 2] = 200, 200
    red, not_red = reward(frames, ["all red", "all red"])
    assert red > 0.99 and not_red < 0.01
    grey = np.full((1, 12, 8, 8, 3), 90, np.uint8)
    assert reward(grey, ["all red"])[0] == pytest.approx(1 / 3)
    frames[0, :6] = 0, 0, 200  # half of the views
    assert reward(frames[:1], ["all red"])[0] == pytest.approx(0.5, abs=0.01)


def test_image_text_models_are_checked() -> None:
    with pytest.raises(ConfigError, match="contrast is empty"):
        ImageTextReward(colour_similarity, contrast=())
    frames = np.zeros((1, 12, 8, 8, 3), np.uint8)
    with pytest.raises(ConfigError, match=r"similarity returned \[4, 2\] for 2 pictures and 4 texts"):
        ImageTextReward(lambda pictures, texts: np.zeros((len(texts), len(pictures))))(frames, ["a wall"])


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ([0.5], r"\[0\.5\]"),
        ([0.5, 1.05], r"\[1\.05\]"),
        (np.array([0.5, -0.011]), r"\[-0\.011\]"),
        ([0.5, float("nan")], r"\[0\.5, nan\]"),
        ([[0.5, 0.5]], r"\[\[0\.5, 0\.5\]\]"),
        (np.full((2, 1), 0.5), r"\[\[0\.5\], \[0\.5\]\]"),
        (0.5, r"0\.5"),
        (None, "None"),
        (["0.5", "1"], r"\['0\.5', '1'\]"),
        ("ab", "'ab'"),
        ({"a": 0.5, "b": 0.5}, r"\{'a': 0\.5, 'b': 0\.5\}"),
        ((0.5 for _ in range(2)), "<generator"),
        (np.array([0.5, 0.5 + 0j]), r"\[\(0\.5"),
        (torch.tensor([0.5, 0.5 + 0j]), r"\[\(0\.5"),
    ],
)
def test_scores_are_checked(wrong: Any, told: str) -> None:
    frames = np.zeros((2, 12, 4, 6, 3), np.uint8)
    assert scores(brightness, frames, ["a", "b"]) == [0.0, 0.0]
    message = f"^the reward function returned {told}.* for 2 blocks; expected as many scores from 0 to 1"
    with pytest.raises(ConfigError, match=message):
        scores(lambda frames, texts: wrong, frames, ["a", "b"])


def test_scores_beyond_by_rounding_are_clipped() -> None:
    cosines = np.array([1.00003612, -2e-7], np.float32)
    assert checked_scores(cosines, ["a", "b"]) == [0.0 + 1, 0]
    assert checked_scores([1 + 4e-16, -1e-9], ["a", "b"]) == [1, 0]
    assert checked_scores(torch.tensor([1.0078, 0.5], dtype=torch.bfloat16), ["a", "b"]) == [1, 0.5]
    assert max(checked_scores([1.005], ["a"])) <= 1 and checked_scores([], []) == []


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float64])
def test_scores_may_be_tensors(kind: torch.dtype) -> None:
    whole = torch.tensor([0.25, 0.5], dtype=kind, requires_grad=True)
    for given in (whole, list(whole), tuple(whole[:, None])):
        assert checked_scores(given, ["a", "b"]) == [0.25, 0.5]  # type: ignore[arg-type]
    same = ImageTextReward(lambda pictures, texts: torch.zeros(len(pictures), len(texts), dtype=kind))  # type: ignore[arg-type, return-value]
    assert same(np.zeros((1, 12, 4, 6, 3), np.uint8), ["a wall"]) == pytest.approx(1 / 4)


@pytest.mark.gpu
def test_scores_may_be_on_a_gpu() -> None:
    given = torch.tensor([0.25, 0.5], dtype=torch.bfloat16, device="cuda")
    assert checked_scores(given, ["a", "b"]) == checked_scores(list(given), ["a", "b"]) == [0.25, 0.5]  # type: ignore[arg-type]


def test_clip_needs_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match="a CLIP reward needs transformers"):
        clip_similarity()


def test_clip_models_compare_frames_with_texts(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the CLIP reward needs transformers")
    save_small_clip(transformers, tmp_path)
    similarity = clip_similarity(str(tmp_path))
    pictures = np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3), np.uint8)
    found = similarity(pictures, ["ab", "ba", "b"])
    assert found.shape == (2, 3) and np.abs(found).max() <= 1.001 and found.std() > 0
    reward = ImageTextReward(similarity)
    assert 0 < reward(np.repeat(pictures[:1, None], 12, axis=1), ["ab"])[0] < 1
    assert similarity(pictures[:1], ["ab" * 50]).shape == (1, 1), "long texts are cut"


def save_small_clip(transformers: object, folder: Path) -> None:
    """A CLIP with random weights and an alphabet of two letters, as a folder."""
    import json

    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**small, "vocab_size": 6, "max_position_embeddings": 16, "bos_token_id": 4, "eos_token_id": 5}
    config = CLIPConfig(
        text_config=text, vision_config={**small, "image_size": 16, "patch_size": 8}, projection_dim=8
    )
    CLIPModel(config).save_pretrained(folder)
    letters = ["a", "b", "a</w>", "b</w>", "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({letter: i for i, letter in enumerate(letters)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    files = str(folder / "vocab.json"), str(folder / "merges.txt")
    CLIPTokenizer(*files, model_max_length=16).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=16).save_pretrained(folder)
