"""Agents by name, as `--agent` takes them: `random`, `goal:a red robot at night`, `my_agent.py:MyAgent`."""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, cast

from longlive_env.envs.seat import Agent
from longlive_env.errors import AgentError, LongLiveError, did_you_mean


@dataclass(frozen=True)
class Kind:
    """An agent that comes with the package.

    Attributes:
        target: `module:class` or `module:class.method`, imported on demand.
        takes: what may follow the name after a colon; empty if nothing may.
        needs: whether something must follow.
    """

    target: str
    takes: str = ""
    needs: bool = False


AGENTS = {
    "random": Kind("longlive_env.agents.random:RandomAgent"),
    "scripted": Kind("longlive_env.agents.scripted:ScriptedAgent.from_scenario", "SCENARIO", True),
    "goal": Kind("longlive_env.agents.goal:GoalAgent", "GOAL", True),
    "llm": Kind("longlive_env.agents.llm:LLMAgent", "GOAL"),
    "sb3": Kind("longlive_env.agents.sb3:SB3Agent", "FILE.zip", True),
}


def make_agent(spec: str) -> Agent:
    """The agent that `spec` names.

    Args:
        spec: a name in `AGENTS`, with `:` and what that agent takes after it, or
            `path/to/file.py:ClassName`, which runs that file.

    Raises:
        AgentError: there is no such agent, or it cannot be made.
    """
    file, _, attribute = spec.rpartition(":")
    if file.endswith(".py"):
        return _from_file(Path(file), attribute)
    if spec.endswith(".py"):
        raise AgentError(f"{spec} may hold several agents; name one, as in {spec}:MyAgent")
    name, _, argument = spec.partition(":")
    if name not in AGENTS:
        remedy = did_you_mean(name, AGENTS, f"there are {', '.join(AGENTS)}.")
        raise AgentError(f"there is no agent {name!r}; {remedy} One of your own is path/to/file.py:ClassName")
    kind = AGENTS[name]
    if argument and not kind.takes:
        raise AgentError(f"the agent {name!r} takes nothing after its name; got {argument!r}")
    if kind.needs and not argument:
        raise AgentError(f"the agent {name!r} needs {kind.takes}; write {name}:{kind.takes}")
    make: Callable[..., Agent] = resolve_name(kind.target)
    return make(argument) if argument else make()


def _from_file(path: Path, attribute: str) -> Agent:
    """The agent in a user's own file, which this runs."""
    if not path.is_file():
        raise AgentError(f"there is no file {path}; expected path/to/file.py:ClassName")
    spec = importlib.util.spec_from_file_location(f"longlive_agent_{path.stem}", os.path.abspath(path))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses and pickle look for it
    folder = os.path.dirname(os.path.abspath(path))
    if folder not in sys.path:
        sys.path.append(folder)  # for files beside it, as for a program's
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever a user's file may raise
        del sys.modules[spec.name]
        raise AgentError(f"{path} cannot be run: {type(error).__name__}: {error}") from error
    make: Any = getattr(module, attribute, None)
    if not callable(make):
        classes = [
            name for name, value in vars(module).items() if isinstance(value, type) and is_agent(value)
        ]
        near = difflib.get_close_matches(attribute, classes, n=1) or classes
        raise AgentError(f"{path} has no agent {attribute!r}; {_listed(near)}")
    try:
        agent = make()
    except LongLiveError:
        raise
    except TypeError as error:
        raise AgentError(f"{path}:{attribute} cannot be made without arguments: {error}") from error
    except (Exception, SystemExit) as error:  # likewise
        raise AgentError(f"{path}:{attribute} cannot be made: {type(error).__name__}: {error}") from error
    if not is_agent(agent):
        raise AgentError(
            f"{path}:{attribute} is not an agent; it lacks reset(env, info) or act(observation, info)"
        )
    for name, given in (("reset", ("env", "info")), ("act", ("observation", "info"))):
        try:
            inspect.signature(getattr(agent, name)).bind(*given)
        except TypeError as error:
            raise AgentError(
                f"{path}:{attribute} is not an agent; {name}({', '.join(given)}) cannot be called: {error}"
            ) from None
        except ValueError:  # it has no signature, as some built-in functions
            continue
    return cast(Agent, agent)


def is_agent(value: object) -> bool:
    """Whether an object has the two methods of an agent."""
    return callable(getattr(value, "reset", None)) and callable(getattr(value, "act", None))


def _listed(classes: list[str]) -> str:
    if not classes:
        return "it holds none; an agent has reset(env, info) and act(observation, info)"
    return f"did you mean {classes[0]!r}?" if len(classes) == 1 else f"it holds {', '.join(classes)}"
