"""Weights spread over two processes train like whole ones; checkpoints outlive any number of processes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from joined_processes import join
from small_rollouts import CONFIG
from toy_stages import CONFIG as ONE_LAYER
from toy_stages import save_student_and_teacher

from longlive_env.errors import CheckpointError, ConfigError
from longlive_env.training import TrainConfig, Trainer, parallel, sheets
from longlive_env.training.base_stage import BaseStage
from longlive_env.training.causal_stage import CausalStage
from longlive_env.training.checkpoint import load_tensors
from longlive_env.training.decoder_stage import DecoderStage
from longlive_env.training.distill_stage import DistillStage
from longlive_env.training.follow_stage import FollowStage
from longlive_env.training.running_stage import RunningStage
from longlive_env.training.saved_run import SavedRun, newest
from longlive_env.training.stages import Stage
from longlive_env.training.stream_stage import StreamStage

STEPS = 2
BANK = {"takes": 2, "held_out": 1, "takes_a_file": 1}
DEEP = ("base", "distill")  # kinds with more than one layer; each takes time to spread


def stage(kind: str, files: Path, pictures: bool = False) -> Stage:
    """A small stage of each kind; the rate does not depend on the end, so that runs can be cut short."""
    own = files if kind in DEEP else files / "shallow"
    bank = {"codec": str(files / "codec.safetensors"), "bank": str(files / "bank")}
    rollout: dict[str, Any] = {
        "start": str(own / "world"),
        "teacher": str(own / "teacher.safetensors"),
        "clips": 2,
        "blocks": 3,
        "critic_updates": 1,
    }
    made: Stage
    if kind == "base":
        made = BaseStage(config=CONFIG, clips=2, sample_steps=1, **bank, **BANK)
    elif kind == "causal_bf16":
        counts = dict.fromkeys(("openings", "beginnings", "later", "switches"), 2)
        made = CausalStage(config=ONE_LAYER, switch_takes=2, restored_share=1.0, **bank, **BANK, **counts)
    elif kind in ("follow", "decoder"):
        scenes = {"scenes": 2, "held_out": 1, "scenes_a_file": 1}
        sizes = {"bank": bank["bank"], **scenes, "length": 6}
        del rollout["teacher"]
        del rollout["critic_updates"]
        if kind == "follow":
            made = FollowStage(**rollout, **sizes, openings=2)
        else:
            made = DecoderStage(**rollout, **sizes, plays=2, takes=1)
    elif kind == "stream_bf16":
        made = StreamStage(**rollout, length=6, lora_rank=2)
    else:
        made = DistillStage(**rollout, lora_rank=2 if "lora" in kind else 0)
    if not pictures:  # they take longest
        made.sheet = lambda model: None  # type: ignore[method-assign]
    made.optimisation = replace(made.optimisation, lr=1e-3, warmup_steps=0, final=1.0)
    return made


def settings(out: Path, **changes: Any) -> TrainConfig:
    same: dict[str, Any] = {"steps": STEPS, "log_every": 1, "checkpoint_s": 1e9, "evaluate_s": 1e9}
    return TrainConfig(out=out, **same | changes)


def run(folder: Path, ends: dict[str, int], resumed: frozenset[str] = frozenset()) -> None:
    """What each process does: all kinds one after another to the end, some in sessions of one step each."""
    from longlive_env.training.parallel import process_group

    torch.set_num_threads(1)
    with process_group("cpu"):
        sessions = [(kind, end) for kind, end in ends.items() for _ in range(end if kind in resumed else 1)]
        for kind, steps in sessions:
            out = folder / f"{kind}-sharded"
            autocast = "bf16" if "bf16" in kind else None
            spread = kind != "decoder"  # which has no transformer to spread
            sharded = settings(
                out,
                steps=steps,
                session_minutes=1e-9 if kind in resumed else None,
                autocast=autocast,
                shard=spread,
                recompute=spread,
            )
            sheets.ROWS = 2
            Trainer(stage(kind.split("-")[0], folder, pictures=kind == "lora_bf16"), sharded).run()


def rows(out: Path) -> list[dict[str, float]]:
    found = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [row for row in found if "lr" in row]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small worlds, and runs of every stage in two processes, some of them resumed on the way."""
    path = tmp_path_factory.mktemp("sharding")
    save_student_and_teacher(path, CONFIG)
    save_student_and_teacher(path / "shallow", ONE_LAYER)  # with the same codec
    for kind in BANKED:
        stage(kind, path)  # fills the bank
    join(2, run, path, dict.fromkeys(KINDS, STEPS), RESUMED)
    return path


KINDS = ["base", "causal_bf16", "distill", "lora_bf16", "follow", "stream_bf16", "decoder"]
RESUMED = frozenset(("distill", "stream_bf16"))  # the latter with adapters and running takes
BANKED = ["base", "causal_bf16", "follow", "decoder"]


@pytest.mark.parametrize("kind", KINDS[:4])
def test_two_processes_with_slices_equal_one_with_the_whole_batch(folder: Path, kind: str) -> None:
    """One process whose batch has the same two parts, uninterrupted, without activation checkpointing."""
    out = folder / f"{kind}-whole"
    threads = torch.get_num_threads()
    # In bfloat16 the norm of tiny gradients is mostly rounding, which depends on the processor's products.
    autocast, close, tiny = ("bf16", 1e-2, 3e-5) if "bf16" in kind else (None, 1e-3, 1e-5)
    whole = Trainer(stage(kind, folder), settings(out, threads=2, autocast=autocast))
    whole.run()
    torch.set_num_threads(threads)
    ours, theirs = rows(folder / f"{kind}-sharded"), rows(out)
    assert len(ours) == len(theirs) == STEPS
    for mine, reference in zip(ours, theirs, strict=True):
        for name in reference.keys() - {"elapsed_s"}:
            assert mine[name] == pytest.approx(reference[name], rel=close, abs=tiny), (name, mine, reference)
    average, _ = load_tensors(folder / f"{kind}-sharded" / "weights.safetensors")
    # In bfloat16 a tiny gradient may change its sign, which AdamW goes by: single weights differ most.
    single, together = (2e-4, 2e-4) if autocast is None else (8e-3, 2.5e-3)
    for name, value in whole.average.state_dict().items():
        torch.testing.assert_close(average[name], value, rtol=close, atol=single)
        assert (average[name] - value).square().mean().sqrt() < together, name


@pytest.mark.parametrize("kind", KINDS[4:-1])
def test_streams_of_two_processes_come_back(folder: Path, kind: str) -> None:
    """Each process has takes of its own; the checkpoint holds those of both, also for one process alone."""
    out = folder / f"{kind}-sharded"
    assert len(rows(out)) == STEPS
    saved = newest(out)
    assert saved is not None and saved.path.is_dir() and saved.info["step"] == STEPS
    takes = {name for name in saved.under("stage.") if name.endswith(".snapshot")}
    assert takes == {"0.snapshot", "1.snapshot"}
    resumed = Trainer(stage(kind, folder), settings(out, steps=STEPS + 1))
    assert isinstance(resumed.stage, RunningStage) and resumed.stage.takes.stream is not None
    assert len(resumed.stage.takes.stream.later) == 2 and resumed.step == STEPS
    assert torch.equal(resumed.stage.takes.stream.tail.cpu()[1], saved["stage.1.tail"])
    if isinstance(resumed.stage, FollowStage):
        for camera, name in zip(resumed.stage.cameras, ("0.camera", "1.camera"), strict=True):
            assert [camera.first, camera.offset] == saved[f"stage.{name}"].tolist()


def test_a_decoder_trains_in_two_processes(folder: Path) -> None:
    """Which have played its takes once, and share them."""
    saved = newest(folder / "decoder-sharded")
    assert saved is not None and saved.info["step"] == STEPS == len(rows(folder / "decoder-sharded"))
    assert len(list((folder / "bank" / "played").iterdir())) == 2


def test_another_number_of_processes_goes_on(folder: Path) -> None:
    """From two processes to one, and the other way round; both give what an uninterrupted run gives."""
    import shutil

    shutil.copytree(folder / "distill-sharded", folder / "distill-fewer")
    shutil.copytree(folder / "distill-sharded", folder / "distill-more-sharded")
    fewer = Trainer(stage("distill", folder), settings(folder / "distill-fewer", steps=STEPS + 2, threads=2))
    assert fewer.step == STEPS
    fewer.run()
    saved = newest(folder / "distill-fewer")
    assert saved is not None and saved.path.is_file()
    assert not list((folder / "distill-fewer").glob("checkpoint-*"))
    shutil.copy(saved.path, folder / "distill-more-sharded")  # from a file of one process to two
    join(2, run, folder, {"distill-more": STEPS + 3})
    more = rows(folder / "distill-more-sharded")
    fewer = Trainer(stage("distill", folder), settings(folder / "distill-fewer", steps=STEPS + 3, threads=2))
    fewer.run()
    assert [row["step"] for row in more][-1] == STEPS + 3
    reference = rows(folder / "distill-fewer")[-1]
    for name in reference.keys() - {"elapsed_s", "step"}:
        assert more[-1][name] == pytest.approx(reference[name], rel=1e-3, abs=1e-5)


def test_nothing_on_disk_is_pickled(folder: Path) -> None:
    files = [file for file in (folder / "distill-sharded").rglob("*") if file.is_file()]
    kinds = {file.suffix for file in files}
    assert kinds <= {".safetensors", ".json", ".jsonl", ".png"}, kinds
    assert sum("checkpoint-" in str(file) and file.suffix == ".safetensors" for file in files) == 2


def test_damaged_and_foreign_checkpoints(folder: Path, tmp_path: Path) -> None:
    half = tmp_path / "checkpoint-000000007"
    half.mkdir()
    with pytest.raises(CheckpointError, match=r"cannot read .*holds no info\.json; restore a copy"):
        newest(tmp_path)
    half.rename(tmp_path / "checkpoint.partial")  # what a kill leaves
    assert newest(tmp_path) is None
    saved = newest(folder / "distill-sharded")
    assert saved is not None
    with pytest.raises(CheckpointError, match="belongs to stage 'distill'"):
        Trainer(stage("base", folder), settings(folder / "distill-sharded"))
    assert isinstance(saved, SavedRun) and len(saved) == len(list(saved))


def test_one_process_keeps_its_weights_whole(folder: Path, tmp_path: Path) -> None:
    trainer = Trainer(stage("distill", folder), settings(tmp_path, shard=True))
    assert not parallel.is_sharded(trainer.model)
    with pytest.raises(ConfigError, match="threads is 2 with shard"):
        settings(tmp_path, shard=True, threads=2)
    from longlive_env.training.sharding import shard

    with pytest.raises(ConfigError, match="over one process"):
        shard(trainer.model, "cpu")
