"""The snippets about agents and scenarios do what their documents say."""

import re
from pathlib import Path
from typing import Any

import pytest

from longlive_env import World
from longlive_env.agents import AGENTS, Seated, make_agent
from longlive_env.engine.config import PRESETS
from longlive_env.scenario import Condition, lint, parse_scenario, play, shipped_scenarios
from longlive_env.tiny.scene import ATTRIBUTES

ROOT = Path(__file__).parents[2]
HEAD = "name: doc\nduration: 60s\nprompt: a red robot walks right through the city on a sunny day\n"


def snippets(file: str, language: str) -> list[str]:
    text = (ROOT / file).read_text(encoding="utf-8")
    found = re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert found, f"{file} has no {language} any more"
    return found


@pytest.mark.parametrize("text", snippets("docs/scenarios.md", "yaml"))
def test_yaml_of_the_scenarios_document(text: str) -> None:
    scenario = parse_scenario(text if text.startswith("name:") else HEAD + text, "docs.yaml")
    assert lint(scenario, PRESETS["tiny"]) == []
    scenario.plan(PRESETS["tiny"])


def test_conditions_of_the_scenarios_document() -> None:
    (block,) = snippets("docs/scenarios.md", "text")
    assert block.strip()
    for line in block.splitlines():
        Condition.parse(line, ATTRIBUTES)


def test_the_scenarios_document_lists_every_pack() -> None:
    text = (ROOT / "docs" / "scenarios.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([\w-]+)` \| ((?:[\w-]+, )*[\w-]+) \|", text, re.MULTILINE))
    packs: dict[str, set[str]] = {}
    for scenario in shipped_scenarios().values():
        packs.setdefault(scenario.pack, set()).add(scenario.name)
    assert {pack: set(names.split(", ")) for pack, names in rows.items() if pack in packs} == packs


@pytest.mark.parametrize(
    ("file", "shorter", "printed"),
    [
        ("docs/scenarios.md", {}, ""),
        (
            "docs/agents.md",
            {"n_steps=128": "n_steps=2, batch_size=2, n_epochs=1", "2_000": "4"},
            "a red robot",
        ),
    ],
    ids=["scenarios", "agents"],
)
def test_python_of_the_documents(
    file: str,
    shorter: dict[str, str],
    printed: str,
    small_world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from longlive_env.envs import world_cache

    monkeypatch.setattr(World, "load", lambda *args, **kwargs: small_world)
    monkeypatch.setattr(world_cache, "_worlds", {})
    monkeypatch.chdir(tmp_path)
    found = snippets(file, "python")
    assert found and all(any(long in text for text in found) for long in shorter)
    for text in found:
        for long, short in shorter.items():
            text = text.replace(long, short)
        names: dict[str, Any] = {}
        exec(compile(text, file, "exec"), names)
        if "SB3Agent" in names:
            assert len(names["episode"].prompts) == 4  # the first is the start's
    assert printed in capsys.readouterr().out


def test_the_agent_of_the_readme(small_world: World, tmp_path: Path) -> None:
    (text,) = snippets("agents/README.md", "python")
    body = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert len(body) <= 15
    (tmp_path / "my_agent.py").write_text(text, encoding="utf-8")
    agent = make_agent(f"{tmp_path}/my_agent.py:MyAgent")
    plan = parse_scenario(HEAD.replace("60s", "24 blocks"), "doc.yaml").plan(small_world.config)
    prompts = [block.prompt for block in play(small_world, plan, steer=Seated(agent, small_world, 2))]
    assert prompts[0] == plan.prompt and "forest at night" in prompts[-1]


def test_the_agents_document_lists_every_agent() -> None:
    text = (ROOT / "docs" / "agents.md").read_text(encoding="utf-8")
    assert all(f"| `{name}" in text for name in AGENTS)
