"""Rivals of the AEF with the same networks: variational and plain autoencoders."""

import math

import torch
from torch import Tensor

from aef_worldmodel.autoencoders.base import Autoencoder, Code, Proposal
from aef_worldmodel.autoencoders.registry import AUTOENCODERS
from aef_worldmodel.nn.distributions import HALF_LOG_2PI, standard_normal_log_prob


@AUTOENCODERS.register("vae")
class VariationalAutoencoder(Autoencoder):
    """Variational autoencoder: `z ~ N(mu_e(y), sigma_e(y))`, trained on the ELBO.

    With a `flow`, z is the inverse of the flow at that draw, given (mu_e, log sigma_e): a posterior
    of any shape (Kingma et al., "Improving variational inference with inverse autoregressive flow",
    2016, section 3, with the encoder's statistics as its context).
    """

    likelihood = "bound"

    def posterior(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of q(z | y) before the flow, each (N, d)."""
        mean, log_scale = self.statistics(y)
        return mean, log_scale.exp()

    def encode_y(self, y: Tensor, *, sample: bool = True) -> Code:
        """Return a draw from q(z | y), or without `sample` the latent of its mean.

        `Code.log_det` is the entropy of q; the part of a flow is estimated from the draw.
        """
        mean, std = self.posterior(y)
        entropy = std.log().sum(-1) + self.latent_dim * (0.5 + HALF_LOG_2PI)
        latent = mean + std * torch.randn_like(mean) if sample else mean
        if self.flow is not None:
            latent, log_det = self.flow.inverse(latent, torch.cat([mean, std.log()], -1))
            entropy = entropy + log_det
        return Code(latent, entropy + self.preprocessing_log_det(y), y)

    def proposal(self, y: Tensor, width: float = 1.0) -> Proposal:
        """Return draws from q(z | y), `width` as wide before the flow, with their log-density."""
        mean, std = self.posterior(y)
        log_std = std.log()

        def draw(count: int) -> tuple[Tensor, Tensor]:
            noise = torch.randn(count, *mean.shape).to(mean)  # (k, N, d)
            widened = log_std + math.log(width)
            log_q = (standard_normal_log_prob(noise) - widened).sum(-1)  # (k, N)
            latent = mean + width * std * noise
            if self.flow is not None:
                context = torch.cat([mean, log_std], -1).expand(count, -1, -1)  # (k, N, 2d)
                latent, log_det = self.flow.inverse(latent, context)
                log_q = log_q - log_det
            return latent, log_q

        return draw


@AUTOENCODERS.register("ae")
class PlainAutoencoder(Autoencoder):
    """Autoencoder without a likelihood: `z = mu_e(y)`, trained on its reconstruction alone.

    The encoder's log-scale is not used.
    """

    likelihood = "none"

    def encode_y(self, y: Tensor, *, sample: bool = True) -> Code:
        """Return `z = mu_e(y)` with a log-det of zero."""
        mean, _ = self.statistics(y)
        return Code(mean, mean.new_zeros(len(mean)), y)
