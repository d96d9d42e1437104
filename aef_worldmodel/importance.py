"""K-sample estimates of log p(x) for eyes that do not give it exactly.

    log p(u) >= E[ log 1/K sum_k  p(z_k) p(y | z_k) / q(z_k | y) ] + D log scale,   z_k ~ q

The bound rises with K and converges to log p(u) (Burda, Grosse, Salakhutdinov, "Importance
weighted autoencoders", 2016, equation 8). For the VAE q is the posterior. For the expanded AEF
it is the image in latent space of `w_k ~ N(W y, width^2)`, for which
`p(z_k) p(y | z_k) / q(z_k | y) = p(y, w_k) / q(w_k)`: integrating the expansion away leaves p(y).
"""

import math
from collections.abc import Callable

from torch import Tensor, randn

from aef_worldmodel.autoencoders import VAE, ExpandedAEF
from aef_worldmodel.distributions import standard_normal_log_prob


def importance_log_prob(
    eye: VAE | ExpandedAEF,
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
        eye: a VAE or an expanded AEF.
        y: preprocessed images (N, C, H, W), for instance `eye.preprocess(frames, True)`.
        log_prior: latents (M, d) -> log p(z) in nats (M,).
        samples: K.
        width: standard deviation of the proposal, in units of the encoder's own.
        batch: how many latents are decoded at once, at most (at least N are).

    Raises:
        ValueError: the eye's likelihood is exact already, or samples < 1.
    """
    if eye.likelihood == "exact":
        raise ValueError("the likelihood of a partition AEF is exact already: sum its parts")
    if samples < 1:
        raise ValueError(f"samples={samples} must be at least 1")
    mean, std = eye.posterior(y)
    std, total = width * std, y.new_full((len(y),), -math.inf)
    chunk = max(batch // len(y), 1)
    for begin in range(0, samples, chunk):
        noise = randn(min(chunk, samples - begin), *mean.shape).to(mean)  # (k, N, d)
        log_q = (standard_normal_log_prob(noise) - std.log()).sum(-1)  # (k, N)
        latent = (mean + std * noise).flatten(0, 1)  # (k N, d)
        residual = y.repeat(len(noise), 1, 1, 1) - eye.decoded(latent)
        log_p = log_prior(latent) + eye.gaussian(residual)  # (k N,)
        total = total.logaddexp((log_p.view_as(log_q) - log_q).logsumexp(0))
    return total - math.log(samples) + eye.dims * math.log(eye.scale)
