"""`longlive scenarios`: list what comes with the package."""

from __future__ import annotations

from collections.abc import Sequence

from longlive_env.cli.parser import Parser
from longlive_env.scenario import shipped_scenarios


def main(argv: Sequence[str]) -> int:
    """Parse the arguments and print the list."""
    Parser(
        "longlive scenarios",
        "List the scenarios that come with the package.",
        ("longlive scenarios",),
    ).parse_args(argv)
    scenarios = shipped_scenarios()
    width = max(map(len, scenarios))
    for scenario in scenarios.values():
        prompts = len(scenario.timeline) + 1
        what = f"{scenario.world}, {scenario.duration}, {prompts} prompt{'s' if prompts > 1 else ''}"
        print(f"{scenario.name:<{width}}  {what:<24}  {scenario.description}")
    return 0
