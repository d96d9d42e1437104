"""What the dynamics expect of the next latent: a Gaussian, or one bent by a conditional flow."""

from typing import NamedTuple

import torch
from torch import Tensor

from aef_worldmodel.distributions import normal_log_prob, standard_normal_log_prob
from aef_worldmodel.flows import Flow


class Prior(NamedTuple):
    """p(z_t | h_t, z_(t-1)) over latents (..., d), float32:

        z_t = mean + std * f^-1(e; h_t, z_(t-1)),    e ~ N(0, I)

    with the identity for f where there is no flow. A flow gives it any shape, correlations and
    several modes among them (Papamakarios et al. 2021, section 2).
    """

    mean: Tensor  # (..., d)
    std: Tensor  # (..., d)
    flow: Flow | None = None
    context: Tensor | None = None  # (..., C) what the flow is given

    def log_prob(self, latent: Tensor) -> Tensor:
        """Log-density of latents (..., d) in nats (...)."""
        if self.flow is None:
            return normal_log_prob(latent, self.mean, self.std)
        noise, log_det = self.flow((latent - self.mean) / self.std, self.context)
        return (standard_normal_log_prob(noise) - self.std.log()).sum(-1) + log_det

    def draw(self, noise: Tensor) -> Tensor:
        """The latents (..., d) of noise (..., d) from N(0, I)."""
        if self.flow is not None:
            noise, _ = self.flow.inverse(noise, self.context)
        return torch.addcmul(self.mean, self.std, noise)

    @property
    def centre(self) -> Tensor:
        """The latents (..., d) of no noise, which a dream at temperature 0 follows: the mean of a
        Gaussian."""
        return self.mean if self.flow is None else self.draw(torch.zeros_like(self.mean))
