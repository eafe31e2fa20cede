"""Prompts from files and from the tiny world."""

from pathlib import Path

import numpy as np
import pytest

from longlive_env.envs import goals
from longlive_env.errors import ConfigError
from longlive_env.training.prompts import HELD_OUT_EVERY, FilePrompts, TinyPrompts, open_prompts


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_lines_of_two_files_belong_together(tmp_path: Path) -> None:
    first = write(tmp_path / "a.txt", *(f"one {i}" for i in range(40)))
    later = write(tmp_path / "b.txt", *(f"two {i}" for i in range(40)))
    prompts, rng = FilePrompts(first, later), np.random.default_rng(0)
    pairs = [prompts.draw(rng, "train") for _ in range(60)]
    assert all(before.split()[1] == after.split()[1] for before, after in pairs)
    held_out = {prompts.draw(rng, "held_out")[0] for _ in range(60)}
    assert held_out == {f"one {i}" for i in range(0, 40, HELD_OUT_EVERY)}
    assert not held_out & {before for before, _ in pairs}


def test_without_a_second_file_another_line_follows(tmp_path: Path) -> None:
    prompts = open_prompts(str(write(tmp_path / "a.txt", "x", "", "y\u2028z\x0b")), "")
    rng = np.random.default_rng(0)
    assert {word for _ in range(20) for word in prompts.draw(rng, "train")} == {"x", "y\u2028z"}


@pytest.mark.parametrize("lines", [2, HELD_OUT_EVERY, 2 * HELD_OUT_EVERY])
def test_a_prompt_does_not_follow_itself(tmp_path: Path, lines: int) -> None:
    names = [f"p{number}" for number in range(lines)]
    prompts, rng = FilePrompts(write(tmp_path / "a.txt", *names)), np.random.default_rng(0)
    for split in ("train", "held_out"):
        pairs = [prompts.draw(rng, split) for _ in range(60)]
        assert all(before != after for before, after in pairs)
        if lines > HELD_OUT_EVERY:
            drawn = {names.index(prompt) % HELD_OUT_EVERY for pair in pairs for prompt in pair}
            assert (drawn == {0}) == (split == "held_out") and (0 in drawn) == (split == "held_out")
    assert FilePrompts(write(tmp_path / "b.txt", "x", "x")).draw(rng, "train") == ("x", "x")


def test_tiny_prompts_change() -> None:
    rng = np.random.default_rng(0)
    for split in ("train", "held_out"):  # of held-out scenes many have no neighbour that is held out, too
        pairs = [TinyPrompts().draw(rng, split) for _ in range(300)]
        assert all(goals.parse(before) != goals.parse(after) for before, after in pairs)


def test_settings_may_change_more_often() -> None:
    def share(prompts: TinyPrompts) -> float:
        pairs = [prompts.scenes(np.random.default_rng(seed), "train") for seed in range(400)]
        return sum(before.setting != after.setting for before, after in pairs) / len(pairs)

    assert share(TinyPrompts(setting_share=1.0)) > 0.9 > 0.6 > share(TinyPrompts())


def test_a_share_of_takes_is_sure_to_begin_with_a_walk() -> None:
    def share(prompts: TinyPrompts) -> float:
        scenes = [prompts.scenes(np.random.default_rng(seed), "train")[0] for seed in range(400)]
        return sum(scene.action in ("left", "right") for scene in scenes) / len(scenes)

    assert share(TinyPrompts(walking_share=1.0)) == 1
    assert share(TinyPrompts(walking_share=0.5)) == pytest.approx(0.7, abs=0.07)
    assert share(TinyPrompts()) == pytest.approx(0.4, abs=0.07)


def test_a_share_of_takes_is_sure_to_begin_with_a_jump_or_a_dance() -> None:
    def shares(prompts: TinyPrompts) -> tuple[float, float]:
        scenes = [prompts.scenes(np.random.default_rng(seed), "train")[0] for seed in range(400)]
        actions = [scene.action for scene in scenes]
        return (
            sum(action in ("jump", "dance") for action in actions) / len(actions),
            sum(action in ("left", "right") for action in actions) / len(actions),
        )

    assert shares(TinyPrompts(lively_share=1.0)) == (1, 0)
    assert shares(TinyPrompts(lively_share=0.5))[0] == pytest.approx(0.7, abs=0.07)
    assert shares(TinyPrompts(walking_share=0.4, lively_share=0.6)) == pytest.approx((0.6, 0.4), abs=0.07)
    with pytest.raises(ConfigError, match=r"walking_share is 0.6 and lively_share 0.5: .* lower one"):
        TinyPrompts(walking_share=0.6, lively_share=0.5)


def test_walks_at_night_can_be_asked_for_more_often() -> None:
    def share(prompts: TinyPrompts) -> float:
        scenes = [prompts.scenes(np.random.default_rng(seed), "train")[0] for seed in range(400)]
        return sum(scene.weather == "night" for scene in scenes) / len(scenes)

    assert share(TinyPrompts(walking_share=1.0, night_share=1.0)) == 1
    assert share(TinyPrompts(walking_share=1.0, night_share=0.5)) == pytest.approx(0.58, abs=0.07)
    assert share(TinyPrompts(night_share=1.0)) == pytest.approx(0.17, abs=0.07)  # of no walks


def test_clear_errors(tmp_path: Path) -> None:
    one = write(tmp_path / "a.txt", "x")
    with pytest.raises(ConfigError, match="cannot read prompts"):
        FilePrompts(tmp_path / "absent.txt")
    with pytest.raises(ConfigError, match="holds no prompts"):
        FilePrompts(write(tmp_path / "empty.txt", " "))
    with pytest.raises(ConfigError, match=r"1 prompts and .* 2"):
        FilePrompts(one, write(tmp_path / "b.txt", "x", "y"))
    blank = write(tmp_path / "c.txt", "x", "", "y")
    assert FilePrompts(blank, write(tmp_path / "d.txt", "1", "", "2")).later == ["1", "2"]
    with pytest.raises(ConfigError, match="line 1 is blank in one of"):  # pairs would shift
        FilePrompts(blank, write(tmp_path / "e.txt", "", "1", "2"))
    with pytest.raises(ConfigError, match="needs prompts="):
        open_prompts("", str(one))
