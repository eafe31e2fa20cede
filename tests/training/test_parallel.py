"""Processes that share batches train like one process with the whole batch."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import torch
from toy_stages import LineStage

from longlive_env.training import Optimisation, TrainConfig, Trainer
from longlive_env.training.checkpoint import load_tensors
from longlive_env.training.stages import Batch

STEPS = 12


class SplitLine(LineStage):
    """A line whose batches can be split; without batch norm, which would see the parts one by one."""

    optimisation = Optimisation(lr=1e-2, warmup_steps=0, final=1.0)  # the rate does not depend on the end

    def build(self) -> torch.nn.Module:
        torch.manual_seed(self.seed)
        return torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.SiLU(), torch.nn.Linear(8, 1))

    def split(self, batch: Batch, parts: int) -> list[Batch]:
        return [{name: value.chunk(parts)[n] for name, value in batch.items()} for n in range(parts)]


def run(out: Path, steps: int = STEPS) -> None:
    """What each process does."""
    from longlive_env.training.parallel import process_group

    with process_group("cpu"):
        Trainer(SplitLine(), TrainConfig(out=out, steps=steps, log_every=1, checkpoint_s=0.0)).run()


def fill(folder: Path) -> None:
    """What each process does that needs a file which the first one writes."""
    from longlive_env.training.parallel import first_process_first, process_group, rank

    with process_group("cpu"), first_process_first():
        if rank():
            assert (folder / "file").exists()
        else:
            time.sleep(0.5)
            (folder / "file").touch()


def in_processes(count: int, out: Path, steps: int = STEPS) -> None:
    """`run` in processes."""
    join(count, f"from test_parallel import run; from pathlib import Path; run(Path({str(out)!r}), {steps})")


def join(count: int, code: str) -> None:
    """A program in processes joined as torchrun joins them."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, **shared, "RANK": str(n), "LOCAL_RANK": str(n), "PYTHONPATH": path},
        )
        for n in range(count)
    ]
    assert [process.wait(timeout=120) for process in started] == [0] * count


def losses(out: Path) -> list[float]:
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [row["fit"] for row in rows if "fit" in row]


def test_two_processes_equal_one(tmp_path: Path) -> None:
    parts = TrainConfig(out=tmp_path / "one", steps=STEPS, log_every=1, checkpoint_s=0.0, threads=2)
    Trainer(SplitLine(), parts).run()
    in_processes(2, tmp_path / "two", STEPS // 2)  # interrupted half-way
    in_processes(2, tmp_path / "two")
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(one) == len(two) == STEPS
    torch.testing.assert_close(torch.tensor(two), torch.tensor(one), rtol=1e-4, atol=1e-5)
    files = [tmp_path / name / "checkpoint.safetensors" for name in ("one", "two")]
    first, second = (load_tensors(file, "model.")[0] for file in files)
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=1e-4, atol=1e-5)


def test_the_first_process_goes_first(tmp_path: Path) -> None:
    join(2, f"from test_parallel import fill; from pathlib import Path; fill(Path({str(tmp_path)!r}))")
