"""Agents that learn in a world model, and the commands that train, play and examine them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aef_worldmodel.utils.command import prepare

if TYPE_CHECKING:
    from agents.trained_agent import TrainedAgent, load_agent

__all__ = ["TrainedAgent", "load_agent"]
prepare(__name__)


def __getattr__(name: str) -> Any:
    """Import a public name on its first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("agents.trained_agent"), name)
