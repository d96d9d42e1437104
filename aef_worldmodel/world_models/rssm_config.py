"""Settings of the recurrent state-space model."""

from dataclasses import dataclass
from typing import Literal

from aef_worldmodel.utils.config.schema import check_bounds
from aef_worldmodel.world_models.base import WorldModelConfig

USUAL_SIZES = {"categorical": (192, 16), "gaussian": (256, 32)}  # recurrent_dim, latent_dim


@dataclass(frozen=True)
class RSSMConfig(WorldModelConfig):
    """Recurrent state-space model: a posterior that is given the recurrent state."""

    kind: Literal["rssm"] = "rssm"
    """The world model's name."""
    latent: Literal["categorical", "gaussian"] = "categorical"
    """Latent variables: categorical as in DreamerV3, or gaussian as in PlaNet and Dreamer."""
    networks: str = "patch"
    """Encoder and decoder networks: patch, pyramid, conv or residual."""
    latent_dim: int | None = None
    """Latent variables; null for 16 categorical ones of 16 classes, or 32
    Gaussian ones."""
    recurrent_dim: int | None = None
    """H, dimensions of the recurrent state h; null for 192 beside categorical latents, 256 beside
    Gaussian ones: as many parameters as the recurrent AEF has."""
    hidden_dim: int = 192
    """Width of the dense layers of prior, posterior and heads."""
    width: int = 64
    """Base channels of encoder and decoder."""
    pixel_weight: float = 1.0
    """Weight of the squared error of an image, whose values are in [0, 1], summed over them."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number that makes no sense."""
        check_bounds(
            self,
            hidden_dim=(1, 16_384),
            width=(1, 16_384),
            pixel_weight=(0, None),
        )
        for name in ("latent_dim", "recurrent_dim"):
            if getattr(self, name) is not None:
                check_bounds(self, **{name: (1, 16_384)})

    @property
    def sizes(self) -> tuple[int, int]:
        """Dimensions of h, and number of latent variables."""
        recurrent, latent = USUAL_SIZES[self.latent]
        return self.recurrent_dim or recurrent, self.latent_dim or latent
