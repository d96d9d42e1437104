"""Image models: an autoencoder and a prior over its latents are a density of images.

    log p(u) = log N(z0) + log|det dz0/dz|  +  log_det  +  log p(target | z)        z0 = prior(z)

The autoencoder (aef_worldmodel/autoencoders) turns an image into z and gives the last two terms;
the prior is N(0, I) or a flow to it. Paper: Silvestri, Roos, Ambrogioni, ICLR 2023, sections 3.1
and 3.2. World models use the same autoencoders under a recurrent prior.
"""

import math

import torch
from torch import Tensor, nn

from aef_worldmodel.autoencoders.base import Autoencoder
from aef_worldmodel.image_models.importance import importance_log_prob
from aef_worldmodel.nn.distributions import standard_normal_log_prob
from aef_worldmodel.nn.flows import Flow

SAMPLES = 64  # K of `log_prob` where it is a bound
SIGMA_RATE = 30.0  # learning rate of the decoder's standard deviation, in units of the others'
WIDTHS = (0.1, 0.2, 0.35, 0.6, 1.0, 1.5, 2.0)  # proposals that `fit_width` tries


class ImageModel(nn.Module):
    """Density p(x) of uint8 images (C, H, W), made of any autoencoder; see `zoo` for short names.

    Args:
        autoencoder: an `Autoencoder`.
        prior: a flow from latents to N(0, I); None for N(0, I) itself.
        samples: K of the objective; above 1 it is the importance-weighted bound (IWAE).
        noise: standard deviation of Gaussian noise on the encoder's input in training, in units
            of y; above 0 the model learns to remove it (denoising).

    Raises:
        ValueError: samples above 1 for an autoencoder without a bound, or together with noise.
    """

    width: Tensor  # () standard deviation of proposals, in units of the encoder's own

    def __init__(
        self,
        autoencoder: Autoencoder,
        prior: Flow | None = None,
        *,
        samples: int = 1,
        noise: float = 0.0,
    ):
        super().__init__()
        if samples < 1 or noise < 0:
            raise ValueError(f"samples={samples} must be at least 1 and noise={noise} at least 0")
        if samples > 1 and (noise or autoencoder.likelihood not in ("bound", "expanded")):
            raise ValueError(
                f"samples={samples} is for a VAE or an expanded AEF without noise: take samples=1"
            )
        self.autoencoder, self.prior, self.samples, self.noise = autoencoder, prior, samples, noise
        self.register_buffer("width", torch.ones(()))

    @property
    def likelihood(self) -> str:
        """Kind of `log_prob`: "exact", "bound" (from below, K samples) or "none"."""
        return {"expanded": "bound"}.get(self.autoencoder.likelihood, self.autoencoder.likelihood)

    def initialise(self, images: Tensor) -> None:
        """Start preprocessing and the decoder's standard deviation from images (N, C, H, W) uint8.

        Call it before training.
        """
        self.autoencoder.set_mean(images)
        y = self.autoencoder.preprocess(images, dequantise=True)
        self.autoencoder.set_sigma(self.autoencoder.target(y - y.mean(0)))

    def groups(self, rate: float) -> list[dict]:
        """Return parameter groups for an optimiser.

        The decoder's standard deviation, which moves far and upsets no network, learns
        `SIGMA_RATE` times as fast as the rest.
        """
        sigma = [p for name, p in self.named_parameters() if name == "autoencoder.raw_sigma"]
        rest = [p for name, p in self.named_parameters() if name != "autoencoder.raw_sigma"]
        fast = {"params": sigma, "lr": SIGMA_RATE * rate}
        return [{"params": rest, "lr": rate}, *([fast] if sigma else [])]

    # -- densities -----------------------------------------------------------------------

    def log_prior(self, latent: Tensor) -> Tensor:
        """Return log p(z) of latents (N, d), nats (N,)."""
        if self.prior is None:
            return standard_normal_log_prob(latent).sum(-1)
        noise, log_det = self.prior(latent)
        return standard_normal_log_prob(noise).sum(-1) + log_det

    def objective(self, images: Tensor) -> Tensor:
        """Return the objective of training, nats an image (N,), of newly dequantised images.

        It is log p(u); for an expanded AEF log p(u, w), for a VAE the ELBO or K-sample bound, for
        a plain autoencoder log p(u | z). With `noise` the encoder sees y + noise and the decoder
        explains y.
        """
        y = self.autoencoder.preprocess(images, dequantise=True)
        if self.samples > 1:
            return importance_log_prob(self.autoencoder, y, self.log_prior, self.samples)
        return self._sum(y, y + self.noise * torch.randn_like(y) if self.noise else y)

    def _sum(self, y: Tensor, seen: Tensor, sample: bool = True) -> Tensor:
        """Return the objective when the encoder sees `seen` and the decoder explains y."""
        code = self.autoencoder.encode_y(seen, sample=sample)
        if seen is not y:
            preprocessing = self.autoencoder.preprocessing_log_det
            log_det = code.log_det + (preprocessing(y) - preprocessing(seen))
            code = code._replace(target=self.autoencoder.target(y), log_det=log_det)
        pixels = self.autoencoder.reconstruction_log_prob(code)
        if self.likelihood == "none":
            return pixels + code.log_det + self.autoencoder.preprocessing_log_det(y)
        return self.log_prior(code.latent) + code.log_det + pixels

    def loss(self, images: Tensor) -> Tensor:
        """Return the negative objective of a batch in bits a dimension, ()."""
        return self.to_bits(self.objective(images)).mean()

    def log_prob(
        self, images: Tensor, samples: int | None = None, *, dequantise: bool = True
    ) -> Tensor:
        """Return log p(u) of dequantised images, nats (N,); `likelihood` names its kind.

        Args:
            images: (N, C, H, W) uint8; each call draws new noise.
            samples: K of a bound; None for 64.
            dequantise: without it, return the density in the middle of the grey levels.

        Raises:
            ValueError: the model has no likelihood, or is exact and needs no samples.
        """
        y = self.autoencoder.preprocess(images, dequantise)
        if self.likelihood != "exact":
            width = self.width.item()
            return importance_log_prob(
                self.autoencoder, y, self.log_prior, samples or SAMPLES, width=width
            )
        if samples is not None:
            raise ValueError(f"samples={samples}: this likelihood is exact; leave them out")
        return self._sum(y, y, sample=False)

    def bits_per_dim(self, images: Tensor, samples: int | None = None) -> Tensor:
        """Return `8 - log2 p(u) / D`, (N,): an upper bound on bits a value of the integer image.

        Where `likelihood` is "bound" it is an upper bound for that reason too. Arguments as
        `log_prob`.
        """
        return self.to_bits(self.log_prob(images, samples))

    def to_bits(self, nats: Tensor) -> Tensor:
        """Return log-densities in nats as bits a dimension, of the same shape."""
        return 8 - nats / (self.autoencoder.dims * math.log(2))

    @torch.no_grad()
    def fit_width(self, images: Tensor, samples: int = 8) -> float:
        """Set the width of proposals that gives the highest bound on held-out images.

        `log_prob` uses it from then on. Returns the width, in units of the encoder's own; 1 where
        no bound is used.
        """
        if self.likelihood == "bound":
            y = self.autoencoder.preprocess(images, dequantise=True)
            bounds = [
                importance_log_prob(self.autoencoder, y, self.log_prior, samples, width=w).mean()
                for w in WIDTHS
            ]
            self.width.fill_(WIDTHS[int(torch.stack(bounds).argmax())])
        return self.width.item()

    # -- images --------------------------------------------------------------------------

    def encode(self, images: Tensor) -> Tensor:
        """Return the latents (N, d) of images (N, C, H, W) uint8."""
        return self.autoencoder.encode(images).latent

    def decode(self, latent: Tensor) -> Tensor:
        """Return the mean images (N, C, H, W) of latents (N, d), float in [0, 1]."""
        return self.autoencoder.decode(latent)

    def reconstruct(self, images: Tensor) -> Tensor:
        """Return the reconstructions of images (N, C, H, W) uint8, float in [0, 1]."""
        return self.decode(self.encode(images))

    def to_noise(self, latent: Tensor) -> Tensor:
        """Return z0 (N, d) of latents (N, d): the space where the prior is N(0, I)."""
        return latent if self.prior is None else self.prior(latent)[0]

    def from_noise(self, noise: Tensor) -> Tensor:
        """Return the latents (N, d) of z0 (N, d)."""
        return noise if self.prior is None else self.prior.inverse(noise)[0]

    @torch.no_grad()
    def sample(self, count: int, temperature: float = 1.0, deviation: float = 0.0) -> Tensor:
        """Return new images (N, C, H, W) float in [0, 1].

        Args:
            count: N.
            temperature: standard deviation of z0.
            deviation: standard deviation of r, the decoder's noise; 0 gives mean images, 1 with
                temperature 1 gives samples of p(u).

        Raises:
            ValueError: a plain autoencoder, which has no prior.
        """
        autoencoder = self.autoencoder
        if self.likelihood == "none":
            raise ValueError("a plain autoencoder has no prior to sample from: take an AEF or VAE")
        noise = torch.randn(
            count,
            autoencoder.latent_dim,
            device=autoencoder.mean.device,
            dtype=autoencoder.mean.dtype,
        )
        latent = self.from_noise(temperature * noise)
        if not deviation:
            return self.decode(latent)
        r = deviation * torch.randn(
            count, *autoencoder.shape, device=latent.device, dtype=latent.dtype
        )
        return autoencoder.postprocess(autoencoder.inverse(latent, r)).clamp(0, 1)

    @torch.no_grad()
    def interpolate(self, first: Tensor, last: Tensor, steps: int = 8) -> Tensor:
        """Return paths between pairs of images (N, C, H, W) uint8, straight in z0, ends included.

        Returns (N, steps, C, H, W) float in [0, 1].
        """
        ends = [self.to_noise(self.encode(images)) for images in (first, last)]  # (N, d) each
        weight = torch.linspace(0, 1, steps, device=ends[0].device)[:, None]
        path = torch.lerp(ends[0][:, None], ends[1][:, None], weight)  # (N, steps, d)
        return self.decode(self.from_noise(path.flatten(0, 1))).unflatten(0, (-1, steps))
