"""A scenario to start from: every key that exists, with its meaning beside it."""

from __future__ import annotations

from longlive_env.errors import ScenarioError
from longlive_env.scenario.reading import wrong_with_name

TEMPLATE = """\
# A scenario for longlive. Check it: longlive scenarios check {name}.yaml   Play it: longlive run {name}.yaml
# Lines that begin with '#' are comments; take the '#' away to use one.

name: {name}
description: One line for lists.
# pack: my-scenarios           # groups scenarios in lists
# notes: What else a reader should know.
world: tiny                    # name of a world, or a folder of weights
seed: 0                        # the same seed gives the same video and the same random choices
# frames: picture.png          # a picture or a video beside this file, to go on from
duration: 30s                  # times are seconds (5s, 2.5s), minutes (2m) or blocks (8 blocks)
# recache: none                # what a switch does to the memory of earlier frames: full, none or clear
# live: true                   # the timeline goes on while you or an agent steer

# The starting prompt. Say who, which action, where and which weather, and say all of it in each whole prompt.
prompt: a red robot walks right through the city on a sunny day

# What is to come, in order. A later entry ends what the one before it had planned.
timeline:
  # A new prompt, or new words for one part of it: subject, colour, action, setting or weather.
  - {{at: 6s, weather: in the rain}}
  # New words for several parts at once.
  - {{at: 9s, action: runs to the right, weather: at sunset}}
  # On the way to the new prompt for 3 blocks, instead of at once.
  - {{at: 12s, prompt: a red robot walks right through the forest in the rain, blend: 3 blocks}}
  # One of several, drawn by the seed; twice as often the first.
  - at: 18s
    # seed: 5                  # of this choice alone, whatever the scenario's is
    choose:
      - {{action: jumps up and down, weight: 2}}
      - {{action: stands still, note: the viewer and the subtitles show this}}
  # What follows depends on what the picture shows; it waits up to 2 seconds for it.
  # Read are subject, colour, setting, weather and action; join by and, or, not, in (...).
  - at: 22s
    when: weather == rain and action != still
    within: 2s
    then: {{weather: at sunset}}
    else:
      - {{at: 0s, action: dances}}
      - {{at: 2s, weather: at night}}
  # A timeline that repeats, 2 times or always; its times count from where each pass begins.
  - at: 27s
    repeat: always
    every: 2s
    timeline:
      - {{at: 0s, action: jumps}}
      - {{at: 1s, action: stands still}}

# What earns points, and what costs some; longlive run prints the score.
goals:
  - {{name: It rained, when: weather == rain, points: 2}}
  - {{name: Danced before the end, when: action == dance, hold: 2, after: 20s, by: 30s}}
  - {{name: Left the city too early, when: setting != city, by: 10s, points: -1}}

# What keys change in longlive play: parts of the prompt in force, or all of it.
keys:
  left: {{action: walks left}}
  right: {{action: walks right}}
  up: {{action: jumps up and down}}
  down: {{action: stands still}}

# Number keys 1 to 9, in order.
quick:
  - {{weather: on a sunny day}}
  - {{weather: at night}}
  - a red robot dances on the moon at night
"""


def template(name: str) -> str:
    """The YAML of a new scenario.

    Raises:
        ScenarioError: the name is not a valid one.
    """
    if problem := wrong_with_name(name):
        raise ScenarioError(f"the name {problem}")
    return TEMPLATE.format(name=name)
