"""Settings of stages in YAML, and plans made from them."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from toy_stages import LineStage

from longlive_env.engine.config import PRESETS, from_dict
from longlive_env.errors import ConfigError, LongLiveError
from longlive_env.training import Trainer, command
from longlive_env.training.causal_stage import CausalOptions
from longlive_env.training.checkpoint import read_info
from longlive_env.training.command import run_stage
from longlive_env.training.config_file import known_configs, load_settings
from longlive_env.training.plan import plan
from longlive_env.training.stages import STAGES, Optimisation, Stage, make_stage, stage_class
from longlive_env.training.train_config import TrainConfig


@pytest.mark.parametrize("name", known_configs())
def test_the_files_of_the_package_are_valid(name: str) -> None:
    import yaml

    from longlive_env.training.config_file import FOLDER

    for stage in yaml.safe_load((FOLDER / f"{name}.yaml").read_text()):
        settings = load_settings(name, stage)
        Optimisation(**settings.optimisation)
        from_dict(stage_class(stage).options_type, settings.options, stage)  # as every stage does
        if stage in ("base", "causal", "distill", "stream"):
            plan(stage, settings.options)


def test_the_published_settings_of_long_tuning() -> None:
    settings = load_settings("1.3b", "stream")
    options, frames = settings.options, PRESETS["1.3b"].frames_per_block
    assert options["lora_rank"] == options["critic_lora_rank"] == 256
    assert options["clips"] == 64 and settings.optimisation["clip"] == 10.0
    generated = 1 / options["critic_updates"]  # published steps are those of the critic
    assert settings.run.steps == pytest.approx(3000 * (1 + generated))
    assert options["guidance"] == 1 + 3.0  # published code adds to the prompt's own prediction
    assert (options["length"] * frames, options["blocks"] * frames) == (240, 21)
    assert settings.optimisation["lr"] == 1e-5
    assert settings.optimisation["lr"] * options["critic_rate"] == pytest.approx(2e-6)
    assert settings.optimisation["betas"] == (0.0, 0.999)


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_errors_name_file_and_remedy(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    cases = {
        "causal: {options: {taks: 3}}": "causal has no 'taks'; did you mean 'takes'",
        "causal: {optimisation: {lr: fast}}": r"own.yaml: causal.optimisation.lr is 'fast'; expected float",
        "causal: {run: {minute: 3}}": "did you mean 'minutes'",
        "causal: {option: {}}": "did you mean 'options'",
        "casual: {}": "own.yaml has no stage 'casual'; did you mean 'causal'",
        "codec: {}": "has no section 'causal'; it has codec",
        "- 1": "expected a section for each stage",
        "a: [": "cannot read",
    }
    for text, message in cases.items():
        with pytest.raises(ConfigError, match=message):
            plan("causal", load_settings(write(file, text), "causal").options)
    with pytest.raises(ConfigError, match="no training config 'tinny'; did you mean 'tiny'"):
        load_settings("tinny", "causal")


def test_options_are_checked_by_their_stage() -> None:
    for stage in STAGES:
        with pytest.raises(ConfigError, match="nonsense"):
            make_stage(stage, nonsense=1)
        with pytest.raises(ConfigError, match=f"{stage} has no 'nonsense'"):  # before a folder is asked for
            run_stage([stage, "--set", "nonsense=1"])


def test_a_plan_counts_what_the_models_have() -> None:
    from longlive_env.training.world_model import WorldModel

    tiny = PRESETS["tiny"]
    made = plan("causal", {})
    model = WorldModel(tiny)
    assert [net.parameters for net in made.networks] == [
        sum(p.numel() for p in part.parameters()) for part in (model.transformer, model.text_encoder)
    ]
    clips = CausalOptions()
    assert made.clip == (
        clips.openings + clips.beginnings + clips.later + clips.switches,
        12,
        *tiny.latent_shape,
    )
    assert sum(net.operations for net in made.networks) > 0


def test_adapters_make_long_tuning_of_the_large_world_affordable() -> None:
    options = load_settings("1.3b", "stream").options
    small, full = plan("stream", options), plan("stream", {**options, "lora_rank": 0})
    assert 14.0e9 < small.networks[2].parameters < 14.6e9
    assert small.networks[2].trained == 0
    assert small.networks[0].trained < 0.3 * full.networks[0].trained
    text = small.networks[3]
    assert text.name == "text encoder" and text.parameters > 5e9 and text.trained == 0


def test_a_plan_of_a_world_in_a_folder(tmp_path: Path) -> None:
    from longlive_env.engine.world import World

    World.load("tiny").save(tmp_path)
    options = load_settings("tiny", "distill").options
    assert plan("distill", {**options, "start": str(tmp_path)}).networks == plan("distill", options).networks
    with pytest.raises(ConfigError, match="there is no world or folder 'nowhere'"):
        plan("distill", {**options, "start": "nowhere"})


def test_threads_of_a_file_are_for_a_cpu(tmp_path: Path) -> None:
    where = ["--out", str(tmp_path / "out")]
    with pytest.raises(ConfigError, match="needs a codec"):  # and not: threads is 2
        run_stage(["causal", "--config", "tiny", "--device", "meta", *where])
    with pytest.raises(ConfigError, match="threads is 2 on meta"):
        run_stage(["causal", "--config", "tiny", "--device", "meta", "--threads", "2", *where])
    with pytest.raises(ConfigError, match="threads is 0"):
        run_stage(["causal", "--config", "tiny", "--threads", "0", *where])


def untrained(trained: list[TrainConfig]) -> type[Trainer]:
    """A trainer that notes its settings instead of training."""

    class Noted(Trainer):
        def __init__(self, stage: Stage, config: TrainConfig) -> None:
            self.stage, self.config, self.step, self.elapsed_s, self.metrics = stage, config, 0, 0.0, {}

        def run(self) -> nn.Module:
            trained.append(self.config)
            return nn.Identity()

    return Noted


@pytest.mark.parametrize(
    ("processes", "options", "want"), [(1, [], 2), (2, [], 1), (4, [], 1), (2, ["--threads", "3"], 3)]
)
def test_processes_share_the_threads_of_a_file(
    processes: int, options: list[str], want: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the clips of a file split over processes as they do over threads."""
    trained: list[TrainConfig] = []
    monkeypatch.setattr(command, "Trainer", untrained(trained))
    monkeypatch.setattr(command.parallel, "processes", lambda: processes)
    monkeypatch.setattr(command.parallel, "first_process_first", contextlib.nullcontext)
    monkeypatch.setattr(command, "make_stage", lambda name, seed, **options: LineStage())
    assert run_stage(["causal", "--config", "tiny", "--out", str(tmp_path / "out"), *options]) == 0
    (config,) = trained
    assert (config.threads, config.minutes, config.steps) == (want, 120, None)


def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    for device in ("cuda:99", "nonsense"):
        with pytest.raises(LongLiveError, match=f"device '{device}'.*cpu"):
            run_stage(["causal", "--steps", "1", "--device", device, "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_a_dry_run_prints_and_trains_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_stage(["stream", "--config", "tiny", "--dry-run", "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "generator" in printed and "TFLOP a step" in printed and "[4, 21, 16, 12, 20]" in printed
    assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match="give --out DIR"):
        run_stage(["causal"])


def test_mistakes_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from longlive_env.training.command import main

    wrong = ["causal", "--config", str(tmp_path / "absent.yaml"), "--out", str(tmp_path / "out")]
    assert main(wrong) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith("longlive train: error: cannot read")
    monkeypatch.setenv("RANK", "1")  # under torchrun the first process speaks for all
    assert main(wrong) == 2
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("stage", "option", "message"),
    [
        ("causal", "restored_share=2", "restored_share is 2.0; expected 0 to 1"),
        ("causal", "context_noise=-1", "context_noise is -1.0; expected at least 0"),
        ("base", "dropped_share=3", "dropped_share is 3.0; expected 0 to 1"),
        ("codec", "lively_share=2", "lively_share is 2.0; expected 0 to 1"),
        ("codec", "noise=-1", "noise is -1.0; expected at least 0"),
        ("stream", "switch_share=5", "switch_share is 5.0; expected 0 to 1"),
        ("distill", "critic_rate=-1", "critic_rate is -1.0; expected at least 0"),
        ("decoder", "mse=NaN", "mse is nan; expected at least 0"),
    ],
)
def test_values_out_of_range_are_refused(stage: str, option: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        run_stage([stage, "--steps", "1", "--out", str(tmp_path), "--set", option])


def test_impossible_settings_are_refused_before_a_stage_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "make_stage", lambda *given, **options: pytest.fail("a stage was made"))
    run = ["probe", "--steps", "1", "--out", str(tmp_path / "out")]
    with pytest.raises(ConfigError, match=r"lr is -1\.0; expected a number above 0"):
        run_stage([*run, "--lr", "-1"])
    with pytest.raises(ConfigError, match="checkpoint_s is nan; expected 0 seconds or more"):
        run_stage([*run, "--checkpoint-seconds", "nan"])
    for part, message in (
        ("run: {threads: -3}", "threads is -3; expected at least 1"),
        ("optimisation: {clip: 0}", "clip is 0.0; expected a number above 0"),
        ("optimisation: {betas: [0.9, 1.0]}", "betas is .*; expected two numbers from 0 to below 1"),
        ("optimisation: {betas: [0.9]}", "betas is .*; expected two numbers"),
    ):
        file = write(tmp_path / "own.yaml", f"probe: {{{part}}}")
        with pytest.raises(ConfigError, match=message):
            run_stage([*run, "--config", file])


def test_options_are_set_one_after_the_other() -> None:
    args = command.parser().parse_args(["codec", "--set", "a=1", "b=2", "--set", "c=3"])
    assert args.set == ["a=1", "b=2", "c=3"]


def test_a_full_device_is_one_line_with_what_training_can_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(stage: Any, config: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(command, "make_stage", lambda name, seed, **options: LineStage())
    monkeypatch.setattr(command, "Trainer", full)
    assert command.main(["probe", "--steps", "1", "--out", str(tmp_path)]) == 2
    assert "give fewer clips (--set clips=N), --recompute, or --shard" in capsys.readouterr().err


def test_a_session_counts_from_before_its_stage_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, trained = iter((100.0, 220.0)), list[TrainConfig]()
    monkeypatch.setattr(command.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(command, "make_stage", lambda name, seed, **options: LineStage())
    monkeypatch.setattr(command, "Trainer", untrained(trained))
    session = ["--steps", "1", "--session-minutes", "9", "--out", str(tmp_path)]
    assert run_stage(["probe", *session]) == 0
    assert trained[0].session_minutes == 7


def test_the_end_of_a_run_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "make_stage", lambda name, seed, **options: LineStage())
    run = ["probe", "--out", str(tmp_path), "--steps"]
    assert run_stage([*run, "3", "--no-bar"]) == 0
    told, bar = capsys.readouterr()
    error = float(read_info(tmp_path / "weights.safetensors")["metrics"]["error"])
    assert told == f"line: step 3, error {error:.4g} -> {tmp_path / 'weights.safetensors'}\n" and not bar
    assert run_stage([*run, "6"]) == 0
    assert "100%" in (bar := capsys.readouterr().err) and "step=6, error=" in bar
    assert run_stage([*run, "1000000", "--session-minutes", "1e-9"]) == 0
    told = capsys.readouterr().out
    assert ", 0% of the run -> " in told and told.endswith("weights.safetensors; the same command goes on\n")
    monkeypatch.setattr(command.parallel, "rank", lambda: 1)
    assert run_stage([*run, "6"]) == 0
    assert capsys.readouterr() == ("", "")


def test_the_command_line_overrides_the_file() -> None:
    from longlive_env.training.command import _run_settings, parser

    run = load_settings("1.3b", "stream").run
    assert run.shard and run.recompute and run.checkpoint_s == 900
    said = parser().parse_args(["stream", "--no-shard", "--checkpoint-seconds", "5"])
    changed = _run_settings(said, run)
    assert not changed.shard and changed.recompute and changed.checkpoint_s == 5
    assert changed.autocast == run.autocast


@pytest.mark.parametrize(
    ("asked", "supported", "want"),
    [("auto", True, "bf16"), ("auto", False, None), ("none", True, None), ("bf16", False, "bf16")],
)
def test_mixed_precision_is_for_processors_that_multiply_bfloat16(
    asked: str, supported: bool, want: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: supported)
    assert command._autocast(asked, "cpu") == want
    assert command._autocast("auto", "cuda:1") == "bf16"
