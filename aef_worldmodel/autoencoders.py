"""The eyes: partition AEF, expanded AEF and their siblings, behind one interface.

All turn a frame into a latent and give, in nats an image, the two parts of its
log-likelihood that do not depend on the prior over latents (docs/mathematics.md):

    log p(x) = log p(z)  +  volume  +  pixels

`volume` is the encoder's log-determinant (its entropy for the VAE) plus the preprocessing's, and
`pixels` the decoder's Gaussian log-density of the shell (of the whole image for the others).
What the sum is, is named by `likelihood`: "exact" for the partition AEF, "expanded" (a density
in the expanded space, never p(x)), "bound" (the ELBO), or "none" for the plain autoencoder.
Paper: Silvestri, Roos, Ambrogioni, "Deterministic training of generative autoencoders using
invertible layers", ICLR 2023, equations of sections 3.1 (partition) and 3.2 (expansion).
"""

import math

import torch
from torch import Tensor, nn

from aef_worldmodel.eye import HALF_LOG_2PI, Autoencoder, Code, Proposal, gaussian_log_density
from aef_worldmodel.splits import make_split


class PartitionAEF(Autoencoder):
    """Exact likelihood: the core `c` becomes the latent, the shell `s` is explained by it.

    `z = mu_e(s) + sigma_e(s) f_c(c)`, `r = (s - mu_d(z)) / sigma_d`; the core flow f_c is the
    identity unless `flow` is given. `core` is the name of a split or a split of your own
    (`splits.BasisSplit`). sigma_d has one value a pixel where the core is made of pixels, one for
    all where it is not: any other would need the shell's coordinates.
    Raises ValueError if the split is of other sizes.
    """

    likelihood = "exact"

    def __init__(self, encoder, decoder, shape, latent_dim, *, core="dct", **options):
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
        """`z = mu_e(s) + sigma_e(s) f_c(c)`, one code an image; the target is the shell."""
        core, shell = self.split.split(y)  # (N, d), (N, C, H, W)
        mean, log_scale = self.statistics(shell)
        volume = log_scale.sum(-1) + self.preprocessing_log_det(y)
        if self.flow is not None:
            core, log_det = self.flow(core)
            volume = volume + log_det
        return Code(mean + log_scale.exp() * core, volume, shell)

    def target(self, y: Tensor) -> Tensor:
        """The shell of y (N, C, H, W)."""
        return self.split.shell_of(y)

    def log_sigma(self, sigma: Tensor | None = None) -> Tensor:
        """Sum of log sigma_d over the dimensions of the shell, () or (N,)."""
        sigma = self.sigma if sigma is None else sigma
        if not self.split.pixelwise:
            return (self.dims - self.latent_dim) * sigma.log().view(sigma.shape[:1])
        masked = sigma.log() * self.split.mask
        return masked.flatten(1).sum(1) if sigma.dim() == 4 else masked.sum()

    def gaussian(self, residual: Tensor, sigma: Tensor | None = None) -> Tensor:
        """Log-density of the shell's part of the residual (N, C, H, W), nats (N,)."""
        log_sigma, sigma = self.log_sigma(sigma), self.sigma if sigma is None else sigma
        if self.split.pixelwise:
            square = self.split.shell_square(residual / sigma)
        else:
            square = self.split.shell_square(residual) / sigma.view(sigma.shape[:1]).square()
        return -0.5 * square - log_sigma - (self.dims - self.latent_dim) * HALF_LOG_2PI

    def reconstruct_y(self, latent: Tensor) -> Tensor:
        """The image of a latent and r = 0, in units of y (N, C, H, W)."""
        return self.inverse(latent, torch.zeros((), dtype=latent.dtype, device=latent.device))

    def inverse(self, latent: Tensor, deviation: Tensor) -> Tensor:
        """Latent (N, d) and standardised deviations r (N, C, H, W) -> y: the flow's inverse."""
        shell = self.split.shell_of(super().inverse(latent, deviation))
        mean, log_scale = self.statistics(shell)
        core = (latent - mean) * (-log_scale).exp()
        if self.flow is not None:
            core = self.flow.inverse(core)[0]
        return self.split.merge(core, shell)

    def forward_flow(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """y -> z (N, d), r (N, C, H, W) in the shell's subspace, log|det d(z, r)/dy| (N,)."""
        code = self.encode_y(y)
        mean, sigma = self.distribution(code.latent)
        deviation = self.split.shell_of(code.target - mean) / sigma
        encoder = code.volume - self.preprocessing_log_det(y)
        return code.latent, deviation, encoder - self.log_sigma(sigma)


class ExpandedAEF(Autoencoder):
    """Drop-in AEF in an expanded space: `w = W y`, `z = mu_e(y) + sigma_e(y) f_c(w)`.

    The sum of its parts is `log p(y, w)` at `w = W y`, a density in the expanded space.
    `expansion` takes the place of W: any module (N, D) -> (N, d).
    """

    likelihood = "expanded"

    def __init__(self, encoder, decoder, shape, latent_dim, *, expansion=None, **options):
        super().__init__(encoder, decoder, shape, latent_dim, **options)
        if expansion is None:
            expansion = nn.Linear(self.dims, latent_dim, bias=False)
            nn.init.orthogonal_(expansion.weight)
        self.expansion = expansion

    def expanded(self, y: Tensor) -> Tensor:
        """The numbers that are appended to the image, w = W y (N, d) float32."""
        with torch.autocast(y.device.type, enabled=False):
            return self.expansion(y.flatten(1))

    def posterior(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Code of y and sigma_e, each (N, d): mean and standard deviation of z = z(y, w) for
        `w ~ N(W y, I)`. Without a core flow alone."""
        mean, log_scale = self.statistics(y)
        return mean + log_scale.exp() * self.expanded(y), log_scale.exp()

    def encode_y(self, y: Tensor, *, sample: bool = True) -> Code:
        """`z = mu_e(y) + sigma_e(y) f_c(W y)`, one code an image; the target is all of it."""
        if self.flow is None:
            latent, scale = self.posterior(y)
            return Code(latent, scale.log().sum(-1) + self.preprocessing_log_det(y), y)
        mean, log_scale = self.statistics(y)
        core, log_det = self.flow(self.expanded(y))
        volume = log_scale.sum(-1) + log_det + self.preprocessing_log_det(y)
        return Code(mean + log_scale.exp() * core, volume, y)

    def proposal(self, y: Tensor, width: float = 1.0) -> Proposal:
        """Draws z(y, w) for `w ~ N(W y, width^2)`, with their log-density: see importance.py."""
        (mean, log_scale), centre = self.statistics(y), self.expanded(y)

        def draw(count: int) -> tuple[Tensor, Tensor]:
            noise = torch.randn(count, *mean.shape).to(mean)  # (k, N, d)
            log_q = gaussian_log_density(noise, log_scale + math.log(width))  # (k, N)
            core = centre + width * noise
            if self.flow is not None:
                core, log_det = self.flow(core)
                log_q = log_q - log_det
            return mean + log_scale.exp() * core, log_q

        return draw


class VariationalAutoencoder(Autoencoder):
    """The same networks, `z ~ N(mu_e(y), sigma_e(y))`, trained on the ELBO.

    With a `flow`, z is that draw seen through its inverse given (mu_e, log sigma_e): a posterior
    of any shape (Kingma et al., "Improving variational inference with inverse autoregressive flow",
    2016, section 3, with the encoder's statistics as its context).
    """

    likelihood = "bound"

    def posterior(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of q(z | y) before the flow, each (N, d)."""
        mean, log_scale = self.statistics(y)
        return mean, log_scale.exp()

    def encode_y(self, y: Tensor, *, sample: bool = True) -> Code:
        """A draw from q(z | y), or the image of its mean without `sample`; `volume` is q's
        entropy, estimated from the draw as far as it comes of the flow."""
        mean, std = self.posterior(y)
        entropy = std.log().sum(-1) + self.latent_dim * (0.5 + HALF_LOG_2PI)
        latent = mean + std * torch.randn_like(mean) if sample else mean
        if self.flow is not None:
            latent, log_det = self.flow.inverse(latent, torch.cat([mean, std.log()], -1))
            entropy = entropy + log_det
        return Code(latent, entropy + self.preprocessing_log_det(y), y)

    def proposal(self, y: Tensor, width: float = 1.0) -> Proposal:
        """Draws from q(z | y), widened by `width` before the flow, with their log-density."""
        mean, std = self.posterior(y)
        log_std = std.log()

        def draw(count: int) -> tuple[Tensor, Tensor]:
            noise = torch.randn(count, *mean.shape).to(mean)  # (k, N, d)
            log_q = gaussian_log_density(noise, log_std + math.log(width))  # (k, N)
            latent = mean + width * std * noise
            if self.flow is not None:
                context = torch.cat([mean, log_std], -1).expand(count, -1, -1)  # (k, N, 2d)
                latent, log_det = self.flow.inverse(latent, context)
                log_q = log_q - log_det
            return latent, log_q

        return draw


class PlainAutoencoder(Autoencoder):
    """The same networks without a likelihood: `z = mu_e(y)`, trained on `pixels` alone. The
    encoder's log-scale is not used."""

    likelihood = "none"

    def encode_y(self, y: Tensor, *, sample: bool = True) -> Code:
        """`z = mu_e(y)`; `volume` is zero."""
        mean, _ = self.statistics(y)
        return Code(mean, mean.new_zeros(len(mean)), y)
