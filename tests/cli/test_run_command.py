"""`longlive run`: what is played is recorded, and what cannot be played is said beforehand."""

import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from command_line import CAT, DOG, leaves_with
from PIL import Image

from longlive_env import World
from longlive_env.recording import digest, read_log
from longlive_env.recording.video import ENCODER_OPTIONS
from longlive_env.scenario import load_scenario, play


def test_a_run_says_how_the_world_fits(
    scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "run"), "--duration", "1 blocks"]
    status, _, err = leaves_with(capsys, "run", scenario, "--memory", "8", "--precision", "bf16", *out)
    assert status == 0 and "memory: text encoder resident: 1." in err and "of 8.00 GiB predicted" in err


def test_a_prompt_can_be_played_alone(
    small_world_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = ["--world", str(small_world_folder), "--duration", "2 blocks", "--out", str(tmp_path)]
    assert leaves_with(capsys, "run", "--prompt", CAT, *world)[0] == 0
    assert [block.prompt for block in read_log(tmp_path / "actions.jsonl").blocks] == [CAT, CAT]
    assert leaves_with(capsys, "run", "--agent", "random", *world)[0] == 0
    assert "--prompt goes with a scenario" in leaves_with(capsys, "run", "--prompt", CAT, "--replay", "x")[2]


def test_a_run_goes_on_from_a_picture(
    small_world_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture, out = tmp_path / "red.png", tmp_path / "one"
    Image.new("RGB", (96, 64), "red").save(picture)
    world = ["--world", str(small_world_folder), "--duration", "2 blocks", "--out"]
    run = ["run", "--prompt", CAT, *world, str(out)]
    assert leaves_with(capsys, *run, "--frames", str(picture))[0] == 0
    log = read_log(out / "actions.jsonl")
    assert [block.frames for block in log.blocks] == [12, 12] and log.complete
    picture.unlink()  # the recording has a copy of its own
    status, printed, _ = leaves_with(capsys, "run", "--replay", str(out / "actions.jsonl"))
    assert status == 0 and "all 2 blocks are identical" in printed
    assert (tmp_path / "one-replay" / "start.tiff").exists()
    status, _, err = leaves_with(capsys, *run, "--frames", str(picture))
    assert status == 2 and f"--frames: there is no file {str(picture)!r}" in err
    assert leaves_with(capsys, *run)[0] == 0 and not (out / "start.tiff").exists()
    (tmp_path / "one-replay" / "start.tiff").unlink()
    status, _, err = leaves_with(capsys, "run", "--replay", str(tmp_path / "one-replay" / "actions.jsonl"))
    assert status == 2 and "start.tiff: No such file" in err
    before = (out / "video.mp4").read_bytes()
    status, _, err = leaves_with(capsys, *run, "--frames", str(out / "video.mp4"))
    assert status == 2 and "video.mp4, are in" in err and "choose another folder with --out" in err
    assert (out / "video.mp4").read_bytes() == before
    status, _, err = leaves_with(capsys, "run", "--replay", str(out / "actions.jsonl"), "--frames", __file__)
    assert status == 2 and "--frames would change the run" in err


def test_an_encoder_that_fails_is_told_in_one_line(
    scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENCODER_OPTIONS, "preset", "nonsense")
    status, _, err = leaves_with(capsys, "run", scenario, "--out", str(tmp_path))
    assert status == 2 and "longlive run: error: the video cannot be encoded: " in err
    assert "Traceback" not in err and not read_log(tmp_path / "actions.jsonl").complete


def test_a_full_device_is_told_in_one_line(
    scenario: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> World:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(World, "start", full)
    status, _, err = leaves_with(capsys, "run", scenario)
    assert status == 2 and "no memory left" in err and "--memory" in err and err.count("\n") == 1


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
    status, _, err = leaves_with(capsys, "run", *options, "--switch-every", "0.7s")
    assert status == 2 and "--switch-every is 0.7s, and prompts change between blocks of 0.75 s" in err


@pytest.mark.parametrize("steered", [False, True])
def test_all_lines_of_a_list_are_checked_before_the_first_is_played(
    small_world_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], steered: bool
) -> None:
    file, out = tmp_path / "list.jsonl", tmp_path / "out"
    lines = ([CAT], [CAT, "cat " * 40])
    file.write_text("".join(json.dumps({"prompts": prompts}) + "\n" for prompts in lines), encoding="utf-8")
    options = ["--prompts", str(file), "--switch-every", "1 blocks", "--world", str(small_world_folder)]
    options += ["--scale", "1", "--out", str(out), *(["--agent", "random"] if steered else [])]
    status, printed, err = leaves_with(capsys, "run", *options)
    if steered:  # the agent takes the place of later prompts
        assert status == 0 and (out / "list-2" / "actions.jsonl").exists()
    else:
        assert status == 2 and f"{file}:2: the prompt 'cat cat" in err
        assert printed == "" and not out.exists()


def test_frames_of_an_option_are_not_blamed_on_the_file(
    scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture, other = tmp_path / "bad.png", tmp_path / "own.png"
    picture.write_text("no picture", encoding="utf-8")
    other.write_text("neither", encoding="utf-8")
    file = Path(scenario)
    file.write_text(file.read_text(encoding="utf-8") + "frames: own.png\n", encoding="utf-8")
    told = f"cannot read frames from {picture}"
    status, _, err = leaves_with(capsys, "run", scenario, "--frames", str(picture))
    assert status == 2 and err.startswith(f"longlive run: error: --frames: {told}")
    status, _, err = leaves_with(capsys, "run", scenario)
    assert status == 2 and err.startswith(f"longlive run: error: {file}:8: cannot read frames from {other}")


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
    assert status == 2 and f"{file}:5: the prompt 'cat cat" in err and "longer than the 32 tokens" in err
    assert not (tmp_path / "out" / "video.mp4").exists()


def test_notes_are_told_with_the_time_at_which_their_block_begins(
    scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = Path(scenario).read_text(encoding="utf-8").partition("timeline:\n")[0]
    note = f'timeline:\n  - {{at: block 2, prompt: {DOG}, note: "What has changed?"}}\n'
    Path(scenario).write_text(text + note, encoding="utf-8")
    out = tmp_path / "out"
    status, _, err = leaves_with(capsys, "run", scenario, "--out", str(out), "--scale", "1")
    assert status == 0 and "   1.3 s  What has changed?\n" in err  # 21 frames come before
    assert "00:00:01,312 --> 00:00:02,812\nWhat has changed?" in (out / "video.srt").read_text(
        encoding="utf-8"
    )


def test_what_a_few_words_stand_for_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--duration", "1 blocks", "--scale", "1", "--out", str(tmp_path / "out")]
    code, _, told = leaves_with(capsys, "run", "--prompt", "a knight", *options)
    assert code == 0 and told.splitlines()[:2] == [
        "warning: --prompt: world 'tiny' does not know 'knight'",
        "'a knight' stands for 'a blue robot stands still in the meadow on a clear day'",
    ]


def test_a_prompt_of_the_command_line_is_not_blamed_on_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, told = leaves_with(capsys, "run", "demo", "--prompt", "blorp " * 400)
    *warnings, error = told.splitlines()
    assert code == 2 and "error: --prompt: the prompt has 2400 characters" in error
    assert warnings[0] == "warning: --prompt: world 'tiny' does not know 'blorp'"
    assert all(len(line) < 300 for line in warnings)


@pytest.mark.parametrize("scale", ["0", "-1", "1.5"])
def test_a_scale_is_one_at_least(capsys: pytest.CaptureFixture[str], scale: str) -> None:
    code, _, told = leaves_with(capsys, "run", "demo", f"--scale={scale}")
    assert code == 2 and f"the scale is {scale!r}; expected a whole number from 1 on" in told
