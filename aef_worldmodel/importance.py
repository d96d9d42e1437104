"""K-sample estimates of log p(x) for eyes that do not give it exactly.

    log p(u) >= E[ log 1/K sum_k  p(z_k) p(y | z_k) / q(z_k | y) ] + D log scale,   z_k ~ q

The bound rises with K and converges to log p(u) (Burda, Grosse, Salakhutdinov, "Importance
weighted autoencoders", 2016, equation 8). For the VAE q is the posterior. For the expanded AEF
it is the image in latent space of `w_k ~ N(W y, width^2)`, for which
`p(z_k) p(y | z_k) / q(z_k | y) = p(y, w_k) / q(w_k)`: integrating the expansion away leaves p(y).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from aef_worldmodel.autoencoders import ExpandedAEF, VariationalAutoencoder
from aef_worldmodel.eye import HALF_LOG_2PI
from aef_worldmodel.world_model import WorldModel


def importance_log_prob(
    eye: VariationalAutoencoder | ExpandedAEF,
    y: Tensor,
    log_prior: Callable[[Tensor], Tensor],
    samples: int,
    *,
    width: float = 1.0,
    batch: int = 4096,
) -> Tensor:
    """K-sample lower bound on log p(u), nats an image (N,), in expectation; exact as K grows.

    Differentiable: its mean over a batch is the objective of an IWAE. Use `torch.no_grad()` to
    measure with many samples.

    Args:
        eye: a variational autoencoder or an expanded AEF.
        y: preprocessed images (N, C, H, W), for instance `eye.preprocess(frames, True)`.
        log_prior: latents (M, d) -> log p(z) in nats (M,).
        samples: K.
        width: standard deviation of the proposal, in units of the encoder's own.
        batch: how many latents are decoded at once, at most (at least N are).

    Raises:
        ValueError: the eye's likelihood is exact already, or it has none, or samples < 1.
    """
    if eye.likelihood == "exact":
        raise ValueError("the likelihood of a partition AEF is exact already: sum its parts")
    if eye.likelihood == "none":
        raise ValueError("a plain autoencoder has no likelihood: take an AEF or a VAE")
    if samples < 1:
        raise ValueError(f"samples={samples} must be at least 1")
    draw, total = eye.proposal(y, width), y.new_full((len(y),), -math.inf)
    chunk = max(batch // len(y), 1)
    for begin in range(0, samples, chunk):
        latent, log_q = draw(min(chunk, samples - begin))  # (k, N, d), (k, N)
        latent, many = latent.flatten(0, 1), y.repeat(len(log_q), 1, 1, 1)  # (k N, ...)
        log_p = log_prior(latent) + eye.explained(latent, many)  # (k N,)
        total = total.logaddexp((log_p.view_as(log_q) - log_q).logsumexp(0))
    return total - math.log(samples) + eye.preprocessing_log_det(y)


def video_bound(model: WorldModel, frames: Tensor, actions: Tensor, width: float = 1.0) -> Tensor:
    """A lower bound on log p(x_1..T | a_1..T), nats a video (B,), in expectation over one draw.

    The evidence lower bound of the model as a latent-variable model, with the proposal of
    `importance_log_prob` at every frame: for a VAE and width 1 its own ELBO; for an expanded AEF
    what may be said of p(x). Frames (B, T, C, H, W) uint8 from the start of an episode are
    dequantised anew; actions (B, T, A).
    """
    eye, (size, length) = model.eye, frames.shape[:2]
    y = eye.preprocess(frames.flatten(0, 1), dequantise=True)
    mean, std = eye.posterior(y)
    latent = mean + width * std * torch.randn_like(mean)  # (B T, d)
    entropy = (width * std).log().sum(-1) + eye.latent_dim * (0.5 + HALF_LOG_2PI)
    image = entropy + eye.preprocessing_log_det(y) + eye.explained(latent, y)
    latents = latent.view(size, length, -1)  # (B, T, d)
    first = torch.zeros(size, length, dtype=torch.bool, device=frames.device)
    recurrent = model.filter(latents, actions, first, model.initial(size).recurrent)
    prior = model.priors(recurrent, latents, first).log_prob(latents)  # (B, T)
    return (prior + image.view(size, length)).sum(-1)
