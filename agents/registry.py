"""Which agents there are: `agent=NAME` on the command line.

A module of `agents.algorithms` that registers an agent is found by itself; your own script
registers one before it calls `agents.train.main` (examples/own_agent.py).
"""

from typing import Any

from aef_worldmodel.utils.registry import Registry

AGENTS: Registry[Any] = Registry("agent", "agents.algorithms")


def agent_name(config: object) -> str:
    """Return the name of the agent that settings belong to."""
    return str(getattr(config, "kind", "none"))
