"""What commands ask of the engine when they load a world, and where it runs."""

import argparse
from pathlib import Path

import pytest
import torch

from longlive_env import World
from longlive_env.cli import main
from longlive_env.cli.world_options import add_world_options, load_world
from longlive_env.engine.memory import plan
from longlive_env.errors import BackendError


def test_memory_is_planned_for_all_worlds_and_states(small_world_folder: Path) -> None:
    parser = argparse.ArgumentParser()
    add_world_options(parser)
    args = parser.parse_args(["--memory", "auto"])
    for batch, states in ((1, 1), (3, 1), (3, 2)):
        world = load_world(str(small_world_folder), "cpu", args, batch, states=states)
        counts = {"batch": batch, "states": states}
        expected = plan(world.config, 1 << 50, **counts, device="cpu", dtype=torch.float32, own_codec=True)
        assert world.memory_plan and world.memory_plan.peak_bytes == expected.peak_bytes


def test_a_command_that_compiles_has_a_mode_by_default() -> None:
    for compiles, mode in ((False, None), (True, "default")):
        parser = argparse.ArgumentParser()
        add_world_options(parser, compiles=compiles)
        assert parser.parse_args([]).compile == mode
        assert ("{off,default,graphs,max}" in parser.format_help()) is not compiles


@pytest.mark.parametrize("cuda", [False, True])
def test_a_published_world_goes_to_a_gpu_and_a_cpu_is_warned_of(
    cuda: bool, small_world_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from longlive_env.cli.world_device import chosen_device

    monkeypatch.setattr("torch.cuda.is_available", lambda: cuda)
    mini = str(Path(__file__).parents[1] / "data" / "parity" / "mini")
    assert [chosen_device(world, None) for world in ("tiny", str(small_world_folder))] == ["cpu", "cpu"]
    assert chosen_device("tiny", "cuda:1") == chosen_device(mini, "cuda:1") == "cuda:1"
    assert not capsys.readouterr().err
    chosen = [chosen_device(mini, None), chosen_device("1.3b", None, random_weights=True)]
    assert chosen == [("cpu", "cuda")[cuda]] * 2
    assert capsys.readouterr().err.count("needs minutes a block on a CPU") == (2, 0)[cuda]
    assert chosen_device(mini, "cpu") == "cpu"
    warned = capsys.readouterr().err
    assert warned.startswith("warning: the 1.3B world needs minutes") and warned.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "device"),
    [
        (["run", "demo", "--world", "MINI"], "cuda"),
        (["run", "demo", "--world", "MINI", "--device", "cpu"], "cpu"),
        (["run", "demo"], "cpu"),
        (["warmup", "--world", "MINI"], "cuda"),
        (["eval", "--world", "MINI"], "cuda"),
        (["bench", "--world", "MINI"], "cuda"),
        (["bench", "--world", "1.3b", "--random-weights"], "cuda"),
        (["bench", "--world", "1.3b", "--random-weights", "--size", "96x64", "--layers", "2"], "cpu"),
    ],
)
def test_commands_choose_the_device_of_a_world(
    argv: list[str], device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def look(*args: object, **options: object) -> None:
        asked.append(str(options.get("device", getattr(args[0], "device", args[-1]))))
        raise BackendError("enough seen")

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("longlive_env.envs.world_cache._worlds", {})  # other tests may have loaded it
    monkeypatch.setattr(World, "load", look)
    monkeypatch.setattr("longlive_env.bench.bench", look)
    monkeypatch.chdir(tmp_path)
    mini = str(Path(__file__).parents[1] / "data" / "parity" / "mini")
    assert main([mini if word == "MINI" else word for word in argv]) == 2
    assert asked == [device]
