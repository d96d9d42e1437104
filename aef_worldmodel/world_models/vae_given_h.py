"""The recurrent world model with a VAE whose posterior is given the recurrent state, too.

    z_t ~ N(mu_e(x_t) + shift(h_t, x_t), exp(log_scale)),
    log_scale = log sigma_e(x_t) + widening(h_t, x_t)

Between the VAE, whose posterior sees the frame alone, and the Gaussian RSSM: prior, decoder of z
alone and objective are the VAE's. It begins as the VAE. Shapes as in `recurrent`.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from aef_worldmodel.autoencoders.base import Code
from aef_worldmodel.nn.distributions import HALF_LOG_2PI
from aef_worldmodel.nn.layers import mlp, zero_last
from aef_worldmodel.world_models.base import WORLD_MODELS, State
from aef_worldmodel.world_models.config import RecurrentConfig
from aef_worldmodel.world_models.recurrent import RecurrentWorldModel


@dataclass(frozen=True)
class VAEGivenHConfig(RecurrentConfig):
    """Recurrent world model with a VAE whose posterior is given h."""

    kind: Literal["vae-given-h"] = "vae-given-h"  # type: ignore[assignment]
    """The world model's name."""
    autoencoder: str = "vae"
    """Autoencoder: vae, the only one with a posterior."""
    pixel_weight: float = 0.1
    """Weight of one nat of pixels against one nat of entropy and prior."""

    def __post_init__(self) -> None:
        """Raise ValueError for another autoencoder, or a number that makes no sense."""
        super().__post_init__()
        if self.autoencoder != "vae":
            raise ValueError(f"autoencoder={self.autoencoder} has no posterior to give h: use vae")


@WORLD_MODELS.register("vae-given-h")
class VAEGivenH(RecurrentWorldModel):
    """A recurrent world model whose posterior is q(z_t | x_t, h_t).

    Args:
        config: architecture and objective.
        frame_shape: (C, H, W) of uint8 frames.
        action_dim: A, of actions in [-1, 1].

    Raises:
        ValueError: unknown networks, or frames they cannot see.
    """

    Config = VAEGivenHConfig

    def __init__(
        self, config: RecurrentConfig, frame_shape: tuple[int, ...], action_dim: int
    ) -> None:
        super().__init__(config, frame_shape, action_dim)
        width = config.recurrent_dim + 2 * config.latent_dim
        self.posterior_net = zero_last(mlp(width, 2 * config.latent_dim, config.hidden_dim, 1))

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the parameters of autoencoder, dynamics and heads."""
        groups = super().parameter_groups()
        return groups | {"dynamics": [*groups["dynamics"], *self.posterior_net.parameters()]}

    def posterior(
        self, recurrent: Tensor, mean: Tensor, log_scale: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return mean and log standard deviation of q(z | x, h), each (N, d).

        recurrent h (N, H); mean and log_scale, what the encoder says of the frame, each (N, d).
        """
        seen = torch.cat([recurrent, mean, log_scale], -1)
        shift, widening = self.posterior_net(seen).float().chunk(2, -1)
        return mean + shift, log_scale + widening

    def encode_rows(
        self, y: Tensor, actions: Tensor, first: Tensor, start: Tensor, *, sample: bool
    ) -> Code:
        """Return the codes of all rows, each given the recurrent state of its own row."""
        mean, log_scale = (
            part.unflatten(0, first.shape) for part in self.autoencoder.statistics(y)
        )
        noise = torch.randn_like(mean) if sample else torch.zeros_like(mean)  # (B, T, d)
        keep = (~first).to(start.dtype)[..., None]  # (B, T, 1)
        recurrent, latents, scales = start * keep[:, 0], [], []
        for t in range(first.shape[1]):
            centre, log_std = self.posterior(recurrent, mean[:, t], log_scale[:, t])
            latents.append(centre + log_std.exp() * noise[:, t])
            scales.append(log_std)
            if t + 1 < first.shape[1]:
                following = self.transition(State(recurrent, latents[-1]), actions[:, t])
                recurrent = following * keep[:, t + 1]
        latent, log_stds = (torch.stack(part, 1).flatten(0, 1) for part in (latents, scales))
        entropy = log_stds.sum(-1) + latent.shape[-1] * (0.5 + HALF_LOG_2PI)
        return Code(latent, entropy + self.autoencoder.preprocessing_log_det(y), y)

    def see(self, recurrent: Tensor, frames: Tensor) -> State:
        """Return the states of frames: the posterior's mean, given h; deterministic."""
        y = self.autoencoder.preprocess(frames, dequantise=False)
        return State(recurrent, self.posterior(recurrent, *self.autoencoder.statistics(y))[0])
