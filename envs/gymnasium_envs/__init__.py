"""Third-party environments as batches of images: any Gymnasium environment, and dm_control."""

from envs.gymnasium_envs.failure import EnvironmentFailure
from envs.gymnasium_envs.make import make_third_party
from envs.gymnasium_envs.vector import GymnasiumVectorEnv

__all__ = ["EnvironmentFailure", "GymnasiumVectorEnv", "make_third_party"]
