"""`longlive play` as a command: what it takes, what it refuses, and one run of it from start to end."""

import sys
from pathlib import Path, PureWindowsPath

import pygame
import pytest
import torch
from PIL import Image
from viewer_stage import CAT, DOG, OWL, SCENARIO

from longlive_env import World
from longlive_env.agents import RandomAgent
from longlive_env.cli import main, play
from longlive_env.cli.recorded import Recorded
from longlive_env.cli.scenario_options import chosen_scenario
from longlive_env.errors import BackendError, ConfigError
from longlive_env.recording import read_log
from longlive_env.scenario import Moment
from longlive_env.viewer.app import App
from longlive_env.viewer.bindings import Bindings
from longlive_env.viewer.options import Options

MINI = Path(__file__).parents[1] / "data" / "parity" / "mini"


@pytest.fixture(autouse=True)
def no_keys_of_ones_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("APPDATA", str(tmp_path))


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["play", "--help"])
    printed = capsys.readouterr().out
    assert "longlive play demo" in printed and "longlive play --world 1.3b --device cuda" in printed


def test_a_published_world_is_played_on_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def usable(device: str) -> None:
        asked.append(device)
        raise BackendError("enough seen")

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("longlive_env.engine.load_options.usable", usable)
    for arguments in ([], ["--world", str(MINI)], ["--world", str(MINI), "--device", "cuda:1"]):
        assert main(["play", *arguments]) == 2
    assert asked == ["cpu", "cuda", "cuda:1"]


def test_key_files_are_written(tmp_path: Path) -> None:
    file = tmp_path / "mine" / "keys.yaml"
    assert main(["play", "--write-keys", str(file)]) == 0
    assert dict(Bindings.load(file).actions) == dict(Bindings.default().actions)


def test_key_files_are_not_written_over(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text("pause: x\n", encoding="utf-8")
    assert main(["play", "--write-keys", str(file)]) == 2
    assert f"{file} is there already; choose another name" in capsys.readouterr().err
    assert file.read_text(encoding="utf-8") == "pause: x\n"


def test_mistakes_are_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keys.yaml").write_text("puase: x\n", encoding="utf-8")
    monkeypatch.setattr(App, "run", lambda app: pytest.fail("a window waits for its player"))
    for arguments, message in (
        (["demoo"], "did you mean 'demo'"),
        (["demo", "--keys", str(tmp_path / "keys.yaml")], "did you mean 'pause'"),
        (["--agent", "randm"], "did you mean 'random'"),
        (["--world", "tinny"], "did you mean 'tiny'"),
        (["--device", "gpu"], "there is no device 'gpu'"),
        (["demo", "--steps", "0"], "steps is 0; expected a number of denoising steps"),
        (["demo", "--codec", "wan"], "has the codec patch_vae, not 'wan'; expected 'light' or None"),
        (["demo", "--compile", "graphs"], "CUDA graphs need a CUDA GPU"),
        (["demo", "--precision", "fp8"], "it needs a CUDA GPU"),
        (["demo", "--frames", __file__], "cannot read"),
        (["demo", "--out", __file__], f"--out is {__file__}, and {__file__} is no folder"),
        (["demo", "--out", f"{__file__}/sub/play"], f"and {__file__} is no folder; choose another"),
    ):
        assert main(["play", *arguments]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    for arguments, message in (
        (["--size", "big"], "expected width x height"),
        (["--size", "200x720"], "of at least 480x300"),
        (["--size", "1280x299"], "of at least 480x300"),
        (["--history", "-4"], "give it 1 MB or more"),
    ):
        with pytest.raises(SystemExit):
            main(["play", "demo", *arguments])
        assert message in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "pygame", None)
    assert main(["play", "demo"]) == 2
    assert ".[viewer]" in capsys.readouterr().err


def test_a_folder_that_is_to_come_is_no_mistake(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "new" / "play"):
        play._check_folder(folder)
    assert not [*tmp_path.iterdir()]


def test_a_folder_on_a_drive_that_is_absent_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    class Absent(PureWindowsPath):
        def absolute(self) -> "Absent":
            return self

        def is_dir(self) -> bool:
            return False

    asked: list[object] = []

    def lexists(path: object) -> bool:
        asked.append(path)
        assert len(asked) < 9, "it asks for ever"
        return False

    monkeypatch.setattr("os.path.lexists", lexists)
    with pytest.raises(ConfigError, match=r"--out is Q:\\takes\\new, and Q:\\ is no folder; choose another"):
        play._check_folder(Absent("Q:/takes/new"))  # type: ignore[arg-type]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that takes no files")
def test_a_folder_that_takes_no_files_is_a_mistake(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(App, "run", lambda app: pytest.fail("a window waits for its player"))
    for folder, first in (("/proc", "/proc/scenario.yaml"), ("/proc/longlive/play", "/proc/longlive")):
        assert main(["play", "demo", "--out", folder]) == 2
        error = capsys.readouterr().err
        assert f"{first} cannot be written" in error and error.count("\n") == 1


def test_what_the_viewer_keeps_and_reads_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[Options] = []

    def look(app: App) -> None:
        seen.append(app.options)
        raise BackendError("enough seen")

    monkeypatch.setattr(App, "__enter__", look)
    file = tmp_path / "two.yaml"
    file.write_text(SCENARIO, encoding="utf-8")
    for arguments in ([str(file), "--seed", "3"], ["demo", "--private"], ["--prompt", CAT]):
        assert main(["play", *arguments]) == 2
    monkeypatch.chdir("/proc")  # where nothing can be saved, one can still look
    assert main(["play", "demo"]) == 2
    mine, demo, plain, there = seen
    assert there.out == Path("out/play")
    file.write_text(SCENARIO.replace(f"prompt: {CAT}", f"prompt: {OWL}"), encoding="utf-8")
    assert mine.read_again is not None and demo.read_again is not None and plain.read_again is None
    scenario = mine.read_again()
    assert scenario.prompt == OWL and scenario.seed == 3 and demo.read_again() == demo.scenario
    kept = tmp_path / "longlive_env" / "prompts.txt"
    assert mine.prompts == plain.prompts == kept and demo.prompts is None


@pytest.mark.parametrize(("arguments", "states"), [([], 2), (["--agent", "random"], 3)])
def test_memory_is_planned_for_the_states_that_are_kept(
    small_world: World, monkeypatch: pytest.MonkeyPatch, arguments: list[str], states: int
) -> None:
    asked: list[int] = []

    def load(*args: object, states: int) -> World:
        asked.append(states)
        return small_world

    monkeypatch.setattr(play, "load_world", load)
    args = play._parser().parse_args(["--prompt", CAT, *arguments])
    session = play._session(args, chosen_scenario(args, "play", Moment(1, "blocks")), RandomAgent(), None)
    assert asked == [states] and session.world is small_world
    session.close()


def test_a_recorded_run_is_watched_and_taken_over(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, small_world_folder: Path
) -> None:
    (tmp_path / "two.yaml").write_text(SCENARIO, encoding="utf-8")
    Image.new("RGB", (48, 32), (9, 80, 7)).save(tmp_path / "green.png")
    world, frames, out = str(small_world_folder), str(tmp_path / "green.png"), tmp_path / "run"
    arguments = [str(tmp_path / "two.yaml"), "--world", world, "--frames", frames, "--out", str(out)]
    assert main(["run", *arguments, "--scale", "1", "--rope", "absolute"]) == 0
    log = read_log(out / "actions.jsonl")

    args = play._parser().parse_args(["--replay", str(out)])  # or its log, as below
    run = Recorded.read(args.replay)
    run.take_over(args)
    assert args.world == world and args.rope == "absolute"
    threads = torch.get_num_threads()
    session = play._session(args, run.scenario(args.world), RandomAgent(), run)
    for block in log.blocks:
        played = session.advance()
        assert (played.beat.prompt, played.beat.digest) == (block.prompt, block.digest)
    assert session.advance().beat.prompt == DOG  # the world goes on
    session.rewind(1)
    session.ask(OWL)
    assert session.advance().beat.prompt == OWL and session.position == 2
    session.close()
    torch.set_num_threads(threads)

    capsys.readouterr()
    for more in (["--seed", "3"], ["--agent", "random"], ["demo"], ["--prompt", CAT]):
        with pytest.raises(SystemExit):
            main(["play", "--replay", str(out / "actions.jsonl"), *more])
        assert "--replay" in capsys.readouterr().err
    (out / "start.tiff").rename(tmp_path / "elsewhere.tiff")
    assert main(["play", "--replay", str(out / "actions.jsonl")]) == 2
    assert "start.tiff: No such file" in capsys.readouterr().err
    (tmp_path / "elsewhere.tiff").rename(out / "start.tiff")
    header, *_ = (out / "actions.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (out / "actions.jsonl").write_text(header, encoding="utf-8")
    assert main(["play", "--replay", str(out / "actions.jsonl")]) == 2
    assert "holds no block; there is nothing to replay" in capsys.readouterr().err


def test_a_world_that_cannot_be_loaded_is_a_mistake(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = App.frame

    def load(*args: object, **kwargs: object) -> World:
        raise ConfigError("it does not fit into 1 GiB")

    def act(app: App, *, wait: bool = False) -> None:
        frame(app, wait=wait)
        app.running = app.worker.exchange.status()[1] is None

    monkeypatch.setattr(play, "load_world", load)
    monkeypatch.setattr(App, "frame", act)
    assert main(["play", "demo", "--size", "480x300", "--out", str(tmp_path)]) == 2
    assert "the world has stopped: it does not fit into 1 GiB" in caplog.text


def test_a_run_that_ends_while_recording(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    small_world_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "two.yaml").write_text(SCENARIO, encoding="utf-8")
    frame = App.frame
    begun: list[bool] = []

    def act(app: App, *, wait: bool = False) -> None:
        frame(app, wait=wait)
        if app.playback.played is not None and not begun:
            begun.append(True)
            pygame.event.post(pygame.Event(pygame.KEYDOWN, key=pygame.K_F9, mod=0, unicode="", scancode=0))
        view = app.worker.exchange.view()
        if view is not None and view.recording is not None and view.shown > 1:
            app.running = False

    monkeypatch.setattr(App, "frame", act)
    arguments = [
        str(tmp_path / "two.yaml"),
        "--world",
        str(small_world_folder),
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(["play", *arguments, "--size", "480x300"]) == 0
    (folder,) = (tmp_path / "out").iterdir()
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["actions.jsonl", "sheet.png", "video.mp4", "video.srt"]
    assert f"in {folder}" in capsys.readouterr().err
    assert main(["run", "--replay", str(folder / "actions.jsonl")]) == 0  # the same frames again
