"""The dynamics' prediction of the next latent."""

from typing import NamedTuple

import torch
from torch import Tensor

from aef_worldmodel.nn.distributions import normal_log_prob


class Prior(NamedTuple):
    """p(z_t | h_t, z_(t-1)) = N(mean, diag std^2) over latents (..., d), float32."""

    mean: Tensor  # (..., d)
    std: Tensor  # (..., d)

    def log_prob(self, latent: Tensor) -> Tensor:
        """Return the log-density of latents (..., d) in nats (...)."""
        return normal_log_prob(latent, self.mean, self.std)

    def draw(self, noise: Tensor) -> Tensor:
        """Return the latents (..., d) of noise (..., d) from N(0, I)."""
        return torch.addcmul(self.mean, self.std, noise)

    @property
    def centre(self) -> Tensor:
        """The latents (..., d) of no noise, which a rollout at temperature 0 follows."""
        return self.mean
