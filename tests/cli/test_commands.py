"""All commands: help, versions, one-line errors, and those that only show something."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import leaves_with
from PIL import Image
from torch import Tensor

import longlive_env
from longlive_env.cli import COMMANDS
from longlive_env.scenario import load_scenario
from longlive_env.tiny import captions, render
from longlive_env.tiny.scene import Scene, Take


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = leaves_with(capsys, command, "--help")
    assert status == 0
    assert "example" in out and out.count(f"longlive {command}") >= 2  # in the usage and in an example
    assert "'" not in out[out.index("\nexample") :]  # a quote that cmd.exe does not know
    assert COMMANDS[command].summary in leaves_with(capsys, "--help")[1]


def test_the_help_of_training_describes_every_stage(capsys: pytest.CaptureFixture[str]) -> None:
    from longlive_env.training.stages import STAGES

    out = leaves_with(capsys, "train", "--help")[1]
    assert all(f"  {name:<8} {what}\n" in out for name, what in STAGES.items())


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


def test_a_process_without_an_error_stream_works(scenario: str, tmp_path: Path) -> None:
    code = "import sys; sys.stderr = None; from longlive_env.cli import main; sys.exit(main())"
    run = [sys.executable, "-c", code, "run", scenario, "--out", str(tmp_path / "out")]
    assert subprocess.run(run, timeout=120).returncode == 0
    assert (tmp_path / "out" / "video.mp4").is_file()


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert leaves_with(capsys, "--version") == (0, f"longlive_env {longlive_env.__version__}\n", "")


def test_the_package_runs_as_the_command_does() -> None:
    program = [sys.executable, "-m", "longlive_env"]
    shown = subprocess.run([*program, "--version"], capture_output=True, text=True, timeout=60)
    assert (shown.returncode, shown.stdout) == (0, f"longlive_env {longlive_env.__version__}\n")
    wrong = subprocess.run([*program, "nonsense"], capture_output=True, text=True, timeout=60)
    assert wrong.returncode == 2 and wrong.stderr.startswith("longlive: error: ")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["rnu"], "longlive: error: there is no command 'rnu'; did you mean 'run'?"),
        (["zzz"], "longlive: error: there is no command 'zzz'; commands: run, "),
        (["bnech", "--help"], "longlive: error: there is no command 'bnech'; did you mean 'bench'?"),
        (["--hlep"], "longlive: error: there is no command '--hlep'; commands: run, "),
        (["run"], "longlive run: error: give at least one of: a scenario, --prompt TEXT,"),
        (
            ["run", "demo", "--replay", "x"],
            "longlive run: error: a scenario and --replay exclude each other;",
        ),
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
            "longlive run: error: argument --scale: the scale is '0'; expected a whole number from 1 on",
        ),
        (
            ["run", "demo", "--world", "WORLD", "--out", "/dev/null/x"],
            "longlive run: error: /dev/null/x cannot be written (Not a dir",
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
            "longlive tiny: error: argument --seed: 'some' is not a seed; give a whole",
        ),
        (
            ["verify", "--cases", "CASES", "--device", "gpu"],
            "longlive verify: error: there is no device 'gpu'",
        ),
        (["bench", "--world", "tinny"], "longlive bench: error: there is no world or folder 'tinny'; did"),
        (["bench", "--device", "gpu"], "longlive bench: error: there is no device 'gpu'"),
        (
            ["bench", "--out", "/dev/null/x/y.json"],
            "longlive bench: error: /dev/null/x/y.json cannot be written (Not a",
        ),
        (["eval", "--device", "gpu"], "longlive eval: error: there is no device 'gpu'"),
        (["eval", "--other", "a=b"], "longlive eval: error: --other belongs to --ablation"),
        (
            ["eval", "--ablation", "--steps", "2"],
            "longlive eval: error: --steps has no part in --ablation; leave it out",
        ),
        (
            ["eval", "--precision", "bf16", "--by-value"],
            "longlive eval: error: --by-value has no part in --precision; leave it out",
        ),
        (
            ["eval", "--ablation", "--precision", "bf16"],
            "longlive eval: error: --ablation and --precision are two",
        ),
        (["eval", "--long-rollouts", "2"], "longlive eval: error: --long-rollouts goes with --long SECONDS"),
        (
            ["eval", "--precision", "bf16", "--steps", "0"],
            "longlive eval: error: --steps has no part in --precision; leave it out",
        ),
        (
            ["eval", "--long", "20", "--long-rollouts", "0"],
            "longlive eval: error: --long-rollouts is 0; expected at least 1",
        ),
        (
            ["bench", "--size", "96x64"],
            "longlive bench: error: size and layers can be changed with random weights only; add "
            "random_weights (--random-weights)",
        ),
        (["bench", "--out", "."], "longlive bench: error: . is a folder; --out takes a file"),
        (["bench", "--compile", "graphs"], "longlive bench: error: compile 'graphs'"),
        (["run", "--prompt", " "], "longlive run: error: argument --prompt: the prompt is empty; leave"),
        (["play", "demo", "--prompt", ""], "longlive play: error: argument --prompt: the prompt is empty"),
        (["scenarios", "new", "."], "longlive scenarios: error: '.' names no file; give a name such as"),
        (["eval", "--precision", "fp4"], "longlive eval: error: argument --precision: invalid choice: 'fp4'"),
        (
            ["eval", "--out", "/dev/null/x"],
            "longlive eval: error: /dev/null/x/report.json cannot be written (Not a",
        ),
        (["run", "demo", "--line", "3"], "longlive run: error: --line goes with --prompts"),
        (["run", "--replay", "none.jsonl"], "longlive run: error: cannot read none.jsonl"),
        (["run", "--replay", "x.jsonl", "--seed", "3"], "longlive run: error: --seed would change the run"),
        (["verify"], "longlive verify: error: the following arguments are required: --cases"),
        (["verify", "--cases", "/none"], "longlive verify: error: there is no folder /none"),
        (
            ["verify", "--cases", ".", "--tolerance", "0"],
            "longlive verify: error: argument --tolerance: '0' is not a tolerance; give a number above 0",
        ),
        (
            ["verify", "--cases", ".", "--tolerance", "x"],
            "longlive verify: error: argument --tolerance: 'x' is not a tolerance; give a number above 0",
        ),
        (
            ["verify", "--cases", ".", "--tolerance", "inf"],
            "longlive verify: error: argument --tolerance: 'inf' is not a tolerance; give a number above 0",
        ),
        (["train", "nonsense"], "longlive train: error: argument stage: invalid choice: 'nonsense'"),
        (["train", "codec", "--step", "1"], "longlive train: error: unrecognized arguments: --step 1"),
        (
            ["train", "codec", "--config", "tiny", "--set", "foo=1"],
            "longlive train: error: codec has no 'foo'; known names: clips, clip_frames, ",
        ),
        (["train", "codec", "--config", "tiny"], "longlive train: error: training needs a folder to write"),
        (
            ["train", "codec", "--out", "FOLDER"],
            "longlive train: error: a training run needs an end; give minutes or steps (--minutes, --steps)",
        ),
        (
            ["tiny", "--out", "/dev/null/x.png"],
            "longlive tiny: error: /dev/null/x.png cannot be written (File exists",
        ),
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
    places = {
        "WORLD": str(small_world_folder),
        "CASES": str(Path(__file__).parents[1] / "data" / "parity"),
        "FOLDER": str(tmp_path),
    }
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


def test_verify_prints_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = Path(__file__).parents[1] / "data" / "parity"
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "scheduler.safetensors").symlink_to(cases / "cases" / "scheduler.safetensors")
    status, out, _ = leaves_with(capsys, "verify", "--cases", str(tmp_path))
    assert status == 0
    assert [line.split() for line in out.splitlines()[:1]] == [["case", "error", "tolerance", "verdict"]]
    assert out.splitlines()[1].split()[0] == "scheduler" and out.splitlines()[1].endswith("pass")
    assert "1 of 1 cases agree" in out
    status, out, _ = leaves_with(capsys, "verify", "--cases", str(tmp_path), "--tolerance", "1e-12")
    assert status == 1 and "fail" in out and "0 of 1 cases agree" in out


def test_the_words_of_the_tiny_world(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = leaves_with(capsys, "tiny", "--words")
    assert status == 0 and "  robot       robot, android, droid, bot, robots, mech\n" in out
    known = {word for word in captions.known_words() if word.isalnum()}
    assert known <= set(captions.words(out)) and max(map(len, out.splitlines())) <= 100
    status, _, err = leaves_with(capsys, "tiny", "--words", "--seed", "3")
    assert status == 2 and "--words draws nothing; leave --out and --seed out" in err


def test_the_sheet_of_the_tiny_world(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def last(scene: Scene, frames: int, camera: float, scale: int) -> Tensor:
        """Draws the frame that a sheet shows, the last one, in place of those before it as well."""
        shown = render.render_take(Take(((0, scene),), camera), frames - 1, 1, scale=scale)
        return shown.expand(frames, -1, -1, -1)

    monkeypatch.setattr(render, "render_scene", last)
    pictures = []
    for name, seed in (("grid", []), ("drawn", ["--seed", "1"])):
        file = tmp_path / "new" / f"{name}.png"
        status, out, _ = leaves_with(capsys, "tiny", "--out", str(file), *seed)
        assert status == 0 and out == f"64 scenes -> {file}\n"
        pictures.append(np.asarray(Image.open(file)))
        assert pictures[-1].shape == (8 * 96 * 2, 8 * 160 * 2, 3)
    assert not np.array_equal(pictures[0], pictures[1])
