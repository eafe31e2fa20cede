"""Scenarios: videos described in advance as YAML, checked, and planned in blocks of a world."""

from longlive_env.scenario.change import Change, Wording
from longlive_env.scenario.condition import Condition, Reading
from longlive_env.scenario.files import load_prompt_lists, load_scenario, scenario_text, shipped_scenarios
from longlive_env.scenario.goals import Goal, Scoreboard
from longlive_env.scenario.lint import lint, lint_in
from longlive_env.scenario.mix import Mix
from longlive_env.scenario.model import Plan, Scenario
from longlive_env.scenario.moment import Moment, Pace
from longlive_env.scenario.playback import Block, Steer, play, replay_plan
from longlive_env.scenario.reading import parse_scenario
from longlive_env.scenario.script import Script, Step
from longlive_env.scenario.sight import Sight, sight_of
from longlive_env.scenario.timeline import Branch, Choice, Cue, Entry, Loop, Option

__all__ = [
    "Block",
    "Branch",
    "Change",
    "Choice",
    "Condition",
    "Cue",
    "Entry",
    "Goal",
    "Loop",
    "Mix",
    "Moment",
    "Option",
    "Pace",
    "Plan",
    "Reading",
    "Scenario",
    "Scoreboard",
    "Script",
    "Sight",
    "Steer",
    "Step",
    "Wording",
    "lint",
    "lint_in",
    "load_prompt_lists",
    "load_scenario",
    "parse_scenario",
    "play",
    "replay_plan",
    "scenario_text",
    "shipped_scenarios",
    "sight_of",
]
