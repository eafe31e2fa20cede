"""Scenarios: videos described in advance as YAML, checked, and planned in blocks of a world."""

from longlive_env.scenario.change import Change, Wording
from longlive_env.scenario.files import load_prompt_lists, load_scenario, parse_scenario, shipped_scenarios
from longlive_env.scenario.lint import lint
from longlive_env.scenario.model import Cue, Plan, Scenario
from longlive_env.scenario.moment import Moment, first_frame
from longlive_env.scenario.playback import Block, play, replay_plan

__all__ = [
    "Block",
    "Change",
    "Cue",
    "Moment",
    "Plan",
    "Scenario",
    "Wording",
    "first_frame",
    "lint",
    "load_prompt_lists",
    "load_scenario",
    "parse_scenario",
    "play",
    "replay_plan",
    "shipped_scenarios",
]
