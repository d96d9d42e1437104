"""K-sample estimates of log p(x) for autoencoders that do not give it exactly.

    log p(u) >= E[ log 1/K sum_k  p(z_k) p(y | z_k) / q(z_k | y) ] + D log scale,   z_k ~ q

The bound rises with K and converges to log p(u) (Burda, Grosse, Salakhutdinov, "Importance
weighted autoencoders", 2016, equation 8). For the VAE q is the posterior. For the expanded AEF
q is the image in latent space of `w_k ~ N(W y, width^2)`, for which
`p(z_k) p(y | z_k) / q(z_k | y) = p(y, w_k) / q(w_k)`: integrating the expansion away leaves p(y).
"""

import math
from collections.abc import Callable

from torch import Tensor

from aef_worldmodel.autoencoders.base import Autoencoder


def importance_log_prob(
    autoencoder: Autoencoder,
    y: Tensor,
    log_prior: Callable[[Tensor], Tensor],
    samples: int,
    *,
    width: float = 1.0,
    batch: int = 4096,
) -> Tensor:
    """Return a K-sample lower bound on log p(u), nats an image (N,), in expectation.

    The bound is exact as K grows, and differentiable: its mean over a batch is the objective of an
    IWAE. Use `torch.no_grad()` to measure with many samples.

    Args:
        autoencoder: a variational autoencoder or an expanded AEF.
        y: preprocessed images (N, C, H, W), for instance `autoencoder.preprocess(images, True)`.
        log_prior: latents (M, d) -> log p(z) in nats (M,).
        samples: K.
        width: standard deviation of the proposal, in units of the encoder's own.
        batch: latents decoded at once, at least N.

    Raises:
        ValueError: the likelihood of the autoencoder is exact or does not exist, or samples < 1.
    """
    if autoencoder.likelihood == "exact":
        raise ValueError("the likelihood of a partition AEF is exact already: sum its parts")
    if autoencoder.likelihood == "none":
        raise ValueError("a plain autoencoder has no likelihood: take an AEF or a VAE")
    if samples < 1:
        raise ValueError(f"samples={samples} must be at least 1")
    draw, total = autoencoder.proposal(y, width), y.new_full((len(y),), -math.inf)
    chunk = max(batch // len(y), 1)
    for begin in range(0, samples, chunk):
        latent, log_q = draw(min(chunk, samples - begin))  # (k, N, d), (k, N)
        latent, repeated = latent.flatten(0, 1), y.repeat(len(log_q), 1, 1, 1)  # (k N, ...)
        log_p = log_prior(latent) + autoencoder.decoder_log_prob(latent, repeated)  # (k N,)
        total = total.logaddexp((log_p.view_as(log_q) - log_q).logsumexp(0))
    return total - math.log(samples) + autoencoder.preprocessing_log_det(y)
