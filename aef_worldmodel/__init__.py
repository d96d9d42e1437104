"""World models that see through an AutoEncoder within Flows (AEF)."""

from aef_worldmodel.autoencoders import ExpandedAEF, PartitionAEF, VariationalAutoencoder
from aef_worldmodel.config import WorldModelConfig
from aef_worldmodel.dynamics import State
from aef_worldmodel.family import AE, AEF, VAE
from aef_worldmodel.image_model import ImageModel
from aef_worldmodel.world_model import WorldModel

__all__ = [
    "AE",
    "AEF",
    "VAE",
    "ExpandedAEF",
    "ImageModel",
    "PartitionAEF",
    "State",
    "VariationalAutoencoder",
    "WorldModel",
    "WorldModelConfig",
]
