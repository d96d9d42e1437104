"""The common ground of all eyes: preprocessing, dequantisation, the Gaussian decoder."""

import abc
import math
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
LOG_SCALE_BOUND = 4.0  # |log sigma_e| < 4, smoothly

Variance = Literal["independent", "fixed", "dependent"]
Proposal = Callable[[int], tuple[Tensor, Tensor]]  # k -> latents (k, N, d), log q (k, N)


class Code(NamedTuple):
    """A batch of encoded frames: what the decoder and the likelihood need."""

    latent: Tensor  # (N, d) float32
    volume: Tensor  # (N,) nats: log-determinants (or the entropy) up to and including the encoder
    target: Tensor  # (N, C, H, W) what the decoder must explain, in preprocessed units


def uniform_noise(like: Tensor) -> Tensor:
    """U[0, 1) in steps of 1/256, offset by half a step: eight values from one 64-bit draw, a
    fifth of the time of `torch.rand` on a processor. Same shape and dtype as `like`."""
    words = torch.empty((like.numel() + 7) // 8, dtype=torch.int64, device=like.device)
    levels = words.random_(-(2**63), None).view(torch.uint8)[: like.numel()].view(like.shape)
    return levels.to(like.dtype).add_(0.5).mul_(1 / 256)


class Autoencoder(nn.Module, abc.ABC):
    """Common ground: preprocessing, dequantisation, decoder variance.

    `y = scale (u - mean)` with `u = (x + e) / 256`: subtracts a mean image and scales, a
    bijection whose log-determinant `D log scale` is counted in `volume`. A `bijection`
    (preprocessing.py) takes its place where one is given; `y = g(u)`, counted as well.

    Args:
        encoder: image (N, C, H, W) -> mean and raw log-scale of a latent, each (N, d).
        decoder: latent (N, d) -> mean image (N, C, H, W); under variance="dependent" a pair of
            such images, mean and raw standard deviation.
        shape: (C, H, W).
        latent_dim: d.
        scale: of preprocessing; without a `bijection` alone.
        sigma_floor: the least decoder standard deviation, in units of y.
        variance: of the decoder. "independent" learns sigma_d = floor + softplus for every
            dimension, "dependent" lets the decoder say it, "fixed" is sigma_d = sigma_floor.
        pixelwise_sigma: whether dimensions differ in sigma_d; else all of an image share one.
        log_scale_bound: b of `log sigma_e = b tanh(raw / b)`; math.inf for no bound.
        bijection: preprocessing other than the affine one.
        flow: a `flows.Flow` of d dimensions: on the core of an AEF, or on the posterior of a
            variational autoencoder (then with 2d numbers of context).

    Raises:
        ValueError: an unknown variance, or one that cannot be as small as its floor.
    """

    likelihood: str

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        shape: tuple[int, int, int],
        latent_dim: int,
        *,
        scale: float = 4.0,
        sigma_floor: float = 0.1,
        variance: Variance = "independent",
        pixelwise_sigma: bool = True,
        log_scale_bound: float = LOG_SCALE_BOUND,
        bijection: nn.Module | None = None,
        flow: nn.Module | None = None,
    ):
        super().__init__()
        check_variance(variance, sigma_floor)
        self.encoder, self.decoder, self.bijection, self.flow = encoder, decoder, bijection, flow
        self.shape, self.latent_dim, self.scale = tuple(shape), latent_dim, scale
        self.dims, self.sigma_floor = math.prod(shape), sigma_floor
        self.variance, self.pixelwise_sigma = variance, pixelwise_sigma
        self.log_scale_bound = log_scale_bound
        self.register_buffer("mean", torch.full(shape, 0.5))
        if variance == "independent":
            self.raw_sigma = nn.Parameter(torch.full(shape if pixelwise_sigma else (), -2.0))

    # -- preprocessing -------------------------------------------------------------------

    def set_mean(self, frames: Tensor) -> None:
        """Takes the mean image of `frames` (N, C, H, W) uint8 as the centre of preprocessing;
        a `bijection` takes from them what it starts with."""
        if self.bijection is not None:
            x = frames.to(self.mean.dtype)
            return self.bijection.initialise(x.add_(uniform_noise(x)).mul_(1 / 256))
        self.mean.copy_((frames.float().mean(0) + 0.5) / 256)

    def preprocess(self, frames: Tensor, dequantise: bool) -> Tensor:
        """Frames (N, C, H, W) uint8 -> y, with uniform noise, or the bin's centre without."""
        if frames.dtype != torch.uint8 or tuple(frames.shape[1:]) != self.shape:
            raise ValueError(
                f"frames of shape {tuple(frames.shape)} and dtype {frames.dtype}; "
                f"expected (N, {', '.join(map(str, self.shape))}) uint8"
            )
        x = frames.to(self.mean.dtype)
        noise = uniform_noise(x) if dequantise else 0.5
        if self.bijection is not None:
            return self.bijection(x.add_(noise).mul_(1 / 256))
        return x.add_(noise).mul_(self.scale / 256).sub_(self.mean * self.scale)

    def postprocess(self, y: Tensor) -> Tensor:
        """Inverse of `preprocess`: y (N, C, H, W) -> u in about [0, 1]."""
        if self.bijection is not None:
            return self.bijection.inverse(y)
        return y / self.scale + self.mean

    def preprocessing_log_det(self, y: Tensor) -> Tensor | float:
        """log|det dy/du| in nats at y (N, C, H, W): (N,), or one number for all."""
        if self.bijection is not None:
            return self.bijection.log_det(y)
        return self.dims * math.log(self.scale)

    # -- the Gaussian decoder ------------------------------------------------------------

    @property
    def sigma(self) -> Tensor:
        """Decoder standard deviation in units of y: () or (C, H, W), where no latent is asked."""
        if self.variance == "fixed":
            return self.mean.new_tensor(self.sigma_floor)
        return self.sigma_floor + F.softplus(self.raw_sigma)

    @torch.no_grad()
    def set_sigma(self, residual: Tensor) -> None:
        """Starts a learned sigma_d, alike in all dimensions, at the spread of `residual`
        (N, C, H, W) in units of y; changes nothing under another variance."""
        if self.variance == "independent":
            excess = (residual.square().mean().sqrt() - self.sigma_floor).clamp(min=1e-3)
            self.raw_sigma.fill_(excess.expm1().log())

    def statistics(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Encoder mean and bounded log-scale, float32, each (N, d)."""
        mean, raw = self.encoder(image)
        mean, raw, bound = mean.to(self.mean.dtype), raw.to(self.mean.dtype), self.log_scale_bound
        return mean, raw if math.isinf(bound) else bound * torch.tanh(raw / bound)

    def decoded(self, latent: Tensor) -> Tensor:
        """Decoder mean in units of y, float32 (N, C, H, W)."""
        out = self.decoder(latent)
        return (out[0] if self.variance == "dependent" else out).to(self.mean.dtype)

    def distribution(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Decoder mean (N, C, H, W) and standard deviation in units of y: () or (C, H, W), or
        where it depends on the latent (N, C, H, W), or (N, 1, 1, 1) without pixelwise sigma."""
        if self.variance != "dependent":
            return self.decoded(latent), self.sigma
        mean, raw = (out.to(self.mean.dtype) for out in self.decoder(latent))
        if not self.pixelwise_sigma:
            raw = raw.mean((1, 2, 3), keepdim=True)  # (N, 1, 1, 1)
        return mean, self.sigma_floor + F.softplus(raw)

    def encode(self, frames: Tensor, *, dequantise: bool = False) -> Code:
        """Frames (N, C, H, W) uint8 -> Code. The code of a frame is one fixed vector without
        `dequantise`; with it, one sample a call, as the likelihood needs."""
        return self.encode_y(self.preprocess(frames, dequantise), sample=dequantise)

    @abc.abstractmethod
    def encode_y(self, y: Tensor, *, sample: bool = True) -> Code:
        """Preprocessed frames (N, C, H, W) -> Code; `sample` matters to the VAE alone."""

    def target(self, y: Tensor) -> Tensor:
        """What the decoder must explain of y (N, C, H, W): the image, or the shell of it."""
        return y

    def pixels(self, code: Code, index: Tensor | None = None) -> Tensor:
        """Log-density of the target given the latent, nats (N,); of the frames `index` only."""
        latent, target = code.latent, code.target
        if index is not None:
            latent, target = latent[index], target[index]
        return self.explained(latent, target)

    def explained(self, latent: Tensor, target: Tensor) -> Tensor:
        """Log-density of the target (N, C, H, W) given latents (N, d), nats (N,)."""
        if self.variance != "dependent":
            return self.gaussian(target - self.decoded(latent))
        mean, sigma = self.distribution(latent)
        return self.gaussian(target - mean, sigma)

    def gaussian(self, residual: Tensor, sigma: Tensor | None = None) -> Tensor:
        """Log-density of target minus decoder mean (N, C, H, W), nats (N,); `sigma` as
        `distribution` gives it, by default `self.sigma`."""
        log_sigma, sigma = self.log_sigma(sigma), self.sigma if sigma is None else sigma
        square = (residual / sigma).square().flatten(1).sum(1)
        return -0.5 * square - log_sigma - self.dims * HALF_LOG_2PI

    def log_sigma(self, sigma: Tensor | None = None) -> Tensor:
        """Sum of log sigma_d over the dimensions of the target, () or (N,)."""
        sigma = self.sigma if sigma is None else sigma
        if sigma.dim() == 4:
            return sigma.log().expand(-1, *self.shape).flatten(1).sum(1)
        return sigma.log().expand(self.shape).sum()

    def inverse(self, latent: Tensor, deviation: Tensor) -> Tensor:
        """Latent (N, d), standardised deviations r (N, C, H, W) -> image in units of y."""
        mean, sigma = self.distribution(latent)
        return mean + sigma * deviation

    def reconstruct_y(self, latent: Tensor) -> Tensor:
        """Mean image of a latent in units of y (N, C, H, W)."""
        return self.decoded(latent)

    def decode(self, latent: Tensor) -> Tensor:
        """Latent (N, d) -> mean image (N, C, H, W) float in [0, 1]."""
        return self.postprocess(self.reconstruct_y(latent)).clamp(0, 1)


def check_variance(variance: str, sigma_floor: float) -> None:
    """Raises ValueError for an unknown decoder variance or an impossible floor."""
    if variance not in get_args(Variance):
        known = ", ".join(get_args(Variance))
        raise ValueError(f"unknown variance {variance!r}; choose one of {known}")
    if sigma_floor < 0 or (variance == "fixed" and sigma_floor == 0):
        raise ValueError(f"sigma_floor={sigma_floor} of a {variance} variance must be above 0")


def gaussian_log_density(noise: Tensor, log_std: Tensor) -> Tensor:
    """log N(m + exp(log_std) noise; m, exp(log_std)) in nats, summed over the last axis."""
    return (-0.5 * noise.square() - HALF_LOG_2PI - log_std).sum(-1)
