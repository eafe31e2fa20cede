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
