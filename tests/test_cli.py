"""The command line: help, one-line errors, runs that are recorded, replayed and interrupted."""

import argparse
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import av
import numpy as np
import pytest
import torch
from PIL import Image

import longlive_env
from longlive_env import World
from longlive_env.cli import COMMANDS, main
from longlive_env.cli.world_options import add_world_options, load_world
from longlive_env.engine import published
from longlive_env.engine.memory import plan
from longlive_env.envs.prompt_env import PromptEnv
from longlive_env.envs.wrappers import RecordFrames
from longlive_env.errors import BackendError
from longlive_env.recording import digest, read_log
from longlive_env.scenario import load_scenario, play

CLI = [sys.executable, "-c", "import sys; from longlive_env.cli import main; sys.exit(main())"]
CAT, DOG = "a red cat jumps in the city", "a blue car moves left on the beach"
SCENARIO = f"""\
name: walk
world: WORLD
seed: 3
duration: 4 blocks
prompt: {CAT}
timeline:
  - {{at: block 2, prompt: {DOG}}}
"""


@pytest.fixture
def scenario(tmp_path: Path, small_world_folder: Path) -> str:
    file = tmp_path / "walk.yaml"
    file.write_text(SCENARIO.replace("WORLD", str(small_world_folder)), encoding="utf-8")
    return str(file)


def frames_of(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def leaves_with(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    """Status, output and errors of a command."""
    capsys.readouterr()
    try:
        status = main(argv)
    except SystemExit as exit:  # argparse leaves this way
        status = int(exit.code or 0)
    out, err = capsys.readouterr()
    return status, out, err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = leaves_with(capsys, command, "--help")
    assert status == 0
    assert "example" in out and out.count(f"longlive {command}") >= 2  # in the usage and in an example
    assert COMMANDS[command].summary in leaves_with(capsys, "--help")[1]


def test_a_run_says_how_the_world_fits(
    scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "run"), "--duration", "1 blocks"]
    status, _, err = leaves_with(capsys, "run", scenario, "--memory", "8", "--precision", "bf16", *out)
    assert status == 0 and "memory: text encoder resident: 1." in err and "of 8.00 GiB predicted" in err


def test_memory_is_planned_for_all_worlds_and_states(small_world_folder: Path) -> None:
    parser = argparse.ArgumentParser()
    add_world_options(parser)
    args = parser.parse_args(["--memory", "auto"])
    for batch, states in ((1, 1), (3, 1), (3, 2)):
        world = load_world(str(small_world_folder), "cpu", args, batch, states=states)
        counts = {"batch": batch, "states": states}
        expected = plan(world.config, 1 << 50, **counts, device="cpu", dtype=torch.float32, own_codec=True)
        assert world.memory_plan and world.memory_plan.peak_bytes == expected.peak_bytes


def test_the_options_of_a_world_are_those_of_the_engine() -> None:
    """They are written twice, so that help does not load torch."""
    from longlive_env.cli.world_options import CODECS, PRECISIONS, ROPE
    from longlive_env.engine.config import Positions
    from longlive_env.engine.memory import CodecChoice
    from longlive_env.engine.quantize import Precision

    assert get_args(CodecChoice) == CODECS and get_args(Precision) == PRECISIONS
    assert get_args(Positions) == ROPE


def test_a_prompt_can_be_played_alone(
    small_world_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = ["--world", str(small_world_folder), "--duration", "2 blocks", "--out", str(tmp_path)]
    assert leaves_with(capsys, "run", "--prompt", CAT, *world)[0] == 0
    assert [block.prompt for block in read_log(tmp_path / "actions.jsonl").blocks] == [CAT, CAT]
    assert leaves_with(capsys, "run", "--agent", "random", *world)[0] == 0
    assert "--prompt goes with a scenario" in leaves_with(capsys, "run", "--prompt", CAT, "--replay", "x")[2]


def test_a_full_device_is_told_in_one_line(
    scenario: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> World:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(World, "start", full)
    status, _, err = leaves_with(capsys, "run", scenario)
    assert status == 2 and "no memory left" in err and "--memory" in err and err.count("\n") == 1


def test_what_a_log_does_not_hold_is_not_replayed(
    small_world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    env = RecordFrames(PromptEnv(small_world), tmp_path)
    env.reset(seed=1, options={"frames": np.zeros((32, 48, 3), np.uint8)})
    env.close()
    log = str(tmp_path / "episode-0000" / "actions.jsonl")
    status, _, err = leaves_with(capsys, "run", "--replay", log)
    assert status == 2 and "block 0 cannot be repeated: begins from given frames" in err


@pytest.mark.parametrize("cuda", [False, True])
def test_a_published_world_goes_to_a_gpu_and_a_cpu_is_warned_of(
    cuda: bool, small_world_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from longlive_env.cli.world_device import chosen_device

    monkeypatch.setattr("torch.cuda.is_available", lambda: cuda)
    mini = str(Path(__file__).parent / "data" / "parity" / "mini")
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
    monkeypatch.setattr(World, "load", look)
    monkeypatch.setattr("longlive_env.bench.bench", look)
    monkeypatch.chdir(tmp_path)
    mini = str(Path(__file__).parent / "data" / "parity" / "mini")
    assert main([mini if word == "MINI" else word for word in argv]) == 2
    assert asked == [device]


WITHOUT_TORCH = """
import contextlib, sys
from longlive_env.cli import main
for line in ("--help", "--version", "scenarios", "scenarios check", "run --help", "nonsense"):
    with contextlib.suppress(SystemExit):
        main(line.split())
    assert "torch" not in sys.modules, line
"""


def test_what_needs_no_world_does_not_load_torch() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert leaves_with(capsys, "--version") == (0, f"longlive_env {longlive_env.__version__}\n", "")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["rnu"], "longlive: error: there is no command 'rnu'; did you mean 'run'?"),
        (["zzz"], "longlive: error: there is no command 'zzz'; commands: run, "),
        (["run"], "longlive run: error: give one of a scenario, --prompt TEXT, --prompts FILE, or"),
        (["run", "dmo"], "longlive run: error: no scenario is called 'dmo'; did you mean 'demo'?"),
        (["run", "none.yaml"], "longlive run: error: cannot read none.yaml: No such file or directory"),
        (["run", "demo", "--wrld", "x"], "longlive run: error: unrecognized arguments: --wrld x"),
        (
            ["run", "demo", "--world", "tinny"],
            "longlive run: error: there is no world or folder 'tinny'; did you mean",
        ),
        (
            ["run", "demo", "--world", "WORLD", "--duration", "soon"],
            "longlive run: error: --duration: 'soon' is not a",
        ),
        (
            ["run", "demo", "--world", "WORLD", "--scale", "0"],
            "longlive run: error: a picture of 48x32 at scale 0",
        ),
        (
            ["run", "demo", "--world", "WORLD", "--out", "/dev/null/x"],
            "longlive run: error: /dev/null/x: Not a dir",
        ),
        (
            ["run", "demo", "--world", "WORLD", "--scale", "1000"],
            "longlive run: error: a picture of 48x32 at scale 1000 cannot be encoded; its sides must be",
        ),
        (
            ["run", "demo", "--world", "WORLD", "--duration", "0s"],
            "longlive run: error: --duration: '0s' is no time at all",
        ),
        (
            ["run", "demo", "--device", "gpu"],
            "longlive run: error: there is no device 'gpu'; expected cpu, cuda",
        ),
        (
            ["run", "demo", "--device", "cuda:99"],
            "longlive run: error: the device 'cuda:99' cannot be used here: ",
        ),
        (["run", "demo", "--seed", "-1"], "longlive run: error: argument --seed: the seed is -1; expected a"),
        (
            ["tiny", "--seed", "some"],
            "longlive tiny: error: argument --seed: 'some' is no seed; give a whole",
        ),
        (
            ["verify", "--cases", "CASES", "--device", "gpu"],
            "longlive verify: error: there is no device 'gpu'",
        ),
        (["bench", "--world", "tinny"], "longlive bench: error: there is no world or folder 'tinny'; did"),
        (["bench", "--device", "gpu"], "longlive bench: error: there is no device 'gpu'"),
        (["bench", "--out", "/dev/null/x/y.json"], "longlive bench: error: /dev/null/x: Not a directory"),
        (["eval", "--device", "gpu"], "longlive eval: error: there is no device 'gpu'"),
        (["eval", "--other", "a=b"], "longlive eval: error: --other belongs to --ablation"),
        (
            ["eval", "--precision", "bf16", "--by-value"],
            "longlive eval: error: --by-value has no part in --precision; leave it out",
        ),
        (
            ["eval", "--ablation", "--precision", "bf16"],
            "longlive eval: error: --ablation and --precision are two",
        ),
        (["eval", "--long-rollouts", "2"], "longlive eval: error: --long-rollouts goes with --long SECONDS"),
        (["eval", "--out", "/dev/null/x"], "longlive eval: error: /dev/null/x: Not a directory"),
        (["run", "demo", "--line", "3"], "longlive run: error: --line goes with --prompts"),
        (["run", "--replay", "none.jsonl"], "longlive run: error: cannot read none.jsonl"),
        (["run", "--replay", "x.jsonl", "--seed", "3"], "longlive run: error: --seed would change the run"),
        (["verify"], "longlive verify: error: the following arguments are required: --cases"),
        (["verify", "--cases", "/none"], "longlive verify: error: there is no folder /none"),
        (
            ["verify", "--cases", ".", "--tolerance", "0"],
            "longlive verify: error: argument --tolerance: 0 is not",
        ),
        (["train", "nonsense"], "longlive train: error: argument stage: invalid choice: 'nonsense'"),
        (["tiny", "--out", "/dev/null/x.png"], "longlive tiny: error: /dev/null: "),
        (
            ["tiny", "--out", "out/scenes"],
            "longlive tiny: error: --out is out/scenes; expected a picture's file name, such as",
        ),
        (
            ["tiny", "--out", "out/scenes.pgn"],
            "longlive tiny: error: --out is out/scenes.pgn; expected a pict",
        ),
        (
            ["scenarios", "chek"],
            "longlive scenarios: error: there is nothing called 'chek' to do; did you mean",
        ),
        (["scenarios", "list", "x"], "longlive scenarios: error: list takes no names; got x"),
        (["scenarios", "new"], "longlive scenarios: error: new takes one name, such as"),
        (["scenarios", "new", "a b"], "longlive scenarios: error: the name is 'a b'; use letters"),
        (["scenarios", "list", "--strict"], "longlive scenarios: error: --strict goes with check"),
        (["scenarios", "check", "--like", "x"], "longlive scenarios: error: --like goes with new"),
        (["run", "demo", "--agent", "randm"], "longlive run: error: there is no agent 'randm'; did you mean"),
        (["run", "--replay", "x.jsonl", "--agent", "random"], "longlive run: error: --agent would change"),
    ],
)
def test_errors_are_one_line(
    argv: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    small_world_folder: Path,
    tmp_path: Path,
) -> None:
    places = {"WORLD": str(small_world_folder), "CASES": str(Path(__file__).parent / "data" / "parity")}
    argv = [places.get(word, word) for word in argv]
    if "--out" not in argv and (argv[:2] == ["run", "demo"] or argv[0] == "eval"):
        argv += ["--out", str(tmp_path)]
    status, out, err = leaves_with(capsys, *argv)
    assert (status, out) == (2, "")
    assert err.startswith(message) and err.count("\n") == 1 and err.endswith("\n")


def test_scenarios_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = leaves_with(capsys, "scenarios")
    assert status == 0
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert len(lines) >= 15 and {"narrative", "education", "simulation", "previsualization"} <= set(lines)
    assert "tiny, 30s, 4 prompts" in lines["demo"] and load_scenario("story").description in lines["story"]


def test_a_run_records_every_frame(
    scenario: str, small_world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    status, printed, err = leaves_with(capsys, "run", scenario, "--out", str(out), "--scale", "2")
    assert (status, err) == (0, "")
    assert printed.startswith("walk: 45 frames (2.8 s of video)") and "FPS" in printed
    log = read_log(out / "actions.jsonl")
    assert log.complete and [block.prompt for block in log.blocks] == [CAT, CAT, DOG, DOG]
    played = list(play(small_world, load_scenario(scenario).plan(small_world.config)))
    assert [block.digest for block in log.blocks] == [digest(block.frames) for block in played]
    with av.open(str(out / "video.mp4")) as container:
        pictures = [picture.to_ndarray(format="rgb24") for picture in container.decode(video=0)]
    frames = np.concatenate([block.frames for block in played])
    assert len(pictures) == len(frames) == 45
    large = frames.repeat(2, axis=1).repeat(2, axis=2).astype(np.float32)
    for index, picture in enumerate(pictures):  # each is the frame in its place, but for compression
        assert np.abs(large - picture).mean(axis=(1, 2, 3)).argmin() == index
    assert Image.open(out / "sheet.png").width > 1000


def test_a_run_can_be_replayed_to_identical_frames(
    scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert leaves_with(capsys, "run", scenario, "--out", str(out), "--scale", "1")[0] == 0
    log = out / "actions.jsonl"
    monkeypatch.chdir(out)
    status, printed, _ = leaves_with(capsys, "run", "--replay", log.name, "--scale", "1")
    assert status == 0 and "all 4 blocks are identical to the recorded run" in printed
    assert read_log(tmp_path / "out-replay" / "actions.jsonl") == read_log(log)

    status, _, err = leaves_with(capsys, "run", "--replay", str(log), "--out", str(out))
    assert status == 2 and "--out is the folder of the recorded run" in err

    lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
    log.write_text("".join([lines[0].replace('"seed": 3', '"seed": 4'), *lines[1:]]), encoding="utf-8")
    status, printed, err = leaves_with(capsys, "run", "--replay", str(log), "--scale", "1")
    assert status == 1 and "identical" not in printed
    assert err.startswith("longlive run: 4 blocks differ from the recorded run, the first is block 0; ")


def test_a_replay_takes_the_recorded_precision_and_tells_what_differs(
    scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "out" / "actions.jsonl"
    assert leaves_with(capsys, "run", scenario, "--out", str(log.parent), "--precision", "bf16")[0] == 0
    assert read_log(log).header.options == {"precision": "bf16"}
    status, printed, err = leaves_with(capsys, "run", "--replay", str(log), "--scale", "1")
    assert status == 0 and "identical" in printed and "warning" not in err
    _, _, err = leaves_with(capsys, "run", "--replay", str(log), "--kv-precision", "fp8", "--scale", "1")
    assert "warning: kv_precision was the default, here it is fp8; frames may differ" in err


@pytest.mark.parametrize(
    ("option", "value", "other", "statuses", "spoilt", "message"),
    [
        ("steps", "2", "4", (1,), "two", "expected a number of denoising steps from 1 to 1000"),
        ("rope", "absolute", "relative", (0, 1), "spiral", "it must be 'absolute' or 'relative'"),
    ],
)
def test_a_replay_takes_the_recorded_option(
    option: str,
    value: str,
    other: str,
    statuses: tuple[int, ...],
    spoilt: str,
    message: str,
    scenario: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = tmp_path / "out" / "actions.jsonl"
    assert leaves_with(capsys, "run", scenario, "--out", str(log.parent), f"--{option}", value)[0] == 0
    assert read_log(log).header.options == {option: value}
    replay = ("run", "--replay", str(log), "--scale", "1")
    status, printed, err = leaves_with(capsys, *replay)
    assert status == 0 and "identical" in printed and "warning" not in err
    status, _, err = leaves_with(capsys, *replay, f"--{option}", other)
    assert status in statuses
    assert f"warning: {option} was {value}, here it is {other}; frames may differ" in err
    recorded = log.read_text(encoding="utf-8")
    log.write_text(recorded.replace(f'"{option}": "{value}"', f'"{option}": "{spoilt}"'), "utf-8")
    status, _, err = leaves_with(capsys, *replay)
    assert status == 2 and f"{option} is {spoilt!r}; {message}" in err


def test_options_override_the_scenario(
    small_world_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--world", str(small_world_folder), "--seed", "9", "--duration", "9s", "--scale", "1"]
    assert leaves_with(capsys, "run", "demo", *options, "--out", str(tmp_path))[0] == 0
    log = read_log(tmp_path / "actions.jsonl")
    assert (log.header.seed, log.header.world) == (9, str(small_world_folder))
    prompts = [block.prompt for block in log.blocks]
    demo = load_scenario("demo")
    assert prompts == [demo.prompt] * 11 + [demo.timeline[0].change.words] * 2


def test_prompt_lists(small_world_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "list.jsonl", tmp_path / "out"
    file.write_text("".join(json.dumps({"prompts": p}) + "\n" for p in ([CAT, DOG], [DOG])), encoding="utf-8")
    options = ["--prompts", str(file), "--switch-every", "2 blocks", "--world", str(small_world_folder)]
    options += ["--scale", "1", "--out", str(out)]
    assert leaves_with(capsys, "run", *options)[0] == 0
    both = [read_log(out / f"list-{line}" / "actions.jsonl") for line in (1, 2)]
    assert [[block.prompt for block in log.blocks] for log in both] == [[CAT, CAT, DOG, DOG], [DOG, DOG]]
    assert leaves_with(capsys, "run", *options, "--line", "2")[0] == 0
    assert read_log(out / "actions.jsonl").header.name == "list-2"
    status, _, err = leaves_with(capsys, "run", *options, "--line", "5")
    assert status == 2 and "--line 5 holds no prompts" in err and "lines with prompts: 1, 2" in err


def test_vague_prompts_are_warned_about(
    small_world_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "vague.yaml"
    file.write_text("name: vague\nduration: 1 blocks\nprompt: it stops in Atlantis city\n", encoding="utf-8")
    options = ["--world", str(small_world_folder), "--out", str(tmp_path / "out"), "--scale", "1"]
    status, _, err = leaves_with(capsys, "run", str(file), *options)
    assert status == 0
    first, second = err.splitlines()
    assert first.startswith(
        f"warning: {file}:3: 'it stops in Atlantis city' names no subject (such as robot, cat,"
    )
    assert second == f"warning: {file}:3: world 'tiny' does not know 'Atlantis'"


def test_a_prompt_that_the_world_cannot_read_stops_the_run_before_it_begins(
    small_world_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "long.yaml"
    late = f"timeline:\n  - {{at: block 2, prompt: {'cat ' * 40}}}\n"
    file.write_text(f"name: long\nduration: 4 blocks\nprompt: {CAT}\n{late}", encoding="utf-8")
    options = ["--world", str(small_world_folder), "--out", str(tmp_path / "out"), "--scale", "1"]
    status, _, err = leaves_with(capsys, "run", str(file), *options)
    assert status == 2 and "longer than the 32 tokens" in err
    assert not (tmp_path / "out" / "video.mp4").exists()


@pytest.fixture
def running(small_world_folder: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A long run whose third block is on the disk, and the terminal that it writes its errors to."""
    terminal, other_end = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 120))
    options = ["--world", str(small_world_folder), "--out", str(tmp_path), "--scale", "1"]
    process = subprocess.Popen([*CLI, "run", "long-take", *options], stderr=other_end, stdout=subprocess.PIPE)
    os.close(other_end)
    log, deadline = tmp_path / "actions.jsonl", time.monotonic() + 60
    while not log.exists() or log.read_bytes().count(b"\n") < 4:  # a header and three blocks
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    yield process, terminal
    process.kill()
    process.wait()
    os.close(terminal)


def test_ctrl_c_ends_a_run_at_a_block(running: tuple[subprocess.Popen[bytes], int], tmp_path: Path) -> None:
    process, terminal = running
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    log = read_log(tmp_path / "actions.jsonl")
    last = (tmp_path / "actions.jsonl").read_text(encoding="utf-8").splitlines()[-1]
    assert json.loads(last) == {"end": "interrupted"} and not log.complete
    assert 3 <= len(log.blocks) < 321
    assert frames_of(tmp_path / "video.mp4") == sum(block.frames for block in log.blocks)
    assert (tmp_path / "sheet.png").exists()
    shown = os.read(terminal, 1 << 16).decode()
    assert "FPS" in shown and "/3849 frames" in shown and "stopping after this block" in shown
    assert "Traceback" not in shown


def test_a_killed_run_leaves_a_video_and_a_log(
    running: tuple[subprocess.Popen[bytes], int],
    tmp_path: Path,
    small_world_folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    process, _ = running
    process.kill()
    process.wait()
    log = read_log(tmp_path / "actions.jsonl")
    assert not log.complete and len(log.blocks) >= 3
    logged = sum(block.frames for block in log.blocks)
    assert frames_of(tmp_path / "video.mp4") in (logged, logged + 12)  # killed between the two, or not
    status, printed, _ = leaves_with(
        capsys,
        "run",
        "--replay",
        str(tmp_path / "actions.jsonl"),
        "--scale",
        "1",
        "--out",
        str(tmp_path / "again"),
    )
    assert status == 0 and f"all {len(log.blocks)} blocks are identical" in printed


def test_doctor(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    status, out, _ = leaves_with(capsys, "doctor")
    for title in ("versions", "machine", "attention", "video", "weights", "extras"):
        assert f"\n{title}\n" in f"\n{out}"
    assert status == (
        0 if (Path(longlive_env.__file__).parent / "assets" / "tiny" / "config.json").exists() else 1
    )
    from longlive_env.cli import doctor

    monkeypatch.setattr(doctor, "REQUIRED", ("torch", "no-such-package"))
    status, out, _ = leaves_with(capsys, "doctor")
    assert status == 1 and "no-such-package  missing; run: pip install no-such-package" in out
    monkeypatch.setitem(sys.modules, "av", None)  # as where it cannot be imported
    status, out, _ = leaves_with(capsys, "doctor")
    assert status == 1 and "unknown          ModuleNotFoundError" in out and "\nextras\n" in out


def test_doctor_sees_that_a_download_was_broken_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGLIVE_HOME", str(tmp_path))
    config = tmp_path / "1.3b" / published.TRANSFORMER_CONFIG_FILE
    config.parent.mkdir(parents=True)
    config.write_text("{}")
    status, out, _ = leaves_with(capsys, "doctor")
    (line,) = [line for line in out.splitlines() if line.startswith("  1.3b ")]
    assert status == 0 and f"lacks {published.TOKENIZER_FILE}" in line
    assert str(published.TRANSFORMER_CONFIG_FILE) not in line
    assert line.endswith("go on with: longlive download 1.3b")


def test_verify_prints_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = Path(__file__).parent / "data" / "parity"
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "scheduler.safetensors").symlink_to(cases / "cases" / "scheduler.safetensors")
    status, out, _ = leaves_with(capsys, "verify", "--cases", str(tmp_path))
    assert status == 0
    assert [line.split() for line in out.splitlines()[:1]] == [["case", "error", "tolerance", "verdict"]]
    assert out.splitlines()[1].split()[0] == "scheduler" and out.splitlines()[1].endswith("pass")
    assert "1 of 1 cases agree" in out
    status, out, _ = leaves_with(capsys, "verify", "--cases", str(tmp_path), "--tolerance", "1e-12")
    assert status == 1 and "fail" in out and "0 of 1 cases agree" in out


def test_the_sheet_of_the_tiny_world(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = []
    for name, seed in (("grid", []), ("drawn", ["--seed", "1"])):
        file = tmp_path / "new" / f"{name}.png"
        status, out, _ = leaves_with(capsys, "tiny", "--out", str(file), *seed)
        assert status == 0 and out == f"64 scenes -> {file}\n"
        pictures.append(np.asarray(Image.open(file)))
        assert pictures[-1].shape == (8 * 96 * 2, 8 * 160 * 2, 3)
    assert not np.array_equal(pictures[0], pictures[1])


def test_warm_up_compiles_a_world(small_world_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = ["--world", str(small_world_folder)]
    status, _, err = leaves_with(capsys, "warmup", *world, "--compile", "off")
    assert status == 2 and "nothing to warm up" in err
    status, _, err = leaves_with(capsys, "warmup", *world, "--compile", "graphs")
    assert status == 2 and "CUDA graphs need a CUDA GPU" in err


@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling for a CPU needs g++")
def test_a_second_warm_up_finds_what_the_first_has_compiled(
    small_world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In another process; kernels are looked up, not run, so the C++ compiler need not go over each."""
    kept, folder = tmp_path / "kept", tmp_path / "world"
    layer = replace(small_world.config.transformer, layers=1)
    changes = {"frames_per_block": 1, "context_frames": 1, "sink_frames": 0}  # the fewest kinds of steps
    world = World.from_config(replace(small_world.config, transformer=layer, **changes))
    world.tokenizer = small_world.tokenizer
    world.save(folder)
    command = ["warmup", "--world", str(folder)]
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(kept))
    from torch._dynamo.utils import counters
    from torch._inductor.async_compile import AsyncCompile

    monkeypatch.setattr(AsyncCompile, "cpp_pybinding", lambda *source: lambda *arguments: None)
    torch._dynamo.reset()
    counters.clear()
    assert main(command) == 0 and f"kept in {kept}" in capsys.readouterr().out
    compiled = counters["inductor"]["fxgraph_cache_miss"]
    code = (
        "import sys\n"
        "from torch._dynamo.utils import counters\n"
        "from torch._inductor.async_compile import AsyncCompile\n"
        "from longlive_env.cli import main\n"
        "AsyncCompile.cpp_pybinding = lambda *source: lambda *arguments: None\n"
        "assert main(sys.argv[1:]) == 0\n"
        "print(counters['inductor']['fxgraph_cache_hit'], counters['inductor']['fxgraph_cache_miss'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert compiled > 1 and done.stdout.splitlines()[-1] == f"{compiled} 0"
