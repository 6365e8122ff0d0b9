"""The agent: runs on each node, keeps its modules, and swaps them when the control plane says so."""

from agent.config import AgentConfig
from agent.service import Agent

__all__ = ["Agent", "AgentConfig"]
