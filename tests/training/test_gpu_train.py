"""The training of the tiny world on a lent GPU, in small on a CPU."""

import contextlib
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from scripts import benchmark
from toy_stages import CONFIG, save_student_and_teacher

from longlive_env.engine.config import PRESETS, to_dict
from longlive_env.engine.world import World
from longlive_env.engine.world_places import find
from longlive_env.training import make_stage
from longlive_env.training.checkpoint import save_tensors
from longlive_env.training.fingerprints import codec_fingerprint
from longlive_env.training.follow_stage import VIEWPOINTS
from longlive_env.training.latents import BankPlan
from longlive_env.training.world_model import WorldModel

pytestmark = pytest.mark.usefixtures("small_sheets")


@pytest.fixture(scope="module")
def gpu_train() -> ModuleType:
    return benchmark("gpu_train")


@pytest.mark.parametrize("stage", ["causal", "base", "follow", "decoder"])
def test_workers_fill_the_banks_that_a_stage_opens(
    gpu_train: ModuleType, stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = set[Path]()

    def record(folder: Path, plan: BankPlan, split: str, codec: object, seed: int) -> None:
        opened.update(plan.file(folder, split, number) for number in plan.numbers(split))
        if plan.below == "places" and split == "held_out":
            raise Opened  # what follows needs what the bank holds

    class Opened(Exception):
        """All files of a bank of places are known."""

    for module in ("world_model_stage", "rendered_stage"):
        monkeypatch.setattr(f"longlive_env.training.{module}.open_bank", record)
    (step,) = gpu_train._steps(tmp_path, [stage], "tiny")
    with contextlib.suppress(Opened):
        make_stage(stage, **step.options)
    workers = gpu_train._BankWorkers(tmp_path / "bank", [step], small=False)
    assert opened == {workers._path(shard) for shard in workers._shards(stage)} != set()


def test_a_causal_world_gets_the_codec_that_its_stage_learned_on(
    gpu_train: ModuleType, tmp_path: Path
) -> None:
    config = PRESETS["tiny"]
    (step,) = gpu_train._steps(tmp_path, ["causal"], "tiny")
    noted = {"config": to_dict(config), "codec_fingerprint": codec_fingerprint(World.load("tiny").codec)}
    about = {"stage": "causal", "describe": noted}
    (tmp_path / "causal").mkdir()
    save_tensors(tmp_path / "causal" / "weights.safetensors", WorldModel(config).state_dict(), about)
    gpu_train._export(tmp_path, step, tmp_path / "out")
    written, shipped = tmp_path / "causal_world", find("tiny")
    assert (written / "codec.safetensors").read_bytes() == (shipped / "codec.safetensors").read_bytes()
    assert (tmp_path / "out" / "world" / "config.json").is_file()


def test_the_newest_world_goes_on_within_two_thirds_of_half_an_hour(
    gpu_train: ModuleType, tmp_path: Path
) -> None:
    steps = gpu_train._steps(tmp_path, gpu_train.ONWARD, gpu_train.NEWEST)
    assert [step.stage for step in steps] == ["follow", "decoder"]
    assert sum(step.minutes for step in steps) <= 20
    starts = [step.options["start"] for step in steps]
    assert starts == ["tiny", str(tmp_path / "follow_world")]
    assert gpu_train._report(tmp_path, steps) == {"last": {}, "left": ["follow", "decoder"]}
    (tmp_path / "follow").mkdir()
    (tmp_path / "follow" / "done").touch()
    assert gpu_train._report(tmp_path, steps)["left"] == ["decoder"]


def test_every_stage_starts_from_the_world_before_it(gpu_train: ModuleType, tmp_path: Path) -> None:
    steps = gpu_train._steps(tmp_path, [step.stage for step in gpu_train.STEPS], "mine")
    starts = {step.stage: step.options["start"] for step in steps}
    worlds = {stage: str(tmp_path / f"{stage}_world") for stage in starts}
    assert [*starts.values()] == [
        "mine",
        worlds["causal"],
        worlds["causal"],  # as a base is no world
        *(worlds[stage] for stage in ("distill", "stream", "follow")),
    ]
    for step in steps:
        assert gpu_train.FOLDER not in str(step.options) and gpu_train.START not in step.options.values()


def test_training_goes_on_from_the_newest_world(
    gpu_train: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_student_and_teacher(tmp_path, CONFIG)
    monkeypatch.setattr(gpu_train, "LEAST_S", 0.0)
    start, out = tmp_path / "world", tmp_path / "out"
    arguments = [out, tmp_path / "work", "cpu", 30.0, True]
    assert gpu_train.train(*arguments, ["follow"], str(start))["left"] == []
    both = gpu_train.train(*arguments, start=str(start))  # of which one is done
    assert both["left"] == [] and [*both["last"]] == ["follow", "decoder"]
    ours, theirs = (World.load(one) for one in (out / "world", start))
    assert ours.config == replace(theirs.config.with_steps(2), viewpoints=VIEWPOINTS)
    for name in ("transformer", "codec"):
        trained, before = (getattr(one, name).state_dict() for one in (ours, theirs))
        assert trained.keys() == before.keys()
        assert any(not torch.equal(trained[key], before[key]) for key in before)
