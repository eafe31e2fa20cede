"""Agents that play the worlds: what an agent is, and some to play with, compare against and start from."""

from longlive_env.agents.base import Episode, Seat, generator, play_episode, seat
from longlive_env.agents.goal import GoalAgent, look_ahead
from longlive_env.agents.llm import LLMAgent
from longlive_env.agents.random import RandomAgent
from longlive_env.agents.registry import AGENTS, make_agent
from longlive_env.agents.sb3 import SB3Agent
from longlive_env.agents.scripted import ScriptedAgent
from longlive_env.agents.seated import Seated
from longlive_env.envs.seat import Agent

__all__ = [
    "AGENTS",
    "Agent",
    "Episode",
    "GoalAgent",
    "LLMAgent",
    "RandomAgent",
    "SB3Agent",
    "ScriptedAgent",
    "Seat",
    "Seated",
    "generator",
    "look_ahead",
    "make_agent",
    "play_episode",
    "seat",
]
