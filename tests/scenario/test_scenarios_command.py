"""`longlive scenarios`: checks that name file and line, and scenarios to start from."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longlive_env.cli import main
from longlive_env.engine.config import PRESETS
from longlive_env.errors import ScenarioError
from longlive_env.scenario import (
    Moment,
    lint,
    load_prompt_lists,
    load_scenario,
    parse_scenario,
    shipped_scenarios,
)
from longlive_env.scenario.template import template

GOOD = "name: good\nduration: 2s\nprompt: a red cat jumps in the city\n"


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    capsys.readouterr()
    status = main(["scenarios", *argv])
    return status, capsys.readouterr().out


def test_all_bundled_scenarios_are_sound(capsys: pytest.CaptureFixture[str]) -> None:
    count = len(shipped_scenarios())
    assert run(capsys, "check", "--strict") == (0, f"{count} scenarios, 0 errors, 0 warnings\n")


def test_a_folder_that_is_called_like_one_of_them_is_not_in_the_way(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "demo").mkdir()
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "check")[0] == 0
    assert run(capsys, "check", "demo")[0] == 2  # this one was asked for


def test_a_bundled_scenario_with_an_error_is_counted(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bundled_with_an_error"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "bad.yaml").write_text(GOOD.replace("duration", "duraton"), encoding="utf-8")
    (folder / "good.yaml").write_text(GOOD, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("longlive_env.scenario.files.SHIPPED", folder.name)
    status, out = run(capsys, "check")
    assert status == 1 and out.startswith("error: bad.yaml:2: unknown key 'duraton'")
    assert out.endswith("2 scenarios, 1 error, 0 warnings\n")


def test_a_check_of_one_scenario_counts_it_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "check", "demo") == (0, "1 scenario, 0 errors, 0 warnings\n")


@pytest.mark.parametrize("pack", ["narrative", "education", "simulation", "previsualization", "published"])
def test_each_pack_has_something_to_play(pack: str) -> None:
    members = [scenario for scenario in shipped_scenarios().values() if scenario.pack == pack]
    assert len(members) >= 2
    assert any(scenario.keys and scenario.quick for scenario in members)


def test_a_check_goes_on_after_an_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    files = {
        "a": GOOD.replace("duration", "duraton"),
        "b": GOOD.replace("a red cat", "a blorp"),
        "c": GOOD + "timeline:\n  - {at: 9s, weather: at night}\n",
        "d": GOOD + "world: tinny\n",
        "e": GOOD + f"seed: {2**64}\n",
        "f": GOOD,
    }
    for name, text in files.items():
        named = text.replace("name: good", f"name: {name}")
        (tmp_path / f"{name}.yaml").write_text(named, encoding="utf-8")
    status, out = run(capsys, "check", str(tmp_path))
    lines = out.splitlines()
    assert status == 1 and lines[-1] == "6 scenarios, 4 errors, 1 warning" and len(lines) == 6
    assert lines[0].startswith(f"error: {tmp_path}/a.yaml:2: unknown key 'duraton'")
    assert lines[1] == f"warning: {tmp_path}/b.yaml:3: world 'tiny' does not know 'blorp'"
    assert lines[2].startswith(f"error: {tmp_path}/c.yaml:5: at 9s is block 13")
    assert lines[3].startswith(f"error: {tmp_path}/d.yaml:4: there is no world 'tinny'; did you mean 'tiny'?")
    assert lines[4].startswith(f"error: {tmp_path}/e.yaml:4: the seed is {2**64}; expected")
    assert run(capsys, "check", str(tmp_path / "b.yaml"))[0] == 0
    assert run(capsys, "check", "--strict", str(tmp_path / "b.yaml"))[0] == 1
    (tmp_path / "empty").mkdir()
    assert run(capsys, "check", str(tmp_path / "empty"))[0] == 2


def test_a_folder_is_judged_by_the_world_in_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, small_world_folder: Path
) -> None:
    text = f"{GOOD}world: {small_world_folder}\ngoals:\n  - {{name: It rained, when: weather == rain}}\n"
    (tmp_path / "good.yaml").write_text(text, encoding="utf-8")
    assert run(capsys, "check", "--strict", str(tmp_path / "good.yaml"))[0] == 0
    long = text.replace("a red cat", f"a {'red ' * 40}cat")
    (tmp_path / "good.yaml").write_text(long, encoding="utf-8")
    status, out = run(capsys, "check", str(tmp_path / "good.yaml"))
    assert status == 1 and out.startswith(f"error: {tmp_path}/good.yaml:3: the prompt 'a red red ")
    assert "longer than the 32 tokens" in out


def test_the_folder_of_a_world_is_looked_into(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder, file = tmp_path / "weights", tmp_path / "a.yaml"
    folder.mkdir()
    file.write_text(f"{GOOD}world: {folder}\n", encoding="utf-8")
    status, out = run(capsys, "check", str(file))
    assert status == 1 and f"{folder} holds neither config.json nor Wan2.1-T2V-1.3B" in out
    (folder / "config.json").write_text('{"name": "tiny"}', encoding="utf-8")
    status, out = run(capsys, "check", str(file))
    assert status == 1
    assert out.startswith(
        f"error: {file}: {folder}/config.json is not a world's configuration: WorldConfig lacks"
    )


def test_a_folder_of_weights_is_found_beside_its_scenario(tmp_path: Path, small_world_folder: Path) -> None:
    (tmp_path / "mine").symlink_to(small_world_folder)
    (tmp_path / "a.yaml").write_text(f"{GOOD}world: mine\n", encoding="utf-8")
    assert load_scenario(str(tmp_path / "a.yaml")).world == str(tmp_path / "mine")


def test_prompts_of_a_text_file_are_scenarios(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a cat\n\na  dog\n", encoding="utf-8")
    found = load_prompt_lists(tmp_path / "a.txt", Moment(10, "seconds"))
    assert [(one.prompt, one.line, one.timeline) for one in found] == [("a cat", 1, ()), ("a dog", 3, ())]


def test_what_can_never_happen_is_warned_about(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    goals = "goals:\n  - {name: wet, when: weather == rain, after: 3s}\n"
    (tmp_path / "good.yaml").write_text(GOOD + goals, encoding="utf-8")
    status, out = run(capsys, "check", "--strict", str(tmp_path / "good.yaml"))
    assert status == 1 and out.startswith(
        f"warning: {tmp_path}/good.yaml:5: 'wet' can never be reached: after 3s"
    )


def test_keys_that_the_viewer_keeps_are_warned_about(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    jumps = "{action: jumps}"
    keys = f"{{left: {jumps}, r: {jumps}, d: {jumps}, q: {jumps}, 3: {jumps}}}"
    (tmp_path / "good.yaml").write_text(f"{GOOD}keys: {keys}\n", encoding="utf-8")
    status, out = run(capsys, "check", "--strict", str(tmp_path / "good.yaml"))
    place = f"warning: {tmp_path}/good.yaml:4: the viewer keeps"
    assert status == 1 and out.splitlines() == [
        f"{place} R for itself (start anew under this prompt); choose another key in the scenario",
        f"{place} Q for itself (the next quick prompt); choose another key in the scenario",
        "1 scenario, 0 errors, 2 warnings",
    ]


def test_a_copy_that_kept_its_name_is_warned_about(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for stem in ("good", "Good", "night drive (2)"):
        (tmp_path / f"{stem}.yaml").write_text(GOOD, encoding="utf-8")
    (tmp_path / "my story.yaml").write_text(GOOD.replace("good", "my-story"), encoding="utf-8")
    copied = tmp_path / "night drive (2).yaml"
    status, out = run(capsys, "check", str(tmp_path))
    assert status == 0 and out.splitlines() == [
        f"warning: {copied}:1: the file is called 'night drive (2)', but a run goes to out/good and replaces "
        "what is there; write name: night-drive-2",
        "4 scenarios, 0 errors, 1 warning",
    ]


def test_text_that_yaml_reads_as_a_comment_is_warned_about(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "good.yaml"
    file.write_text(GOOD.replace("in the city", "in the city #1, at night"), encoding="utf-8")
    status, out = run(capsys, "check", str(file))
    assert status == 0 and out.splitlines()[0] == (
        f"warning: {file}:3: '#1, at night' is read as a comment; put the text before it in quotes if this "
        "belongs to it, or write '# '"
    )
    for text in (GOOD.replace("city", "city  # as before"), GOOD.replace("2s", "2s #short")):
        file.write_text(text, encoding="utf-8")
        assert run(capsys, "check", "--strict", str(file))[0] == 0
    file.write_text(GOOD.replace("a red cat jumps in the city", '"a red cat jumps in the city" #1'), "utf-8")
    assert run(capsys, "check", "--strict", str(file))[0] == 0


def test_the_template_plays_as_it_is() -> None:
    scenario = parse_scenario(template("mine"), "mine.yaml")
    assert lint(scenario, PRESETS["tiny"]) == []
    assert len(scenario.plan(PRESETS["tiny"]).switches) >= 4
    assert scenario.goals and scenario.keys and scenario.quick


def test_a_scenario_is_shown_as_its_seed_draws_it(capsys: pytest.CaptureFixture[str]) -> None:
    shown = {seed: run(capsys, "show", "lost-robot", "--seed", seed)[1] for seed in ("11", "12", "13", "14")}
    assert run(capsys, "show", "lost-robot") == (0, shown["11"])
    assert len(set(shown.values())) > 1 and all("choice at 11s: " in text for text in shown.values())
    for seed, text in shown.items():
        assert f"seed {seed}; 81 blocks, 60.6 s" in text


def test_what_cannot_be_shown_is_told_as_a_check_tells_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    late, nowhere = tmp_path / "late.yaml", tmp_path / "nowhere.yaml"
    late.write_text(GOOD + "timeline:\n  - {at: 9s, weather: at night}\n", encoding="utf-8")
    nowhere.write_text(GOOD + "world: tinny\n", encoding="utf-8")
    for name in ("weather-leson", str(tmp_path / "none.yaml"), str(late), str(nowhere)):
        told = run(capsys, "check", name)[1].splitlines()[0].removeprefix("error: ")
        assert main(["scenarios", "show", name]) == 2
        assert capsys.readouterr() == ("", f"longlive scenarios: error: {told}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show"], "show takes one file or name"),
        (["show", "demo", "drive"], "show takes one file or name"),
        (["check", "--seed", "3"], "--seed goes with show"),
        (["show", "demo", "--seed", "-1"], "the seed is -1"),
    ],
)
def test_show_says_what_it_takes(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["scenarios", *arguments])
    assert message in capsys.readouterr().err


def test_a_new_scenario(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out = run(capsys, "new", "mine")
    assert status == 0 and out.splitlines()[0] == "mine.yaml"
    assert run(capsys, "check", "--strict", "mine.yaml")[0] == 0
    before = Path("mine.yaml").read_text(encoding="utf-8")
    assert run(capsys, "new", "mine")[0] == 2  # nothing is lost
    assert Path("mine.yaml").read_text(encoding="utf-8") == before
    assert run(capsys, "new", "my-drive.yaml", "--like", "drive")[0] == 0
    copied = parse_scenario(Path("my-drive.yaml").read_text(encoding="utf-8"), "my-drive.yaml")
    assert copied.name == "my-drive" and copied.timeline == shipped_scenarios()["drive"].timeline
    assert run(capsys, "new", "x", "--like", "driv")[0] == 2
    assert run(capsys, "new", "a b/it.yaml")[1].endswith("longlive run 'a b/it.yaml'\n")
    monkeypatch.setattr("sys.platform", "win32")
    assert run(capsys, "new", "c d/it.yaml")[1].endswith('longlive run "c d/it.yaml"\n')


def test_a_new_scenario_has_a_name_that_can_be_read(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("null", "Null", "NULL"):
        assert main(["scenarios", "new", name]) == 2
        assert f"the name is {name!r}, which YAML reads as nothing" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    for name in ("true", "123", "nUll"):
        assert run(capsys, "new", name)[0] == 0 and run(capsys, "check", f"{name}.yaml")[0] == 0


def test_bundled_names_are_taken(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["scenarios", "new", "drive"])
    message = "'drive' is a bundled scenario; choose another name, such as my-drive"
    assert message in capsys.readouterr().err and not list(tmp_path.iterdir())
    Path("demo.yaml").write_text(GOOD.replace("good", "demo"), encoding="utf-8")
    status, out = run(capsys, "check", "demo.yaml")
    assert status == 0 and out.startswith("warning: demo.yaml:1: a bundled scenario is called 'demo', too, ")
    assert "write name: my-demo\n" in out


def test_a_file_or_a_recording_instead_of_a_name_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s4.yaml").write_text(GOOD, encoding="utf-8")
    with pytest.raises(ScenarioError, match=r"no scenario is called 's4'; for the file, write s4.yaml$"):
        load_scenario("s4")
    Path("out").mkdir()
    Path("out/actions.jsonl").write_text('{"format": "longlive-log"}\n', encoding="utf-8")
    for name in ("out", "out/actions.jsonl"):
        with pytest.raises(ScenarioError, match=f"for the recorded run, write --replay {name}$"):
            load_scenario(name)
    for name in (".", "..", "/", "s4.txt", ""):
        with pytest.raises(ScenarioError, match=r"A file of your own ends in .yaml$"):
            load_scenario(name)


@settings(max_examples=150)
@given(
    st.integers(0, len(template("x")) - 1),
    st.sampled_from(["", " ", "\n", "-", ":", "{", "]", "*a", "&a ", "7"]),
)
def test_whatever_is_wrong_in_a_file_is_said_with_its_place(position: int, text: str) -> None:
    whole = template("x")
    try:
        parse_scenario(whole[:position] + text + whole[position + 1 :], "x.yaml").plan(PRESETS["tiny"])
    except ScenarioError as error:
        assert re.match(r"x\.yaml:\d+: ", str(error))
