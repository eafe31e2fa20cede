"""Vectors as actions: the nearest prompt of a table, or an embedding that conditions the world itself."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from longlive_env import World
from longlive_env.envs.prompt_env import PromptEnv
from longlive_env.envs.prompts import EmbeddedPrompt
from longlive_env.envs.vector_env import PromptVectorEnv
from longlive_env.envs.wrappers import EmbeddingPrompts, RecordFrames, vector
from longlive_env.envs.wrappers.embeddings import (
    PromptEmbeddings,
    moved,
    pooled,
    sampled_prompts,
    tokens_of,
)
from longlive_env.errors import ConfigError, PromptError

NOW = "a red robot on the beach"
CAT, SNOW = "a red cat jumps in the city at night", "a red cat jumps in the city in the snow"


def embedded(world: World, prompt: str) -> EmbeddedPrompt:
    return EmbeddedPrompt.of(torch.from_numpy(tokens_of(world, prompt)), near=prompt)


def test_the_nearest_prompt_of_a_table(small_world: World) -> None:
    prompts = sampled_prompts("tiny", 12)
    assert len(set(prompts)) == 12 and prompts == sampled_prompts("tiny", 12) != sampled_prompts(
        "tiny", 12, seed=1
    )
    for components in (None, 3):
        menu = PromptEmbeddings(small_world, prompts, components=components)
        assert menu.space.shape == (components or 16,)
        assert np.abs(menu.entries).max() == pytest.approx(1)
        for entry, prompt in zip(menu.entries, prompts, strict=True):
            assert menu.space.contains(entry)
            assert menu.prompt(entry + 1e-4, NOW) == prompt
            assert np.allclose(menu.place(prompt), entry, atol=1e-5)
    assert {menu.prompt(menu.space.sample(), NOW) for _ in range(20)} <= set(prompts)


def test_embeddings_are_means_over_the_prompt_s_own_tokens(small_world: World) -> None:
    text = "a red cat"
    tokens = small_world.encode_prompt([text])[0]
    assert small_world.tokenizer is not None
    used = int(small_world.tokenizer([text], len(tokens))[1].sum())
    assert used < len(tokens) and not tokens[used:].any()
    assert np.array_equal(tokens_of(small_world, text), tokens[:used])
    assert np.allclose(pooled(small_world, [text])[0], tokens[:used].mean(dim=0), atol=1e-6)


def test_moved_tokens_have_the_mean_that_was_asked_for() -> None:
    rng = np.random.default_rng(0)
    tokens, other = rng.normal(size=(2, 6, 64)).astype(np.float32)
    replaced = tokens.copy()
    replaced[2] = other[2]  # as if one word was another
    found = moved(tokens, replaced.mean(axis=0) - tokens.mean(axis=0))
    assert np.allclose(found.mean(axis=0), replaced.mean(axis=0), atol=1e-5)
    assert np.linalg.norm(found - replaced) < 0.05 * np.linalg.norm(tokens - replaced)


@pytest.mark.parametrize("components", [None, 3])
def test_direct_vectors_are_reached(small_world: World, components: int | None) -> None:
    prompts = sampled_prompts("tiny", 6)
    menu = PromptEmbeddings(small_world, prompts, components=components, direct=True)
    for entry, prompt in zip(menu.entries, prompts, strict=True):
        said = menu.prompt(entry, NOW)
        assert said == prompt and not isinstance(said, EmbeddedPrompt)
    menu.space.seed(1)
    for _ in range(4):
        action = menu.space.sample()
        said = menu.prompt(action, NOW)
        assert isinstance(said, EmbeddedPrompt) and said == menu.prompt(action, NOW)
        (near,) = [prompt for prompt in prompts if said.startswith(prompt)]
        entry = menu.entries[prompts.index(near)]
        step = said.tokens.numpy().mean(axis=0) - tokens_of(small_world, near).mean(axis=0)
        assert np.allclose(entry + menu._axes @ step / menu._scale, action, atol=1e-4)


def test_the_embedding_of_a_prompt_acts_as_the_prompt(small_world: World) -> None:
    text, vectors = PromptEnv(small_world, task="goal"), PromptEnv(small_world, task="goal")
    for env in (text, vectors):
        env.reset(seed=1)
    for action in (CAT, "", SNOW, ""):
        said = embedded(small_world, action) if action else ""
        expected, seen = text.step(action), vectors.step(said)
        assert np.array_equal(seen[0], expected[0]) and seen[1:4] == expected[1:4]
        assert seen[4]["recached"] == expected[4]["recached"]
    assert seen[4]["prompt"].startswith(SNOW) and seen[4]["unknown_words"] == ()


def test_an_embedding_is_part_of_the_state(small_world: World) -> None:
    env, other = PromptEnv(small_world), PromptEnv(small_world)
    env.reset(seed=1)
    said = embedded(small_world, CAT)
    env.step(said)
    other.restore_state(env.clone_state())
    for _ in range(2):
        expected, seen = env.step(said), other.step(said)
        assert np.array_equal(seen[0], expected[0]) and seen[4] == expected[4]
        assert not seen[4]["recached"], "it is in force already"


@pytest.mark.parametrize("how", ["option", "argument", "batch", "autoreset"])
def test_episodes_begin_with_embeddings(small_world: World, tmp_path: Path, how: str) -> None:
    plain, said = PromptEnv(small_world), embedded(small_world, CAT)
    want = plain.reset(seed=1, options={"prompt": CAT})[0]
    if how == "batch":
        envs = PromptVectorEnv(2, small_world)
        seen = envs.reset(seed=[1, 2], options={"prompt": [said, SNOW]})[0][0]
        assert envs.step([said, ""])[4]["recached"].tolist() == [False, False]
    elif how == "autoreset":
        envs = PromptVectorEnv(1, small_world, prompt=said, max_episode_steps=1)
        envs.reset(seed=1)
        envs.step([SNOW])
        seen, want = envs.step([""])[0], PromptVectorEnv(1, small_world, prompt=CAT, max_episode_steps=1)
        want.reset(seed=1)
        want.step([SNOW])
        want = want.step([""])[0]
    else:
        env = RecordFrames(PromptEnv(small_world, prompt=said if how == "argument" else None), tmp_path)
        seen, info = env.reset(seed=1, options={"prompt": said} if how == "option" else None)
        assert info["prompt"] == str(said) and info["unknown_words"] == ()
        env.close()
        first = (tmp_path / "episode-0000" / "actions.jsonl").read_text(encoding="utf-8").splitlines()[1]
        assert "given as an embedding" in json.loads(first)["notes"][0]
    assert np.array_equal(seen, want)


def test_texts_and_embeddings_in_one_batch(small_world: World) -> None:
    envs, alone = PromptVectorEnv(3, small_world), PromptEnv(small_world)
    envs.reset(seed=1)
    observations, *_, infos = envs.step([CAT, embedded(small_world, SNOW), ""])
    for world, action in enumerate((CAT, SNOW, "")):
        alone.reset(seed=1 + world)
        assert np.abs(alone.step(action)[0].astype(int) - observations[world]).max() <= 1
    assert infos["prompt"][0] == CAT and infos["prompt"][1].startswith(SNOW)


def test_adapters_take_vectors(small_world: World) -> None:
    prompts = sampled_prompts("tiny", 6)
    env = EmbeddingPrompts(PromptEnv(small_world), prompts, components=2, direct=True)
    envs = vector.EmbeddingPrompts(PromptVectorEnv(2, small_world), prompts, components=2, direct=True)
    env.reset(seed=1)
    envs.reset(seed=1)
    actions = np.array([[0.3, -0.2], [0.0, 0.9]], np.float32)
    info, infos = env.step(actions[0])[4], envs.step(actions)[4]
    assert info["prompt"] == infos["prompt"][0] != infos["prompt"][1] and info["recached"]


def test_recordings_say_what_a_log_cannot_hold(small_world: World, tmp_path: Path) -> None:
    env = RecordFrames(PromptEnv(small_world), tmp_path)
    env.reset(seed=1)
    for action in (embedded(small_world, CAT), "", SNOW):
        env.step(action)
    env.close()
    lines = (tmp_path / "episode-0000" / "actions.jsonl").read_text(encoding="utf-8").splitlines()
    notes = [entry.get("notes", []) for entry in map(json.loads, lines) if "prompt" in entry]
    assert [bool(one) for one in notes] == [False, True, True, False]
    assert "given as an embedding" in notes[1][0]


def test_recordings_note_the_last_block_under_an_embedding(small_world: World, tmp_path: Path) -> None:
    """Also where the next episode began within the step, or an adapter inside made the embedding."""
    worlds = PromptVectorEnv(2, small_world, max_episode_steps=2, autoreset_mode="SameStep")
    envs = vector.RecordFrames(worlds, tmp_path / "kept", scale=1)
    envs.reset(seed=1)
    envs.step([embedded(small_world, CAT), embedded(small_world, CAT)])
    envs.step(["", SNOW])
    envs.close()
    assert notes_of(tmp_path / "kept", 0) == [False, True, True]
    assert notes_of(tmp_path / "kept", 1) == [False, True, False]
    worlds = PromptVectorEnv(2, small_world, max_episode_steps=1, autoreset_mode="SameStep")
    menu = {"components": 2, "direct": True}
    inside = vector.EmbeddingPrompts(worlds, sampled_prompts("tiny", 6), **menu)
    adapted = vector.RecordFrames(inside, tmp_path / "adapted", scale=1)
    adapted.reset(seed=1)
    adapted.step(np.array([[0.3, -0.2], [0.0, 0.9]], np.float32))
    adapted.close()
    assert [notes_of(tmp_path / "adapted", world) for world in range(2)] == [[False, True]] * 2


def notes_of(folder: Path, world: int) -> list[bool]:
    """Which blocks of a world's first episode have notes."""
    log = folder / f"world-{world:02}" / "episode-0000" / "actions.jsonl"
    entries = map(json.loads, log.read_text(encoding="utf-8").splitlines())
    return [bool(entry.get("notes")) for entry in entries if "prompt" in entry]


def test_vectors_and_embeddings_that_stand_for_nothing(small_world: World) -> None:
    menu = PromptEmbeddings(small_world, ["a cat", "a red dinosaur"], components=2)
    for action, told in (([0.0], r"an action \[1\]; expected \[2\]"), ([0.0, np.nan], "the action has nan")):
        with pytest.raises(PromptError, match=told):
            menu.prompt(action, NOW)
    with pytest.raises(PromptError, match=r"the action is 'a cat'; expected Box"):
        menu.prompt("a cat", NOW)
    env = PromptEnv(small_world)
    env.reset(seed=1)
    for shape in ((3, 15), (33, 16), (0, 16)):
        with pytest.raises(PromptError, match=r"reads 1 to 32 tokens of width 16"):
            env.step(EmbeddedPrompt.of(torch.zeros(shape), near="a cat"))
    with pytest.raises(PromptError, match="all finite"):
        EmbeddedPrompt.of(torch.full((2, 16), torch.nan), near="a cat")
    with pytest.raises(ConfigError, match="at least two"):
        PromptEmbeddings(small_world, ["a cat", "a cat"])
    with pytest.raises(ConfigError, match=r"holds 2 \(int\); expected texts"):
        PromptEmbeddings(small_world, ["a cat", 2])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="components is 3; expected 1 to 2"):
        PromptEmbeddings(small_world, ["a cat", "a dog"], components=3)
    with pytest.raises(ConfigError, match="has no 100000 prompts"):
        sampled_prompts("", 100_000)
