"""Settings of the recurrent AEF world model."""

from dataclasses import dataclass
from typing import Literal

from aef_worldmodel.world_models.base import WorldModelConfig


@dataclass(frozen=True)
class RecurrentConfig(WorldModelConfig):
    """Architecture and objective of the recurrent world model."""

    kind: Literal["recurrent"] = "recurrent"
    """The world model's name."""
    autoencoder: str = "aef"
    """Autoencoder, all with the same networks: aef (exact likelihood, DCT core), aef-center,
    aef-corner, aef-noise, expanded, vae, ae, ae-sigreg or random-encoder."""
    networks: str = "patch"
    """Encoder and decoder networks: patch (fast), pyramid (a decoder that places thin limbs
    better), conv or residual."""
    latent_dim: int = 32
    """d, dimensions of the latent z."""
    recurrent_dim: int = 256
    """H, dimensions of the recurrent state h."""
    hidden_dim: int = 256
    """Width of dense layers."""
    width: int = 64
    """Base channels of encoder and decoder."""
    sigma_floor: float = 0.1
    """Smallest standard deviation of the decoder, in units of 64 grey levels."""
    pixel_weight: float = 0.004
    """Weight of one nat of pixels against one nat of log-determinant and prior; 1 is maximum
    likelihood, where latents follow single pixels rather than what can be predicted."""
    anchor: float = 0.1
    """lambda of the geometric mixture (1 - lambda) log p(z|h) + lambda log N(z; 0, I) that fixes
    the scale of the latent (docs/concepts/mathematics.md)."""
    likelihood_scale: float = 0.01
    """Weight of one nat of the video's likelihood against one nat of reward and continuation."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number that makes no sense."""
        sizes = ("latent_dim", "recurrent_dim", "hidden_dim", "width")
        for name, value in vars(self).items():
            least = 1 if name in sizes else 0
            if isinstance(value, int | float) and value < least:
                raise ValueError(f"{name}={value} must be at least {least}")
            if name in sizes and value > 16_384:
                raise ValueError(f"{name}={value} must be at most 16384")
        if self.anchor > 1:
            raise ValueError(f"anchor={self.anchor} must be at most 1")
