"""Agents that play the worlds: what an agent is, and simple ones to compare with."""

from longlive_env.agents.base import Agent, Episode, play_episode
from longlive_env.agents.random import RandomAgent
from longlive_env.agents.scripted import ScriptedAgent

__all__ = ["Agent", "Episode", "RandomAgent", "ScriptedAgent", "play_episode"]
