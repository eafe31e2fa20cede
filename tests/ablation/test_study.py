"""A study on disk: what is there is not measured again, and only if it is of the same world and settings."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from longlive_env.ablation import VARIANTS, Study, StudyConfig, Variant, with_worlds
from longlive_env.ablation.study import Measured
from longlive_env.engine.world import World
from longlive_env.errors import ConfigError
from longlive_env.evaluate import EvalConfig

NAMES = {one.name: one for one in VARIANTS}
SWITCH_BLOCKS = 3 + 3


@pytest.fixture
def config(small_world_folder: Path) -> StudyConfig:
    return StudyConfig(str(small_world_folder), EvalConfig(rollouts=2, blocks=6, batch=2))


def test_a_study_goes_on_where_it_was(tmp_path: Path, config: StudyConfig) -> None:
    variants = (NAMES["recache"], NAMES["stale cache"], NAMES["sink 3"])
    study = Study(tmp_path, config, variants)
    assert study.blocks_left() == 2 * SWITCH_BLOCKS  # sink 3 is what recache runs with
    blocks: list[None] = []
    study.run(on_block=lambda: blocks.append(None))
    assert len(blocks) == 2 * SWITCH_BLOCKS
    assert sorted(path.name for path in tmp_path.glob("*.json")) == [
        "switch-recache.json",
        "switch-stale-cache.json",
    ]
    again = Study(tmp_path, config, variants)
    assert again.blocks_left() == 0
    before = [one.to_json() for one in again.results()]
    assert [one["switch"]["rollouts"] for one in before] == [2, 2, 2]
    assert before[0]["switch"] == before[2]["switch"] and before[0]["long"] is None

    more = replace(config, eval=replace(config.eval, rollouts=3))
    grown = Study(tmp_path, more, variants)
    assert grown.blocks_left() == 2 * SWITCH_BLOCKS
    kept = json.loads((tmp_path / "switch-recache.json").read_text())["rollouts"]
    grown.run(only=["sink 3"])  # the same run as recache
    known = json.loads((tmp_path / "switch-recache.json").read_text())
    assert {number: known["rollouts"][number] for number in "01"} == kept and len(known["rollouts"]) == 3
    assert grown.blocks_left() == SWITCH_BLOCKS
    fewer = Study(tmp_path, config, variants).results()[0].switch
    assert fewer is not None and fewer.rollouts == 2  # what was asked for, though the file has more


def test_variants_take_turns(tmp_path: Path, config: StudyConfig) -> None:
    alone = replace(config, eval=replace(config.eval, batch=1))
    study = Study(tmp_path, alone, (NAMES["recache"], NAMES["stale cache"]))
    known: list[list[int]] = []

    def stop_early() -> None:
        known.append([len(job.measured.rows) for job in study.jobs])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.run(on_round=stop_early)
    assert known == [[1, 1]]
    again = Study(tmp_path, alone, study.variants)
    assert again.blocks_left() == 2 * SWITCH_BLOCKS
    assert all(one.switch is not None and one.switch.rollouts == 1 for one in again.results())


def test_a_rollout_is_the_same_alone_and_in_a_batch(tmp_path: Path, config: StudyConfig) -> None:
    variants = (NAMES["recache"],)
    alone = replace(config, eval=replace(config.eval, batch=1))
    rows = []
    for name, one in (("batch", config), ("alone", alone)):
        study = Study(tmp_path / name, one, variants)
        study.run()
        rows.append(study.jobs[0].measured.rows)
    for together, single in zip(rows[0].values(), rows[1].values(), strict=True):
        assert together["jump"] == pytest.approx(single["jump"], rel=1e-3)


def test_other_settings_are_refused(tmp_path: Path, config: StudyConfig, small_world: World) -> None:
    variants = (NAMES["recache"],)
    Study(tmp_path, config, variants).run()
    with pytest.raises(ConfigError, match=r"switch-recache\.json was .* dtype 'float32'.*'bfloat16'"):
        Study(tmp_path, replace(config, dtype="bfloat16"), variants)
    with pytest.raises(ConfigError, match="seed"):
        Study(tmp_path, replace(config, eval=replace(config.eval, seed=1)), variants)
    other = tmp_path / "other"
    World.from_config(small_world.config, seed=1).save(other)
    with pytest.raises(ConfigError, match="world"):
        Study(tmp_path, replace(config, world=str(other)), variants)
    moved = tmp_path / "moved"
    shutil.copytree(config.world, moved)
    assert Study(tmp_path, replace(config, world=str(moved)), variants).blocks_left() == 0


def test_long_takes_of_variants(tmp_path: Path, config: StudyConfig) -> None:
    names = ("recache", "stale cache", "sink 0", "full attention")
    variants = tuple(
        replace(NAMES[name], longest_s=21.0) if name == "full attention" else NAMES[name] for name in names
    )
    study = Study(tmp_path, replace(config, seconds=24.0, long_rollouts=1), variants)
    assert study.blocks_left(["stale cache"]) == SWITCH_BLOCKS + 32
    study.run(["stale cache", "full attention"])
    recache, stale, sink, full = study.results()
    assert sink.long is None and recache.switch is None and stale.switch is not None
    assert recache.long and stale.long and full.long
    assert recache.to_json()["long"] == stale.to_json()["long"]  # without a switch they are the same run
    assert (recache.long.seconds, full.long.seconds) == (24.0, 21.0)
    assert study.picture("long", NAMES["recache"], 0).is_file()
    assert study.blocks_left() == 2 * SWITCH_BLOCKS + 32


def test_numbers_of_steps_compare_with_the_worlds_own(
    tmp_path: Path, config: StudyConfig, small_world: World
) -> None:
    """Whatever a world was trained for: no file is written twice, and the first line is the world itself."""
    more = World(
        small_world.config.with_steps(4),
        small_world.transformer,
        small_world.codec,
        small_world.text_encoding,
        small_world.tokenizer,
    )
    more.save(tmp_path / "more")
    for folder, steps in ((config.world, 2), (str(tmp_path / "more"), 4)):
        study = Study(tmp_path / str(steps), replace(config, world=folder))
        denoising = [one for one in study.variants if one.group == "denoising"]
        jobs = {one.name: study._jobs["switch", one] for one in denoising}
        assert next(iter(jobs)) == "own steps" and study.steps == steps
        assert jobs["own steps"] is jobs[f"{steps} steps"] is study._jobs["switch", NAMES["recache"]]
        assert len({id(job) for job in jobs.values()}) == len(jobs) - 1


def test_rollouts_that_are_kept_are_read() -> None:
    """Those in the repository, by the names of their files."""
    kept = Path(__file__).parents[2] / "benchmarks/results/ablation"
    slugs = {re.sub(r"[^a-z0-9]+", "-", one.name.lower()) for one in VARIANTS}
    files = list(kept.glob("*-*.json"))
    assert len(files) == 15
    for file in files:
        settings = json.loads(file.read_text(encoding="utf-8"))["settings"]
        part, _, slug = file.stem.partition("-")
        assert slug in slugs
        rows = Measured(file, settings | {"part": part}).rows
        assert len(rows) == {"switch": 64, "long": 16}[part]


def test_worlds_beside_each_other(tmp_path: Path, config: StudyConfig, small_world: World) -> None:
    before = World.from_config(small_world.config, seed=1)
    before.tokenizer = small_world.tokenizer
    before.save(tmp_path / "before")
    variants = with_worlds("tuned", {"before": str(tmp_path / "before")})
    assert variants[: len(VARIANTS)] == VARIANTS
    tuned, other = variants[len(VARIANTS) :]
    assert (tuned.group, tuned.name, other.name) == ("training", "tuned", "before")
    study = Study(tmp_path / "out", replace(config, eval=replace(config.eval, rollouts=1)), variants[-2:])
    study.run()
    assert len(study.jobs) == 2
    assert study.jobs[0].measured.settings["world"] != study.jobs[1].measured.settings["world"]
    assert with_worlds("tuned", {}) == VARIANTS


def test_mistakes_have_names(tmp_path: Path, config: StudyConfig) -> None:
    with pytest.raises(ConfigError, match=r"no variant 'sinc 0'; variants are .*sink 0"):
        Study(tmp_path, config).run(["sinc 0"])
    with pytest.raises(ConfigError, match="at least 20"):
        replace(config, seconds=15.0)
    with pytest.raises(ConfigError, match="long_rollouts"):
        replace(config, long_rollouts=0)


def test_variants_run_the_same_weights_another_way(small_world: World) -> None:
    chosen = [NAMES[name] for name in ("sink 0", "full attention", "2 steps")]
    configs = {one.name: one.run(small_world, 60).config for one in chosen}
    assert configs["sink 0"].sink_frames == 0
    assert configs["full attention"].context_frames == 60
    assert configs["2 steps"].sampler.steps == (1000, 500)
    assert all(one.run(small_world, 60).transformer is small_world.transformer for one in chosen)
    assert Variant("a", "b", longest_s=60).long_s(240) == 60
