"""Base of all autoencoders: preprocessing, dequantisation, the Gaussian decoder."""

import abc
import math
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aef_worldmodel.autoencoders.networks import Shape
from aef_worldmodel.autoencoders.preprocessing import Bijection, state_vectors
from aef_worldmodel.nn.distributions import HALF_LOG_2PI
from aef_worldmodel.nn.flows import Flow
from aef_worldmodel.utils.compiling import compilable

LOG_SCALE_BOUND = 4.0  # |log sigma_e| < 4, smoothly

Variance = Literal["independent", "fixed", "dependent"]
Proposal = Callable[[int], tuple[Tensor, Tensor]]  # k -> latents (k, N, d), log q (k, N)


class Code(NamedTuple):
    """A batch of encoded images: input of the decoder and of the likelihood."""

    latent: Tensor  # (N, d) float32
    log_det: Tensor  # (N,) nats: of preprocessing and encoder; for a VAE its entropy
    target: Tensor  # (N, C, H, W) the part of the image the decoder explains, preprocessed


@torch.library.custom_op(
    "aef_worldmodel::random_bytes", mutates_args=(), tags=(torch.Tag.nondeterministic_seeded,)
)
def random_bytes(like: Tensor) -> Tensor:
    """Return random uint8 numbers, shaped as `like`; one operation for torch.compile.

    Eight values are made from one 64-bit draw: a fifth of the time of `torch.rand` on a CPU.
    """
    words = torch.empty((like.numel() + 7) // 8, dtype=torch.int64, device=like.device)
    levels = words.random_(-(2**63), None).view(torch.uint8)
    return levels[: like.numel()].view(like.shape)


@random_bytes.register_fake
def _(like: Tensor) -> Tensor:
    return like.new_empty(like.shape, dtype=torch.uint8)


def uniform_noise(like: Tensor) -> Tensor:
    """Return U[0, 1) noise in steps of 1/256, offset by half a step, shaped and typed as `like`."""
    return random_bytes(like).to(like.dtype).add_(0.5).mul_(1 / 256)


class Autoencoder(nn.Module, abc.ABC):
    """Base of all autoencoders: preprocessing, dequantisation, decoder variance.

    Preprocessing `y = scale (u - mean)` with `u = (x + e) / 256` subtracts a mean image and
    scales. Its log-determinant `D log scale` is part of `Code.log_det`, as is that of a
    `bijection` `y = g(u)` where one is given instead.

    Vectors (N, P) float32, for instance the states of a simulator, take the place of images where
    `shape` is (P,): they are real numbers already, so u is the vector itself, without noise, and
    the preprocessing is `preprocessing.state_vectors`.

    Args:
        encoder: image (N, C, H, W) -> mean and raw log-scale of a latent, each (N, d).
        decoder: latent (N, d) -> mean image (N, C, H, W); under variance="dependent" a pair of
            such images, mean and raw standard deviation.
        shape: (C, H, W), or (P,) for vectors.
        latent_dim: d.
        scale: of preprocessing; without effect beside a `bijection`.
        sigma_floor: smallest standard deviation of the decoder, in units of y.
        variance: of the decoder. "independent" learns sigma_d = floor + softplus for every
            dimension, "dependent" lets the decoder predict it, "fixed" is sigma_d = sigma_floor.
        pixelwise_sigma: learn one sigma_d for each pixel and channel; else one for all.
        log_scale_bound: b of `log sigma_e = b tanh(raw / b)`; math.inf for no bound.
        bijection: preprocessing other than the affine one.
        flow: a `Flow` of d dimensions: on the core of an AEF, or on the posterior of a variational
            autoencoder (then with a context of width 2d).

    Raises:
        ValueError: an unknown variance, or a sigma_floor that the variance cannot have.
    """

    likelihood: str
    """The sum of prior, log-det and decoder log-density is: "exact", "expanded" (a density in the
    expanded space), "bound" (the ELBO) or "none"."""
    mean: Tensor  # (C, H, W) in [0, 1]

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        shape: Shape,
        latent_dim: int,
        *,
        scale: float = 4.0,
        sigma_floor: float = 0.1,
        variance: Variance = "independent",
        pixelwise_sigma: bool = True,
        log_scale_bound: float = LOG_SCALE_BOUND,
        bijection: Bijection | None = None,
        flow: Flow | None = None,
    ):
        super().__init__()
        check_variance(variance, sigma_floor)
        self.of_images = len(shape) == 3
        if not self.of_images and bijection is None:
            bijection = state_vectors(*shape)
        self.encoder, self.decoder, self.bijection, self.flow = encoder, decoder, bijection, flow
        self.shape, self.latent_dim, self.scale = (*shape,), latent_dim, scale
        self.dims, self.sigma_floor = math.prod(shape), sigma_floor
        self.variance, self.pixelwise_sigma = variance, pixelwise_sigma
        self.log_scale_bound = log_scale_bound
        self.register_buffer("mean", torch.full(shape, 0.5))
        if variance == "independent":
            self.raw_sigma = nn.Parameter(torch.full(shape if pixelwise_sigma else (), -2.0))

    # -- preprocessing -------------------------------------------------------------------

    def set_mean(self, images: Tensor) -> None:
        """Take the mean of images (N, C, H, W) uint8 as the centre of preprocessing.

        A `bijection` is initialised from the images instead.
        """
        if self.bijection is None:
            self.mean.copy_((images.float().mean(0) + 0.5) / 256)
        elif not self.of_images:
            self.bijection.initialise(images)
        else:
            x = images.to(self.mean.dtype)
            self.bijection.initialise(x.add_(uniform_noise(x)).mul_(1 / 256))

    @compilable
    def preprocess(self, images: Tensor, dequantise: bool) -> Tensor:
        """Return y of images (N, C, H, W) uint8.

        With `dequantise` uniform noise is added to each value, without it half a grey level.
        Raises ValueError for images of another shape or type.
        """
        kind = torch.uint8 if self.of_images else torch.float32
        if images.dtype != kind or tuple(images.shape[1:]) != self.shape:
            expected = f"(N, {', '.join(map(str, self.shape))}) {str(kind).removeprefix('torch.')}"
            raise ValueError(
                f"images of shape {tuple(images.shape)} and dtype {images.dtype}: "
                f"expected {expected}"
            )
        if not self.of_images and self.bijection is not None:
            return self.bijection(images.to(self.mean.dtype))
        x = images.to(self.mean.dtype)
        noise = uniform_noise(x) if dequantise else 0.5
        if self.bijection is not None:
            return self.bijection(x.add_(noise).mul_(1 / 256))
        return x.add_(noise).mul_(self.scale / 256).sub_(self.mean * self.scale)

    def preprocess_levels(self, levels: Tensor) -> Tensor:
        """Return y of grey levels (N, C, H, W) in [0, 255] of any fraction, with gradients.

        Whole levels give what `preprocess` gives without noise.
        """
        if self.bijection is not None:
            return self.bijection((levels + 0.5) * (1 / 256))
        return (levels + 0.5) * (self.scale / 256) - self.mean * self.scale

    def postprocess(self, y: Tensor) -> Tensor:
        """Return u of y (N, C, H, W), in about [0, 1]."""
        if self.bijection is not None:
            return self.bijection.inverse(y)
        return y / self.scale + self.mean

    def preprocessing_log_det(self, y: Tensor) -> Tensor | float:
        """Return log|det dy/du| in nats at y (N, C, H, W): (N,), or one number for all."""
        if self.bijection is not None:
            return self.bijection.log_det(y)
        return self.dims * math.log(self.scale)

    # -- encoder -------------------------------------------------------------------------

    def forward(self, images: Tensor) -> Tensor:
        """Return the latents (N, d) of images (N, C, H, W) uint8, with gradients of the encoder."""
        return self.encode(images).latent

    def encode(self, images: Tensor, *, dequantise: bool = False) -> Code:
        """Return the code of images (N, C, H, W) uint8.

        Without `dequantise` the latent of an image is one fixed vector; with it the latent is one
        sample at each call, as the likelihood needs.
        """
        return self.encode_y(self.preprocess(images, dequantise), sample=dequantise)

    @abc.abstractmethod
    def encode_y(self, y: Tensor, *, sample: bool = True) -> Code:
        """Return the code of preprocessed images (N, C, H, W).

        Without `sample` the latent is one fixed vector an image; with it, latents with noise of
        their own are drawn.
        """

    def target(self, y: Tensor) -> Tensor:
        """Return the part of y (N, C, H, W) that the decoder explains: the image, or its shell."""
        return y

    def statistics(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the encoder's mean and bounded log-scale, float32, each (N, d)."""
        mean, raw = self.encoder(image)
        mean, raw, bound = mean.to(self.mean.dtype), raw.to(self.mean.dtype), self.log_scale_bound
        return mean, raw if math.isinf(bound) else bound * torch.tanh(raw / bound)

    def proposal(self, y: Tensor, width: float = 1.0) -> Proposal:
        """Return a function that draws latents for importance sampling (importance.py).

        Args:
            y: preprocessed images (N, C, H, W).
            width: standard deviation of the proposal, in units of the encoder's own.

        Raises:
            NotImplementedError: the likelihood is exact already, or the autoencoder has none.
        """
        raise NotImplementedError(f"a likelihood that is {self.likelihood!r} needs no proposal")

    # -- Gaussian decoder ----------------------------------------------------------------

    @property
    def sigma(self) -> Tensor:
        """Standard deviation of the decoder in units of y, () or (C, H, W), unless dependent."""
        if self.variance == "fixed":
            return self.mean.new_tensor(self.sigma_floor)
        return self.sigma_floor + F.softplus(self.raw_sigma)

    @torch.no_grad()
    def set_sigma(self, residual: Tensor) -> None:
        """Start a learned sigma_d, equal in all dimensions, at the spread of a residual.

        The residual (N, C, H, W) is in units of y. Other variances do not change.
        """
        if self.variance == "independent":
            excess = (residual.square().mean().sqrt() - self.sigma_floor).clamp(min=1e-3)
            self.raw_sigma.fill_(excess.expm1().log())

    def decoded(self, latent: Tensor) -> Tensor:
        """Return the decoder's mean in units of y, float32 (N, C, H, W)."""
        out = self.decoder(latent)
        return (out[0] if self.variance == "dependent" else out).to(self.mean.dtype)

    def distribution(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Return the decoder's mean (N, C, H, W) and standard deviation in units of y.

        The standard deviation is () or (C, H, W); where it depends on the latent (N, C, H, W), or
        (N, 1, 1, 1) without pixelwise sigma.
        """
        if self.variance != "dependent":
            return self.decoded(latent), self.sigma
        mean, raw = (out.to(self.mean.dtype) for out in self.decoder(latent))
        if not self.pixelwise_sigma:
            raw = raw.mean((1, 2, 3), keepdim=True)  # (N, 1, 1, 1)
        return mean, self.sigma_floor + F.softplus(raw)

    def reconstruction_log_prob(self, code: Code, index: Tensor | None = None) -> Tensor:
        """Return the log-density of the code's target given its latent, nats (N,).

        With `index` only these images are decoded.
        """
        latent, target = code.latent, code.target
        if index is not None:
            latent, target = latent[index], target[index]
        return self.decoder_log_prob(latent, target)

    def decoder_log_prob(self, latent: Tensor, target: Tensor) -> Tensor:
        """Return the log-density of targets (N, C, H, W) given latents (N, d), nats (N,)."""
        if self.variance != "dependent":
            return self.residual_log_prob(target, self.decoded(latent))
        mean, sigma = self.distribution(latent)
        return self.gaussian(target - mean, sigma)

    @compilable
    def residual_log_prob(self, target: Tensor, mean: Tensor) -> Tensor:
        """Return the log-density of targets (N, C, H, W) about decoder means, nats (N,)."""
        return self.gaussian(target - mean)

    def gaussian(self, residual: Tensor, sigma: Tensor | None = None) -> Tensor:
        """Return the log-density of target minus decoder mean (N, C, H, W), nats (N,).

        `sigma` is what `distribution` returns; None for `self.sigma`.
        """
        log_sigma, sigma = self.log_sigma(sigma), self.sigma if sigma is None else sigma
        square = (residual / sigma).square().flatten(1).sum(1)
        return -0.5 * square - log_sigma - self.dims * HALF_LOG_2PI

    def log_sigma(self, sigma: Tensor | None = None) -> Tensor:
        """Return the sum of log sigma_d over the dimensions of the target, () or (N,)."""
        sigma = self.sigma if sigma is None else sigma
        if sigma.dim() == 4:
            return sigma.log().expand(-1, *self.shape).flatten(1).sum(1)
        return sigma.log().expand(self.shape).sum()

    def inverse(self, latent: Tensor, deviation: Tensor) -> Tensor:
        """Return the image in units of y of latents (N, d) and standardised deviations.

        Deviations r are (N, C, H, W): the image is the decoder's mean plus sigma_d r.
        """
        mean, sigma = self.distribution(latent)
        return mean + sigma * deviation

    def reconstruct_y(self, latent: Tensor) -> Tensor:
        """Return the mean image of latents (N, d) in units of y (N, C, H, W)."""
        return self.decoded(latent)

    def decode(self, latent: Tensor) -> Tensor:
        """Return the mean image (N, C, H, W) of latents (N, d), float in [0, 1]; or vectors."""
        image = self.postprocess(self.reconstruct_y(latent))
        return image.clamp(0, 1) if self.of_images else image


def check_variance(variance: str, sigma_floor: float) -> None:
    """Raise ValueError for an unknown decoder variance or an impossible floor."""
    if variance not in get_args(Variance):
        known = ", ".join(get_args(Variance))
        raise ValueError(f"unknown variance {variance!r}: choose one of {known}")
    if sigma_floor < 0 or (variance == "fixed" and sigma_floor == 0):
        raise ValueError(f"sigma_floor={sigma_floor} of a {variance} variance must be above 0")
