"""Processes that share batches train like one process with the whole batch."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import torch
from joined_processes import begin, join
from toy_stages import LineStage

from longlive_env.training import Optimisation, TrainConfig, Trainer
from longlive_env.training.checkpoint import load_tensors
from longlive_env.training.saved_run import newest

STEPS = 6


class SplitLine(LineStage):
    """A line without batch norm, which would see the parts of a batch one by one."""

    optimisation = Optimisation(lr=1e-2, warmup_steps=0, final=1.0)  # the rate does not depend on the end

    def build(self) -> torch.nn.Module:
        torch.manual_seed(self.seed)
        return torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.SiLU(), torch.nn.Linear(8, 1))


def run(out: Path, steps: int, checkpoint_s: float) -> None:
    """What each process does."""
    from longlive_env.training.parallel import process_group

    with process_group("cpu"):
        Trainer(SplitLine(), TrainConfig(out=out, steps=steps, log_every=1, checkpoint_s=checkpoint_s)).run()


def fill(folder: Path) -> None:
    """What each process does that needs a file which the first one writes."""
    from longlive_env.training.parallel import first_process_first, process_group, rank

    with process_group("cpu"), first_process_first():
        if rank():
            assert (folder / "file").exists()
        else:
            time.sleep(0.5)
            (folder / "file").touch()


def losses(out: Path) -> list[float]:
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [row["fit"] for row in rows if "fit" in row]


def test_two_processes_equal_one(tmp_path: Path) -> None:
    parts = TrainConfig(out=tmp_path / "one", steps=STEPS, log_every=1, threads=2)
    Trainer(SplitLine(), parts).run()
    join(2, run, tmp_path / "two", STEPS // 2, 1e9)  # interrupted half-way
    join(2, run, tmp_path / "two", STEPS, 1e9)
    last = newest(tmp_path / "two")
    assert last is not None and last.path.is_dir()
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(one) == len(two) == STEPS
    torch.testing.assert_close(torch.tensor(two), torch.tensor(one), rtol=1e-4, atol=1e-5)
    first, _ = load_tensors(tmp_path / "one" / "checkpoint.safetensors", "model.")
    second = last.under("model.")
    assert first.keys() == set(second)
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=1e-4, atol=1e-5)


def mean_gradients() -> None:
    """What each process does: the second gradient is its own in one of them, the third in none."""
    from longlive_env.training import parallel

    with parallel.process_group("cpu"):
        parameters = [torch.nn.Parameter(torch.zeros(2)) for _ in range(3)]
        parameters[0].grad = torch.full((2,), 1.0 + 2 * parallel.rank())
        if parallel.rank():
            parameters[1].grad = torch.full((2,), 4.0)
        parallel.average_gradients(parameters)
        first, second, third = (parameter.grad for parameter in parameters)
        assert first is not None and second is not None and third is None
        assert first.tolist() == second.tolist() == [2.0, 2.0]


def test_a_gradient_that_a_process_lacks_counts_as_zero() -> None:
    join(2, mean_gradients)


def test_killed_in_the_middle_of_saves(tmp_path: Path) -> None:
    """Both processes die, whatever they are writing: the newest checkpoint is one step old at most."""
    rng = np.random.default_rng(0)
    out = tmp_path / "killed"
    for _ in range(2):
        before = newest(out) if out.exists() else None
        reached = before.info["step"] if before else 0
        processes = begin(2, run, out, 10**6, 0.0)
        while not _beyond(out, reached):
            assert all(process.is_alive() for process in processes)
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 0.3))
        for process in processes:
            process.kill()
        for process in processes:
            process.join()
        saved = newest(out)
        assert saved is not None and saved.info["step"] > reached
        logged = [json.loads(line)["step"] for line in whole_lines(out / "log.jsonl")]
        assert saved.info["step"] >= max(logged) - 1
    resumed = Trainer(SplitLine(), TrainConfig(out=out, steps=10**6, threads=2))
    reference = Trainer(SplitLine(), TrainConfig(out=tmp_path / "reference", steps=10**6, threads=2))
    while reference.step < resumed.step:
        reference._train_step()
    for mine, theirs in zip(resumed.model.parameters(), reference.model.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)


def _beyond(out: Path, step: int) -> bool:
    """Whether a checkpoint of a later step is there."""
    return any(int(path.name.split("-")[1]) > step for path in out.glob("checkpoint-*"))


def whole_lines(file: Path) -> list[str]:
    """Lines of a log whose end a kill may have cut."""
    return file.read_text().split("\n")[:-1]


def test_the_first_process_goes_first(tmp_path: Path) -> None:
    join(2, fill, tmp_path)
