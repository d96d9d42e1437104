"""Actor-critic trained in imagination."""

from agents.algorithms.imagination.agent import ActorCriticAgent, ImaginationAgent
from agents.algorithms.imagination.config import ActorCriticConfig, ImaginationConfig

__all__ = ["ActorCriticAgent", "ActorCriticConfig", "ImaginationAgent", "ImaginationConfig"]
