"""Still images: an eye and a prior over its latents make one density of an image.

    log p(u) = log N(z0) + log|det dz0/dz|  +  volume  +  pixels            z0 = prior(z)

The eye (autoencoders.py) turns an image into z and gives the last two terms; the prior is N(0, I)
or a flow to it. Paper: Silvestri, Roos, Ambrogioni, ICLR 2023, sections 3.1 and 3.2. The world
model uses the same eyes under a recurrent prior.
"""

import math

import torch
from torch import Tensor, nn

from aef_worldmodel.distributions import standard_normal_log_prob
from aef_worldmodel.eye import Autoencoder
from aef_worldmodel.flows import Flow
from aef_worldmodel.importance import importance_log_prob

SAMPLES = 64  # K of `log_prob` where it is a bound
SIGMA_RATE = 30.0  # of the decoder's learned standard deviation, times the others'
WIDTHS = (0.1, 0.2, 0.35, 0.6, 1.0, 1.5, 2.0)  # of proposals, that `fit_width` tries


class ImageModel(nn.Module):
    """p(x) of images (C, H, W) of uint8, on the basis of any eye.

    `family.py` has short constructors.

    Args:
        eye: an `Autoencoder`.
        prior: a flow from latents to N(0, I); None for N(0, I) itself.
        samples: K of the objective; above 1 it is the importance-weighted bound (IWAE).
        noise: standard deviation of the Gaussian noise the encoder sees in training, in units of
            y; above 0 the model learns to take it away (denoising).

    Raises:
        ValueError: samples above 1 for an eye without a bound, or together with noise.
    """

    def __init__(
        self, eye: Autoencoder, prior: Flow | None = None, *, samples: int = 1, noise: float = 0.0
    ):
        super().__init__()
        if samples < 1 or noise < 0:
            raise ValueError(f"samples={samples}, noise={noise}; at least 1 and 0 are needed")
        if samples > 1 and (noise or eye.likelihood not in ("bound", "expanded")):
            raise ValueError(
                f"samples={samples} is for a VAE or an expanded AEF without noise; take samples=1"
            )
        self.eye, self.prior, self.samples, self.noise = eye, prior, samples, noise
        self.register_buffer("width", torch.ones(()))

    @property
    def likelihood(self) -> str:
        """What `log_prob` is: "exact", "bound" (from below, K samples) or "none"."""
        return {"expanded": "bound"}.get(self.eye.likelihood, self.eye.likelihood)

    def initialise(self, frames: Tensor) -> None:
        """Lets preprocessing and the decoder's standard deviation start from images (N, C, H, W)
        uint8; call it before training."""
        self.eye.set_mean(frames)
        y = self.eye.preprocess(frames, dequantise=True)
        self.eye.set_sigma(self.eye.target(y - y.mean(0)))

    def groups(self, rate: float) -> list[dict]:
        """Parameters for an optimiser: the decoder's standard deviation, which has a long way to
        go and no network to upset, learns `SIGMA_RATE` times as fast as the rest."""
        sigma = [p for name, p in self.named_parameters() if name == "eye.raw_sigma"]
        rest = [p for name, p in self.named_parameters() if name != "eye.raw_sigma"]
        fast = {"params": sigma, "lr": SIGMA_RATE * rate}
        return [{"params": rest, "lr": rate}, *([fast] if sigma else [])]

    # -- densities -----------------------------------------------------------------------

    def log_prior(self, latent: Tensor) -> Tensor:
        """log p(z) of latents (N, d), nats (N,)."""
        if self.prior is None:
            return standard_normal_log_prob(latent).sum(-1)
        noise, log_det = self.prior(latent)
        return standard_normal_log_prob(noise).sum(-1) + log_det

    def objective(self, frames: Tensor) -> Tensor:
        """What training maximises, nats an image (N,), of newly dequantised images: log p(u), for
        an expanded AEF log p(u, w), for a VAE the ELBO or K-sample bound, for a plain autoencoder
        log p(u | z). With `noise` the encoder sees y + noise and the decoder explains y."""
        y = self.eye.preprocess(frames, dequantise=True)
        if self.samples > 1:
            return importance_log_prob(self.eye, y, self.log_prior, self.samples)
        return self._sum(y, y + self.noise * torch.randn_like(y) if self.noise else y)

    def _sum(self, y: Tensor, seen: Tensor) -> Tensor:
        """Prior, volume and pixels when the encoder sees `seen` and the decoder explains y."""
        code = self.eye.encode_y(seen)
        if seen is not y:
            log_dets = self.eye.preprocessing_log_det(y) - self.eye.preprocessing_log_det(seen)
            code = code._replace(target=self.eye.target(y), volume=code.volume + log_dets)
        pixels = self.eye.pixels(code)
        if self.likelihood == "none":
            return pixels + self.eye.preprocessing_log_det(y)
        return self.log_prior(code.latent) + code.volume + pixels

    def loss(self, frames: Tensor) -> Tensor:
        """Negative objective of a batch in bits a dimension, ()."""
        return self._bits(self.objective(frames)).mean()

    def log_prob(self, frames: Tensor, samples: int | None = None) -> Tensor:
        """log p(u) of dequantised images, nats (N,); `likelihood` says what the number is.

        Args:
            frames: (N, C, H, W) uint8; noise is drawn anew at every call.
            samples: K of a bound, 64 unless told.

        Raises:
            ValueError: the model has no likelihood, or is exact and needs no samples.
        """
        y = self.eye.preprocess(frames, dequantise=True)
        if self.likelihood != "exact":
            width = self.width.item()
            return importance_log_prob(self.eye, y, self.log_prior, samples or SAMPLES, width=width)
        if samples is not None:
            raise ValueError(f"samples={samples}: this likelihood is exact, leave them out")
        return self._sum(y, y)

    def bits_per_dim(self, frames: Tensor, samples: int | None = None) -> Tensor:
        """`8 - log2 p(u) / D`, (N,): bits a colour value of the integer image, at most; an upper
        bound where `likelihood` is a bound. Arguments as `log_prob`."""
        return self._bits(self.log_prob(frames, samples))

    def _bits(self, nats: Tensor) -> Tensor:
        return 8 - nats / (self.eye.dims * math.log(2))

    @torch.no_grad()
    def fit_width(self, frames: Tensor, samples: int = 8) -> float:
        """Chooses how wide proposals are by the bound of held-out images, and keeps it for
        `log_prob`. Returns the width, in units of the encoder's own; 1 where no bound is used."""
        if self.likelihood == "bound":
            y = self.eye.preprocess(frames, dequantise=True)
            found = [
                importance_log_prob(self.eye, y, self.log_prior, samples, width=w).mean()
                for w in WIDTHS
            ]
            self.width.fill_(WIDTHS[int(torch.stack(found).argmax())])
        return self.width.item()

    # -- images --------------------------------------------------------------------------

    def encode(self, frames: Tensor) -> Tensor:
        """Images (N, C, H, W) uint8 -> their one latent, (N, d)."""
        return self.eye.encode(frames).latent

    def decode(self, latent: Tensor) -> Tensor:
        """Latents (N, d) -> mean images (N, C, H, W) float in [0, 1]."""
        return self.eye.decode(latent)

    def reconstruct(self, frames: Tensor) -> Tensor:
        """Images (N, C, H, W) uint8 -> what their latents hold of them, float in [0, 1]."""
        return self.decode(self.encode(frames))

    def to_noise(self, latent: Tensor) -> Tensor:
        """Latents (N, d) -> z0 (N, d), where the prior is N(0, I)."""
        return latent if self.prior is None else self.prior(latent)[0]

    def from_noise(self, noise: Tensor) -> Tensor:
        """Inverse of `to_noise`."""
        return noise if self.prior is None else self.prior.inverse(noise)[0]

    @torch.no_grad()
    def sample(self, count: int, temperature: float = 1.0, deviation: float = 0.0) -> Tensor:
        """New images (N, C, H, W) float in [0, 1].

        Args:
            count: N.
            temperature: standard deviation of z0.
            deviation: standard deviation of r, what the decoder leaves open; 0 gives mean images,
                1 with temperature 1 gives samples of p(u).

        Raises:
            ValueError: a plain autoencoder, which has no prior.
        """
        eye = self.eye
        if self.likelihood == "none":
            raise ValueError("a plain autoencoder has no prior to sample from: take an AEF or VAE")
        noise = torch.randn(count, eye.latent_dim, device=eye.mean.device, dtype=eye.mean.dtype)
        latent = self.from_noise(temperature * noise)
        if not deviation:
            return self.decode(latent)
        r = deviation * torch.randn(count, *eye.shape, device=latent.device, dtype=latent.dtype)
        return eye.postprocess(eye.inverse(latent, r)).clamp(0, 1)

    @torch.no_grad()
    def interpolate(self, first: Tensor, last: Tensor, steps: int = 8) -> Tensor:
        """Ways between pairs of images (N, C, H, W) uint8, straight in z0, ends included:
        (N, steps, C, H, W) float in [0, 1]."""
        ends = [self.to_noise(self.encode(frames)) for frames in (first, last)]  # (N, d) each
        weight = torch.linspace(0, 1, steps, device=ends[0].device)[:, None]
        path = torch.lerp(ends[0][:, None], ends[1][:, None], weight)  # (N, steps, d)
        return self.decode(self.from_noise(path.flatten(0, 1))).unflatten(0, (-1, steps))
