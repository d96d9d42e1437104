"""World models that see through an AutoEncoder within Flows (AEF)."""

from aef_worldmodel.autoencoders import VAE, ExpandedAEF, PartitionAEF
from aef_worldmodel.world_model import State, WorldModel, WorldModelConfig

__all__ = ["VAE", "ExpandedAEF", "PartitionAEF", "State", "WorldModel", "WorldModelConfig"]
