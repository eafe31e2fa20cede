from __future__ import annotations

import itertools
import json
import math
import re
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from joined_processes import SERVER
from torch import nn
from toy_stages import LineStage, same

from longlive_env.errors import CheckpointError, ConfigError, TrainingError
from longlive_env.training import Optimisation, TrainConfig, Trainer, make_stage, train
from longlive_env.training.checkpoint import copy_state, load_tensors


def config(out: Path, **changes: object) -> TrainConfig:
    return TrainConfig(**{"out": out, "steps": 30, "checkpoint_s": 1e9, "log_every": 5, **changes})  # type: ignore[arg-type]


def test_an_interrupted_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = Trainer(LineStage(), config(tmp_path / "whole"))
    whole.run()
    for stop in (7, 19):
        with pytest.raises(KeyboardInterrupt):
            train(LineStage(stop_at=stop), config(tmp_path / "parts", checkpoint_s=0.0))
    resumed = Trainer(LineStage(), config(tmp_path / "parts"))
    assert resumed.step == 19
    resumed.run()
    assert same(whole.model, resumed.model)
    assert same(whole.average, resumed.average)
    state, other = (t.optimizer.state_dict()["state"] for t in (whole, resumed))
    assert all(torch.equal(state[i][name], other[i][name]) for i in state for name in state[i])


def test_another_seed_trains_another_model(tmp_path: Path) -> None:
    one, two = (train(LineStage(), config(tmp_path / str(seed), seed=seed)) for seed in (0, 1))
    assert not same(one, two)


def test_training_learns_and_logs(tmp_path: Path) -> None:
    before = LineStage().evaluate(LineStage().build().eval())["error"]
    train(LineStage(), config(tmp_path, steps=300, checkpoint_s=60))
    rows = rows_of(tmp_path)
    assert rows[-1]["error"] < before / 5
    fits = [row["fit"] for row in rows if "fit" in row]
    assert len(fits) == 60 and fits[-1] < fits[0] / 5


def test_the_log_of_a_resumed_run_has_each_row_once(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):  # rows up to step 20 are logged, and the checkpoint is older
        train(LineStage(stop_at=22), config(tmp_path))
    checkpoint = tmp_path / "checkpoint.safetensors"
    assert not checkpoint.exists()
    (tmp_path / "log.jsonl").open("a").write('{"step": 25, "elap')  # cut short by the kill
    train(LineStage(), config(tmp_path))
    assert [row["step"] for row in rows_of(tmp_path) if "fit" in row] == [5, 10, 15, 20, 25, 30]
    with pytest.raises(KeyboardInterrupt):
        train(LineStage(stop_at=12), config(tmp_path / "b", checkpoint_s=0.0))
    (tmp_path / "b" / "log.jsonl").open("a").write('{"step": 15, "elapsed_s": 1.0, "fit": 0.0}\n')
    train(LineStage(), config(tmp_path / "b"))
    assert [row["step"] for row in rows_of(tmp_path / "b") if "fit" in row] == [5, 10, 15, 20, 25, 30]


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_killed_process_leaves_a_readable_checkpoint(tmp_path: Path) -> None:
    often = config(tmp_path, steps=10**9, checkpoint_s=0.0)
    process = SERVER.Process(target=train, args=(LineStage(), often), daemon=True)
    process.start()
    checkpoint, deadline = tmp_path / "checkpoint.safetensors", time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    process.kill()
    process.join()
    resumed = Trainer(LineStage(), config(tmp_path, steps=10**9))
    assert resumed.step > 0
    reference = Trainer(LineStage(), config(tmp_path / "reference", steps=10**9))
    while reference.step < resumed.step:
        reference._train_step()
    assert same(reference.model, resumed.model)


def test_a_half_written_checkpoint_does_not_replace_the_good_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(LineStage(), config(tmp_path))
    trainer._train_step()
    trainer.save()

    def fail(*_: object) -> None:
        raise OSError("power cut")

    trainer._train_step()
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", fail)
        with pytest.raises(OSError, match="power cut"):
            trainer.save()
    assert Trainer(LineStage(), config(tmp_path)).step == 1


def test_the_clock_ends_a_run_and_resuming_an_ended_run_trains_no_more(tmp_path: Path) -> None:
    limits = config(tmp_path, steps=None, minutes=0.3 / 60)
    first = Trainer(LineStage(), limits)
    first.run()
    assert first.step > 0 and first.elapsed_s >= 0.3
    again = Trainer(LineStage(), limits)
    again.run()
    assert again.step == first.step and same(again.model, first.model)


def test_weights_that_are_not_finite_replace_no_checkpoint(tmp_path: Path) -> None:
    class Breaks(LineStage):
        def losses(self, model: nn.Module, batch: Any, generator: torch.Generator) -> dict[str, torch.Tensor]:
            found = super().losses(model, batch, generator)
            return {
                name: value * float("nan") if trainer.step == 7 else value for name, value in found.items()
            }

    limits = config(tmp_path, steps=12, log_every=100, checkpoint_s=0.0)
    trainer = Trainer(Breaks(), limits)
    with pytest.raises(TrainingError, match="not finite at step 8"):
        trainer.run()
    assert Trainer(LineStage(), limits).step == 7


def test_losses_that_take_turns_are_means_of_their_own_steps(tmp_path: Path) -> None:
    class Turns(LineStage):
        def losses(self, model: nn.Module, batch: Any, generator: torch.Generator) -> dict[str, torch.Tensor]:
            (value,) = super().losses(model, batch, generator).values()
            return {"even" if trainer.step % 2 == 0 else "odd": value - value.detach() + 3}

    trainer = Trainer(Turns(), config(tmp_path, steps=9, log_every=3))
    trainer.run()
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    logged = [row for row in rows if "even" in row]
    assert len(logged) == 3 and all(row["even"] == row["odd"] == 3 for row in logged)


def test_evaluations_take_a_tenth_of_the_time_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count()  # each look takes a second
    monkeypatch.setattr("longlive_env.training.trainer.time.monotonic", lambda: float(next(clock)))

    class Slow(LineStage):
        def evaluate(self, model: nn.Module) -> dict[str, float]:
            for _ in range(8):
                next(clock)
            return super().evaluate(model)

    train(Slow(), config(tmp_path, steps=200, evaluate_s=5.0))
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    at = [row["elapsed_s"] for row in rows if "error" in row]
    assert at[0] == 5
    pauses = [later - earlier for earlier, later in itertools.pairwise(at[:-1])]
    assert pauses == [90] * len(pauses)
    assert len(pauses) > 1


def test_learning_rate_warms_up_then_follows_the_cosine_to_its_final_share(tmp_path: Path) -> None:
    trainer = Trainer(LineStage(), config(tmp_path, steps=100))
    plan = trainer.stage.optimisation

    def rate(step: int) -> float:
        trainer.step = step
        trainer._schedule()
        return float(trainer.optimizer.param_groups[0]["lr"])

    assert rate(0) == pytest.approx(plan.lr / 3)
    trainer.optimizer.param_groups[0]["lr_scale"] = 0.5
    assert rate(0) == pytest.approx(plan.lr / 6)
    del trainer.optimizer.param_groups[0]["lr_scale"]
    assert rate(50) == pytest.approx(plan.lr * (1 + plan.final) / 2)
    assert rate(100) == pytest.approx(plan.lr * plan.final)


def test_average_is_the_exponential_average_of_the_weights(tmp_path: Path) -> None:
    trainer = Trainer(LineStage(), config(tmp_path))
    expected = next(trainer.average.parameters()).clone()
    for step in range(1, 6):
        trainer._train_step()
        decay = min(trainer.stage.optimisation.ema, step / (step + 10))
        expected = decay * expected + (1 - decay) * next(trainer.model.parameters()).detach()
    torch.testing.assert_close(next(trainer.average.parameters()), expected)


def test_a_loss_that_is_not_finite_ends_training_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    class Bad(LineStage):
        def losses(self, model: nn.Module, batch: dict, generator: torch.Generator) -> dict:
            return {"fit": super().losses(model, batch, generator)["fit"] * float("nan")}

    with pytest.raises(TrainingError, match="not finite at step 5"):
        train(Bad(), config(tmp_path))
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_weights_load_by_themselves_and_misfits_are_listed(tmp_path: Path) -> None:
    average = train(LineStage(), config(tmp_path))
    fresh = LineStage(seed=5).build()
    tensors, info = load_tensors(tmp_path / "weights.safetensors")
    copy_state(fresh, tensors, "weights.safetensors")
    assert same(fresh, average) and info["stage"] == "line" and info["step"] == 30
    with pytest.raises(CheckpointError, match=r"0\.weight is \[8, 3\], expected \[2, 3\]"):
        copy_state(nn.Sequential(nn.Linear(3, 2)), tensors, "weights.safetensors")
    for absent in (tmp_path / "absent.safetensors", tmp_path):
        message = f"there is no file {absent}; give weights.safetensors of a stage"
        with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
            load_tensors(absent)
    (tmp_path / "broken.safetensors").write_bytes(b"no tensors here")
    with pytest.raises(CheckpointError, match="cannot read"):
        load_tensors(tmp_path / "broken.safetensors")


def test_a_folder_of_another_stage_is_refused(tmp_path: Path) -> None:
    train(LineStage(), config(tmp_path, steps=1))

    class Other(LineStage):
        name = "other"

    with pytest.raises(CheckpointError, match="belongs to stage 'line'"):
        Trainer(Other(), config(tmp_path))


def test_another_seed_goes_on_with_no_run(tmp_path: Path) -> None:
    train(LineStage(), config(tmp_path, steps=1))
    with pytest.raises(CheckpointError, match="was begun with --seed 0; give the same, or choose another"):
        Trainer(LineStage(), config(tmp_path, seed=7))


def test_a_run_with_other_settings_is_refused(tmp_path: Path) -> None:
    class Described(LineStage):
        about: dict[str, Any]

        def describe(self) -> dict[str, Any]:
            return self.about

    def trainer(**about: Any) -> Trainer:
        stage = Described()
        stage.about = about
        return Trainer(stage, config(tmp_path, steps=1))

    sizes = {"layers": 2, "patch": (1, 2)}
    trainer(config=sizes, codec_fingerprint="a", start="here").run()
    newer = {**sizes, "rope": "absolute"}  # a setting that the checkpoint does not know
    resumed = trainer(config=newer, codec_fingerprint="a", start="moved", text="b")
    assert resumed.step == 1
    for changed, message in (
        (
            {"config": {**sizes, "layers": 3}, "codec_fingerprint": "a"},
            "config.layers is 3, and was 2; choose",
        ),
        ({"config": sizes, "codec_fingerprint": "b"}, "codec_fingerprint is 'b', and was 'a'"),
    ):
        with pytest.raises(CheckpointError, match=message):
            trainer(**changed)


def test_impossible_configs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="minutes or steps"):
        TrainConfig(out=tmp_path)
    with pytest.raises(ConfigError, match="autocast"):
        TrainConfig(out=tmp_path, steps=1, autocast="fp8")
    for limit in ({"steps": 0}, {"steps": -3}, {"minutes": 0.0}, {"steps": 5, "minutes": -1.0}):
        with pytest.raises(ConfigError, match="give more than 0"):
            TrainConfig(out=tmp_path, **limit)
    for name in ("checkpoint_s", "evaluate_s"):
        with pytest.raises(ConfigError, match=f"{name} is nan; expected 0 seconds or more"):
            TrainConfig(out=tmp_path, steps=1, **{name: math.nan})
    with pytest.raises(ConfigError, match="seed is -1"):
        TrainConfig(out=tmp_path, steps=1, seed=-1)
    with pytest.raises(ConfigError, match="did you mean 'codec'"):
        make_stage("codex")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lr", -1.0),
        ("lr", math.nan),
        ("final", 1.5),
        ("warmup_steps", -1),
        ("betas", (0.9, 1.0)),
        ("weight_decay", -0.1),
        ("clip", 0.0),
        ("ema", 1.0),
    ],
)
def test_impossible_optimisation_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"{name} is {re.escape(str(value))}; expected"):
        Optimisation(**{name: value})


class HalvedStage(LineStage):
    """Without noise or batch norm, so that the parts of a batch add up to the whole."""

    def build(self) -> nn.Module:
        torch.manual_seed(self.seed)
        return nn.Sequential(nn.Linear(3, 8), nn.SiLU(), nn.Linear(8, 1))

    def losses(
        self, model: nn.Module, batch: dict[str, torch.Tensor], generator: torch.Generator
    ) -> dict[str, torch.Tensor]:
        return {"fit": (model(batch["x"]) - batch["y"]).square().mean()}


def test_parts_of_a_batch_side_by_side_equal_the_whole(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        whole = train(HalvedStage(), config(tmp_path / "whole", steps=5))
        parts = train(HalvedStage(), config(tmp_path / "parts", steps=5, threads=2))
        assert torch.get_num_threads() == 2  # as before
    finally:
        torch.set_num_threads(threads)
    norms = [rows_of(tmp_path / name)[0]["grad_norm"] for name in ("whole", "parts")]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
    for one, two in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(one, two)


def test_parts_and_steps_draw_noise_of_their_own(tmp_path: Path) -> None:
    trainer = Trainer(LineStage(), config(tmp_path))
    batch, found = trainer.stage.batch(0), list[float]()
    for step, part in ((0, 0), (0, 1), (1, 0), (0, 0)):
        trainer.step = step
        found.append(trainer._losses(batch, part)["fit"].item())
    assert len(set(found[:3])) == 3 and found[3] == found[0]


def test_gradients_are_clipped_before_the_optimizer_sees_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clipped(LineStage):
        optimisation = Optimisation(clip=1e-3)

    trainer, seen = Trainer(Clipped(), config(tmp_path)), list[float]()

    def look() -> None:
        seen.append(nn.utils.get_total_norm([p.grad for p in trainer.model.parameters()]).item())

    monkeypatch.setattr(trainer.optimizer, "step", look)
    logged = trainer._train_step()["grad_norm"]
    assert seen == [pytest.approx(1e-3, rel=1e-3)] and logged > 1e-2  # as it was


def test_parts_hold_everything_once() -> None:
    batch = {"a.x": torch.arange(8).view(4, 2), "a.y": torch.arange(4), "b": torch.zeros(0, 3)}
    whole = {**batch, "turn": torch.tensor(True)}  # a single value goes to every part
    parts = LineStage().split(whole, 2)
    assert all(torch.equal(torch.cat([part[name] for part in parts]), batch[name]) for name in batch)
    assert all(part["turn"] for part in parts)
    with pytest.raises(ConfigError, match=r"^a is 4; expected multiples of 3"):
        LineStage().split(whole, 3)


def test_batches_that_do_not_split_are_refused_before_a_model_is_built(tmp_path: Path) -> None:
    class Unbuilt(LineStage):
        def build(self) -> nn.Module:
            raise AssertionError("a model was built")

    with pytest.raises(ConfigError, match="x is 16, y is 16; expected multiples of 3"):
        Trainer(Unbuilt(), config(tmp_path, threads=3))
    with pytest.raises(ConfigError, match="threads is 0"):
        config(tmp_path, threads=0)
