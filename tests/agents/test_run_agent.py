"""`longlive run --agent`: recorded, scored, and replayed without the agent."""

from pathlib import Path

import pytest

from longlive_env.cli import main
from longlive_env.recording import read_log

CAT = "a red cat jumps in the city"
SCENARIO = f"""\
name: walk
world: WORLD
seed: 3
duration: 5 blocks
live: true
prompt: {CAT}
timeline:
  - {{at: block 3, weather: at night, note: it gets dark}}
goals:
  - {{name: Anything, when: weather != rain or weather == rain, points: 4}}
  - {{name: Nothing, when: weather == rain and weather == snow, points: 2}}
"""
AGENT = """\
class Steers:
    def reset(self, env, info): ...
    def act(self, observation, info):
        return "a blue car moves left on the beach" if info["block"] == 0 else ""
"""


FAILING = """\
import sys
class Mine:
    def reset(self, env, info): ...
    def act(self, observation, info):
        if info["block"] == 1:
            ANSWER
        return ""
"""


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("raise RuntimeError('boom')", "the agent has failed at block 1: RuntimeError: boom"),
        ("raise StopIteration", "the agent has failed at block 1: StopIteration"),
        ("sys.exit()", "the agent has failed at block 1: SystemExit"),
        ("return 7", "the agent's answer at block 1 is no prompt: the prompt is 7"),
    ],
)
def test_an_agent_that_fails_is_told_of_and_what_it_played_is_kept(
    small_world_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], answer: str, told: str
) -> None:
    agent, out = tmp_path / "mine.py", tmp_path / "out"
    agent.write_text(FAILING.replace("ANSWER", answer), encoding="utf-8")
    world = ["--world", str(small_world_folder), "--prompt", CAT, "--scale", "1", "--out", str(out)]
    assert main(["run", "--agent", f"{agent}:Mine", *world]) == 2
    err = capsys.readouterr().err
    assert f"longlive run: error: {told}" in err and f"what was played until then is in {out}" in err
    assert ('mine.py", line 6, in act' in err) == ("answer" not in told)
    log = read_log(out)
    assert [block.prompt for block in log.blocks] == [CAT, CAT] and not log.complete


def test_an_agent_steers_a_scenario(
    small_world_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario, agent, out = tmp_path / "walk.yaml", tmp_path / "mine.py", tmp_path / "out"
    scenario.write_text(SCENARIO.replace("WORLD", str(small_world_folder)), encoding="utf-8")
    agent.write_text(AGENT, encoding="utf-8")
    options = ["--scale", "1", "--out", str(out)]
    assert main(["run", str(scenario), "--agent", f"{agent}:Steers", *options]) == 0
    printed, err = capsys.readouterr()
    assert "score: 4 of 6\n" in printed and "Anything (+4)" in err
    log = read_log(out / "actions.jsonl")
    car = "a blue car moves left on the beach"
    night = f"{car}, at night"
    assert [block.prompt for block in log.blocks] == [CAT, car, car, night, night]
    assert [list(block.notes) for block in log.blocks] == [
        ["goal Anything: +4"],
        [],
        [],
        ["it gets dark"],
        [],
    ]
    assert main(["run", "--replay", str(out / "actions.jsonl"), "--scale", "1"]) == 0
    assert "all 5 blocks are identical" in capsys.readouterr().out
    assert read_log(tmp_path / "out-replay" / "actions.jsonl") == log
