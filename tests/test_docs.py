"""Snippets of the documentation run, on a very small world in place of the tiny one."""

import re
from pathlib import Path
from typing import Any

import pytest

from longlive_env import World
from longlive_env.envs import world_cache

PAGE = (Path(__file__).parents[1] / "docs" / "rl.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
SHORTER = {
    "n_steps=128": "n_steps=2, batch_size=2, n_epochs=1",
    "total_timesteps=2_000": "total_timesteps=4",
    "1_024": "8",
    "minibatch_size=128": "minibatch_size=4, num_epochs=1",
}
LIBRARIES = {  # what is imported where a snippet has these words
    "minari": "minari",
    "stable_baselines3": "stable_baselines3",
    "torchrl": "torchrl",
    "from ray": "ray",
}


def first_new_line(snippet: str) -> str:
    """What tells snippets apart in the list of tests."""
    lines = [line for line in snippet.splitlines() if line and not line.startswith(("import", "from"))]
    return lines[0].split("#")[0].strip()


@pytest.mark.parametrize("snippet", SNIPPETS, ids=first_new_line)
@pytest.mark.filterwarnings("ignore:.*is set to None:UserWarning")
def test_snippets_run(
    snippet: str, small_world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for words, library in LIBRARIES.items():
        if words in snippet.lower():
            pytest.importorskip(library, reason=f"the snippet needs {library}")
    monkeypatch.setattr(world_cache, "_worlds", {})
    monkeypatch.setattr(World, "load", lambda *args, **kwargs: small_world)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    monkeypatch.chdir(tmp_path)
    for text, shorter in SHORTER.items():
        snippet = snippet.replace(text, shorter)
    names: dict[str, Any] = {}
    exec(compile(snippet, "docs/rl.md", "exec"), names)
    (env,) = [names[name] for name in ("envs", "env", "single") if name in names][:1]
    assert env.unwrapped.world is small_world


def test_the_page_has_what_the_tests_shorten() -> None:
    assert len(SNIPPETS) >= 9 and all(text in PAGE for text in SHORTER)


def test_limits_in_the_table_are_those_of_the_envs() -> None:
    import gymnasium as gym

    rows = re.findall(r"^\| `(LongLive/[^`]+)` \|.*\| (\d+) \|$", PAGE, re.MULTILINE)
    ours = {env_id for env_id in gym.registry if env_id.startswith("LongLive/")}
    assert {env_id for env_id, _ in rows} == ours
    assert all(gym.spec(env_id).max_episode_steps == int(steps) for env_id, steps in rows)


def test_the_readme_counts_the_tiny_worlds_words() -> None:
    from longlive_env.tiny.captions import known_words

    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    words = [word for word in known_words() if word.isalpha()]
    assert f"The tiny world knows {len(words)} words" in readme
