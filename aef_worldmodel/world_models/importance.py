"""Importance-sampled bounds on the likelihood of a video, for models whose own is not exact."""

from typing import Any

import torch
from torch import Tensor

from aef_worldmodel.nn.distributions import HALF_LOG_2PI
from aef_worldmodel.world_models.recurrent import RecurrentWorldModel


def video_bound(
    model: RecurrentWorldModel, frames: Tensor, actions: Tensor, width: float = 1.0
) -> Tensor:
    """Return a lower bound on log p(x_1..T | a_1..T), nats a video (B,), from one draw.

    It is the evidence lower bound of the model as a latent-variable model, in expectation, with the
    proposal of `importance_log_prob` at every frame: for a VAE and width 1 its own ELBO; for an
    expanded AEF a bound on p(x).

    Args:
        model: a world model whose autoencoder has a posterior.
        frames: (B, T, C, H, W) uint8 from the start of an episode; dequantised with new noise.
        actions: (B, T, A).
        width: factor on the standard deviation of the proposal.
    """
    autoencoder: Any = model.autoencoder
    size, length = frames.shape[:2]
    y = autoencoder.preprocess(frames.flatten(0, 1), dequantise=True)
    mean, std = autoencoder.posterior(y)
    latent = mean + width * std * torch.randn_like(mean)  # (B T, d)
    entropy = (width * std).log().sum(-1) + autoencoder.latent_dim * (0.5 + HALF_LOG_2PI)
    image = entropy + autoencoder.preprocessing_log_det(y) + autoencoder.decoder_log_prob(latent, y)
    latents = latent.view(size, length, -1)  # (B, T, d)
    first = torch.zeros(size, length, dtype=torch.bool, device=frames.device)
    recurrent = model.filter(latents, actions, first, model.initial(size).recurrent)
    prior = model.priors(recurrent, latents, first).log_prob(latents)  # (B, T)
    return (prior + image.view(size, length)).sum(-1)
