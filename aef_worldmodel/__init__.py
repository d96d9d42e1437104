"""World models that see through an AutoEncoder within Flows (AEF)."""

from aef_worldmodel.autoencoders import VAE, ExpandedAEF, PartitionAEF
from aef_worldmodel.config import WorldModelConfig
from aef_worldmodel.dynamics import State
from aef_worldmodel.world_model import WorldModel

__all__ = ["VAE", "ExpandedAEF", "PartitionAEF", "State", "WorldModel", "WorldModelConfig"]
