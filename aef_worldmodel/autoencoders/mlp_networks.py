"""Encoder and decoder of two dense layers, for vectors, or images of few pixels."""

import math

from torch import Tensor, nn

from aef_worldmodel.autoencoders.networks import NETWORKS, NetworkPair, Shape
from aef_worldmodel.nn.layers import mlp

LAYERS = 2


class MlpEncoder(nn.Module):
    """Dense layers from all numbers of an observation to mean and raw log-scale."""

    def __init__(self, shape: Shape, latent_dim: int, hidden: int = 256):
        super().__init__()
        self.network = mlp(math.prod(shape), 2 * latent_dim, hidden, LAYERS)

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and raw log-scale, each (N, d), of observations (N, ...)."""
        return self.network(observation.flatten(1)).chunk(2, -1)


class MlpDecoder(nn.Module):
    """Dense layers from a latent to all numbers of an observation."""

    def __init__(self, shape: Shape, latent_dim: int, hidden: int = 256):
        super().__init__()
        self.shape = tuple(shape)
        self.network = mlp(latent_dim, math.prod(shape), hidden, LAYERS)

    def forward(self, latent: Tensor) -> Tensor:
        """Return the mean observation (N, ...) of latents (N, d)."""
        return self.network(latent).unflatten(-1, self.shape)


NETWORKS.register("mlp")(NetworkPair(MlpEncoder, MlpDecoder, ("hidden",), of_vectors=True))
