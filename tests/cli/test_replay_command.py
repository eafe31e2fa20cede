"""`longlive run --replay`: the recorded take again, with the options it was made with."""

from pathlib import Path

import pytest
from command_line import CAT, DOG, leaves_with

from longlive_env import World
from longlive_env.envs.prompt_env import PromptEnv
from longlive_env.envs.wrappers import RecordFrames
from longlive_env.recording import Recording, read_log


def test_what_a_log_does_not_hold_is_not_replayed(
    small_world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    env = RecordFrames(PromptEnv(small_world), tmp_path)
    env.reset(seed=1)
    env.reset(options={"state": env.unwrapped.clone_state()})
    env.close()
    log = str(tmp_path / "episode-0001" / "actions.jsonl")
    status, _, err = leaves_with(capsys, "run", "--replay", log)
    assert status == 2 and "block 0 cannot be repeated: begins from a saved state" in err


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

    monkeypatch.chdir(tmp_path)  # its folder will do, as every command prints that
    status, printed, _ = leaves_with(capsys, "run", "--replay", "out", "--scale", "1")
    assert status == 0 and "all 4 blocks are identical to the recorded run" in printed
    assert {file.name for file in tmp_path.iterdir() if file.is_dir()} == {"out", "out-replay"}
    status, _, err = leaves_with(capsys, "run", "--replay", ".")
    assert status == 2 and "error: cannot read actions.jsonl: No such file or directory" in err

    lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
    log.write_text("".join([lines[0].replace('"seed": 3', '"seed": 4'), *lines[1:]]), encoding="utf-8")
    status, printed, err = leaves_with(capsys, "run", "--replay", str(log), "--scale", "1")
    assert status == 1 and "identical" not in printed
    assert err.startswith("longlive run: 4 blocks differ from the recorded run, the first is block 0; ")
    assert err.endswith("; weights, software, device or options are not the same\n")


def test_a_replay_has_the_same_subtitles(
    scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = Path(scenario).read_text(encoding="utf-8").partition("timeline:\n")[0]
    Path(scenario).write_text(
        f"{text}timeline:\n"
        "  - {at: block 1, choose: [{weather: at night}, {weather: in the rain}]}\n"
        f'  - {{at: block 2, prompt: {DOG}, note: "Ask: what has changed?"}}\n'
        "goals:\n"
        "  - {name: A picture, when: not (weather == rain and weather == night)}\n"
        "  - {name: No picture, points: 4, when: weather == rain and weather == night}\n",
        encoding="utf-8",
    )
    out = tmp_path / "out"
    status, printed, _ = leaves_with(capsys, "run", scenario, "--out", str(out), "--scale", "1")
    assert status == 0 and "score: 1 of 5\n" in printed
    notes = [note for block in read_log(out / "actions.jsonl").blocks for note in block.notes]
    assert notes[0] == "goal A picture: +1" and notes[1].startswith("choice at block 1: ")
    subtitles = (out / "video.srt").read_text(encoding="utf-8")
    (first, second, third) = [entry.splitlines()[1:] for entry in subtitles.split("\n\n")[:-1]]
    assert first == ["00:00:00,000 --> 00:00:00,562", CAT]
    assert second[0] == "00:00:00,562 --> 00:00:01,312" and second[1].startswith(CAT)
    assert third == ["00:00:01,312 --> 00:00:02,812", "Ask: what has changed?"]
    status, printed, err = leaves_with(capsys, "run", "--replay", str(out / "actions.jsonl"), "--scale", "1")
    assert status == 0 and "all 4 blocks are identical" in printed
    assert "Ask: what has changed?" in err and "choice" not in err and "goal" not in err
    assert "0.6 s  A picture (+1)\n" in err and "score: 1 of 5\n" in printed
    assert (tmp_path / "out-replay" / "video.srt").read_text(encoding="utf-8") == subtitles


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


def test_a_replay_takes_the_recorded_codec_unless_all_of_the_world_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompt = (
        "--world",
        "tiny",
        "--prompt",
        "a blue robot jumps on the moon at night",
        "--duration",
        "1 blocks",
    )
    light = ("run", *prompt, "--out", str(tmp_path / "light"), "--codec", "light", "--scale", "1")
    assert leaves_with(capsys, *light)[0] == 0
    replay = ("run", "--replay", str(tmp_path / "light"), "--scale", "1")
    status, printed, err = leaves_with(capsys, *replay)
    assert status == 0 and "identical" in printed and "warning" not in err
    out = tmp_path / "whole"
    status, _, err = leaves_with(capsys, *replay, "--codec", "full", "--out", str(out))
    assert status == 1 and "warning: size was 160x96, here it is 320x192; frames may differ" in err
    whole = read_log(out).header
    assert (whole.width, whole.height, whole.options) == (320, 192, {})


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


def test_a_damaged_log_is_told_in_a_line(
    scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "out" / "actions.jsonl"
    assert leaves_with(capsys, "run", scenario, "--out", str(log.parent), "--steps", "2")[0] == 0
    whole = log.read_text(encoding="utf-8")
    threads = f'"threads": {read_log(log).header.threads}'
    for was, spoilt in (
        ('"seed": 3', '"seed": -1'),
        (threads, '"threads": 0'),
        (threads, '"threads": 100000'),
        ('"steps": "2"', '"steps": 2'),
    ):
        log.write_text(whole.replace(was, spoilt, 1), encoding="utf-8")
        status, _, err = leaves_with(capsys, "run", "--replay", str(log))
        assert status == 2 and err.startswith(f"longlive run: error: {log}:1: damaged: "), err
        assert err.count("\n") == 1


def test_a_folder_that_is_recorded_into_is_left_alone(
    scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert leaves_with(capsys, "run", scenario, "--out", str(out), "--scale", "1")[0] == 0
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    with Recording(out, read_log(out / "actions.jsonl").header):
        status, _, err = leaves_with(capsys, "run", scenario, "--out", str(out), "--scale", "1")
        assert status == 2 and f"another recording goes into {out} right now" in err
        status, printed, _ = leaves_with(
            capsys, "run", "--replay", str(out / "actions.jsonl"), "--scale", "1"
        )
        assert status == 0 and "identical" in printed
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
