"""Settings of a world model."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class WorldModelConfig:
    """Architecture and objective of a world model."""

    autoencoder: Literal["partition", "expanded", "vae"] = "partition"
    """Which eye: exact partition AEF, expanded AEF, or the VAE with the same networks."""
    core: Literal["dct", "center", "corner"] = "dct"
    """Which dimensions of the image a partition AEF turns into the latent."""
    latent_dim: int = 32
    """d, dimensions of the latent z."""
    recurrent_dim: int = 256
    """H, dimensions of the recurrent state h."""
    hidden_dim: int = 256
    """Width of dense layers."""
    width: int = 64
    """Base channels of encoder and decoder."""
    decoder: Literal["patches", "pyramid"] = "patches"
    """How frames are drawn: patch by patch, which is quick, or by overlapping transposed
    convolutions, which place thin limbs better
    (docs/tried/walker-walk.md)."""
    sigma_floor: float = 0.1
    """Least decoder standard deviation, in units of 64 grey levels."""
    pixel_weight: float = 0.004
    """Weight of one nat of pixels against one nat of volume and prior; 1 is maximum likelihood,
    where latents follow single pixels rather than what can be foreseen
    (docs/tried/cartpole-swingup.md)."""
    prior_flow: Literal["coupling"] | None = None
    """A conditional flow on the latent's prior, for shapes that a Gaussian has not; null for none.
    Only a coupling flow is quick in both directions, that of learning and that of dreaming."""
    prior_floor: float = 0.03
    """Least standard deviation of the latent's prior."""
    anchor: float = 0.1
    """lambda of the geometric mixture (1 - lambda) log p(z|h) + lambda log N(z; 0, I) that pins
    the latent's scale (docs/mathematics.md)."""
    overshoot: int = 0
    """Decisions that dreams last which must meet the latents and rewards that came: it asks for
    speeds, which one step alone hardly does (docs/tried/cartpole-swingup.md); 0 for none."""
    inverse_weight: float = 0.0
    """Weight of the squared error of actions that are told from the latents before and after them
    (inverse dynamics): it asks the eye for limbs that actions move (docs/tried/walker-walk.md);
    0 for none."""
    likelihood_scale: float = 0.01
    """Weight of one nat of the video's likelihood against one nat of reward and continuation."""
    reward_weight: float = 1.0
    """Weight of the reward's cross-entropy."""
    decoded_frames: int = 64
    """Frames of a batch whose pixels are decoded for the loss: an unbiased estimate."""
    training: Literal["joint", "staged"] = "joint"
    """joint: one objective for all. staged: the autoencoder first (during `pretrain`), then the
    dynamics and heads on its frozen latents, as Ha & Schmidhuber 2018."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number that makes no sense."""
        sizes = ("latent_dim", "recurrent_dim", "hidden_dim", "width", "decoded_frames")
        for name, value in vars(self).items():
            least = 1 if name in sizes else 0
            if isinstance(value, int | float) and value < least:
                raise ValueError(f"{name}={value} must be at least {least}")
        if self.anchor > 1:
            raise ValueError(f"anchor={self.anchor} must be at most 1")
