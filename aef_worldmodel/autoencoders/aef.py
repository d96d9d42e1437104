"""Autoencoders within flows: the partition AEF and the expanded AEF.

Every autoencoder turns an image into a latent and gives, in nats an image, the two parts of its
log-likelihood that do not depend on the prior over latents (docs/concepts/mathematics.md):

    log p(x) = log p(z)  +  log_det  +  reconstruction_log_prob

`Code.log_det` is the log-determinant of encoder and preprocessing (for a VAE the encoder's entropy
instead of its log-determinant). `reconstruction_log_prob` is the decoder's Gaussian log-density of
the shell (for the others of the whole image). `likelihood` names the sum: "exact" for the partition
AEF, "expanded" (a density in the expanded space, never p(x)), "bound" (the ELBO), or "none".
Paper: Silvestri, Roos, Ambrogioni, "Deterministic training of generative autoencoders using
invertible layers", ICLR 2023, equations of sections 3.1 (partition) and 3.2 (expansion).
"""

import functools
import math

import torch
from torch import Tensor, nn

from aef_worldmodel.autoencoders.base import Autoencoder, Code, Proposal
from aef_worldmodel.autoencoders.networks import Shape
from aef_worldmodel.autoencoders.registry import AUTOENCODERS
from aef_worldmodel.autoencoders.splits import SPLITS, Split, make_split
from aef_worldmodel.nn.distributions import HALF_LOG_2PI, standard_normal_log_prob


class PartitionAEF(Autoencoder):
    """AEF of exact likelihood: the core `c` becomes the latent, the decoder explains the shell `s`.

    `z = mu_e(s) + sigma_e(s) f_c(c)`, `r = (s - mu_d(z)) / sigma_d`; the core flow f_c is the
    identity unless `flow` is given. sigma_d has one value a pixel where the core is made of
    pixels. For other cores it is one number for all, because more would need the shell's
    coordinates.

    Args:
        encoder: see `Autoencoder`.
        decoder: see `Autoencoder`.
        shape: (C, H, W).
        latent_dim: d.
        core: "dct", "center" or "corner", or a split of your own (`splits.BasisSplit`).
        options: of `Autoencoder`.

    Raises:
        ValueError: the split is for other sizes.
    """

    likelihood = "exact"

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        shape: Shape,
        latent_dim: int,
        *,
        core: str | Split = "dct",
        **options,
    ):
        split = make_split(core, shape, latent_dim) if isinstance(core, str) else core
        if (split.core_dim, split.shape) != (latent_dim, tuple(shape)):
            raise ValueError(
                f"a core of {split.core_dim} dimensions in images of shape {split.shape} does not "
                f"fit latent_dim={latent_dim} and images of shape {tuple(shape)}"
            )
        super().__init__(
            encoder, decoder, shape, latent_dim, pixelwise_sigma=split.pixelwise, **options
        )
        self.split = split

    def encode_y(self, y: Tensor, *, sample: bool = True) -> Code:
        """Return `z = mu_e(s) + sigma_e(s) f_c(c)`, one code an image; the target is the shell."""
        core, shell = self.split.split(y)  # (N, d), (N, C, H, W)
        mean, log_scale = self.statistics(shell)
        log_det = log_scale.sum(-1) + self.preprocessing_log_det(y)
        if self.flow is not None:
            core, of_flow = self.flow(core)
            log_det = log_det + of_flow
        return Code(mean + log_scale.exp() * core, log_det, shell)

    def target(self, y: Tensor) -> Tensor:
        """Return the shell of y (N, C, H, W)."""
        return self.split.shell_of(y)

    def log_sigma(self, sigma: Tensor | None = None) -> Tensor:
        """Return the sum of log sigma_d over the dimensions of the shell, () or (N,)."""
        return self.split.shell_sum((self.sigma if sigma is None else sigma).log())

    def gaussian(self, residual: Tensor, sigma: Tensor | None = None) -> Tensor:
        """Return the log-density of the shell's part of the residual (N, C, H, W), nats (N,)."""
        log_sigma, sigma = self.log_sigma(sigma), self.sigma if sigma is None else sigma
        if self.split.pixelwise:
            square = self.split.shell_square(residual / sigma)
        else:
            square = self.split.shell_square(residual) / sigma.view(sigma.shape[:1]).square()
        return -0.5 * square - log_sigma - (self.dims - self.latent_dim) * HALF_LOG_2PI

    def reconstruct_y(self, latent: Tensor) -> Tensor:
        """Return the image of a latent and r = 0, in units of y (N, C, H, W)."""
        return self.inverse(latent, torch.zeros((), dtype=latent.dtype, device=latent.device))

    def inverse(self, latent: Tensor, deviation: Tensor) -> Tensor:
        """Return y of latents (N, d) and deviations r (N, C, H, W): the inverse of the flow."""
        shell = self.split.shell_of(super().inverse(latent, deviation))
        mean, log_scale = self.statistics(shell)
        core = (latent - mean) * (-log_scale).exp()
        if self.flow is not None:
            core = self.flow.inverse(core)[0]
        return self.split.merge(core, shell)

    def forward_flow(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return z (N, d), r (N, C, H, W) in the shell's subspace and log|det d(z, r)/dy| (N,)."""
        code = self.encode_y(y, sample=False)
        mean, sigma = self.distribution(code.latent)
        deviation = self.split.shell_of(code.target - mean) / sigma
        encoder = code.log_det - self.preprocessing_log_det(y)
        return code.latent, deviation, encoder - self.log_sigma(sigma)


AUTOENCODERS.register("aef")(functools.partial(PartitionAEF, core="dct"))
for _core in SPLITS:
    AUTOENCODERS.register(f"aef-{_core}")(functools.partial(PartitionAEF, core=_core))


@AUTOENCODERS.register("aef-linear")
@AUTOENCODERS.register("expanded")
class ExpandedAEF(Autoencoder):
    """AEF in an expanded space: `w = W y`, `z = mu_e(y) + sigma_e(y) f_c(w)`.

    The sum of its parts is `log p(y, w)` at `w = W y`, a density in the expanded space.

    Args:
        encoder: see `Autoencoder`.
        decoder: see `Autoencoder`.
        shape: (C, H, W).
        latent_dim: d.
        expansion: module (N, D) -> (N, d) that takes the place of W.
        options: of `Autoencoder`.
    """

    likelihood = "expanded"

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        shape: Shape,
        latent_dim: int,
        *,
        expansion: nn.Module | None = None,
        **options,
    ):
        super().__init__(encoder, decoder, shape, latent_dim, **options)
        if expansion is None:
            expansion = nn.Linear(self.dims, latent_dim, bias=False)
            nn.init.orthogonal_(expansion.weight)
        self.expansion = expansion

    def expanded(self, y: Tensor) -> Tensor:
        """Return the numbers appended to the image, w = W y (N, d) float32."""
        with torch.autocast(y.device.type, enabled=False):
            return self.expansion(y.flatten(1))

    def posterior(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of z(y, w) for `w ~ N(W y, I)`, each (N, d).

        The mean is the code of y. Only without a core flow.
        """
        mean, log_scale = self.statistics(y)
        return mean + log_scale.exp() * self.expanded(y), log_scale.exp()

    def encode_y(self, y: Tensor, *, sample: bool = True) -> Code:
        """Return `z = mu_e(y) + sigma_e(y) f_c(W y)`, one code an image; the target is y."""
        if self.flow is None:
            latent, scale = self.posterior(y)
            return Code(latent, scale.log().sum(-1) + self.preprocessing_log_det(y), y)
        mean, log_scale = self.statistics(y)
        core, of_flow = self.flow(self.expanded(y))
        log_det = log_scale.sum(-1) + of_flow + self.preprocessing_log_det(y)
        return Code(mean + log_scale.exp() * core, log_det, y)

    def proposal(self, y: Tensor, width: float = 1.0) -> Proposal:
        """Return draws of z(y, w) for `w ~ N(W y, width^2)`, with their log-density."""
        (mean, log_scale), centre = self.statistics(y), self.expanded(y)
        log_std = log_scale + math.log(width)

        def draw(count: int) -> tuple[Tensor, Tensor]:
            noise = torch.randn(count, *mean.shape).to(mean)  # (k, N, d)
            log_q = (standard_normal_log_prob(noise) - log_std).sum(-1)  # (k, N)
            core = centre + width * noise
            if self.flow is not None:
                core, log_det = self.flow(core)
                log_q = log_q - log_det
            return mean + log_scale.exp() * core, log_q

        return draw
