"""The eyes: partition AEF, expanded AEF and their VAE sibling, behind one interface.

All three turn a frame into a latent and give, in nats an image, the two parts of its
log-likelihood that do not depend on the prior over latents (DESIGN section 2):

    log p(x) = log p(z)  +  volume  +  pixels

`volume` is the encoder's log-determinant (its entropy for the VAE) plus the preprocessing's, and
`pixels` the decoder's Gaussian log-density of the shell (of the whole image for the other two).
What the sum is, is named by `likelihood`: "exact" for the partition AEF, "expanded" (a density
in the expanded space, never p(x)) or "bound" (the ELBO).
Paper: Silvestri, Roos, Ambrogioni, "Deterministic training of generative autoencoders using
invertible layers", ICLR 2023, equations of sections 3.1 (partition) and 3.2 (expansion).
"""

import abc
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aef_worldmodel.splits import make_split

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
LOG_SCALE_BOUND = 4.0  # |log sigma_e| < 4, smoothly


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
    bijection whose log-determinant `D log scale` is counted in `volume`.
    `sigma_floor` is the least decoder standard deviation, in units of y.
    """

    likelihood: str

    def __init__(self, encoder: nn.Module, decoder: nn.Module, shape: tuple[int, int, int],
                 latent_dim: int, *, scale: float = 4.0, sigma_floor: float = 0.1,
                 pixelwise_sigma: bool = True):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.shape, self.latent_dim, self.scale = tuple(shape), latent_dim, scale
        self.dims, self.sigma_floor = math.prod(shape), sigma_floor
        self.register_buffer("mean", torch.full(shape, 0.5))
        self.raw_sigma = nn.Parameter(torch.full(shape if pixelwise_sigma else (), -2.0))

    # -- preprocessing -------------------------------------------------------------------

    def set_mean(self, frames: Tensor) -> None:
        """Takes the mean image of `frames` (N, C, H, W) uint8 as the centre of preprocessing."""
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
        return x.add_(noise).mul_(self.scale / 256).sub_(self.mean * self.scale)

    def postprocess(self, y: Tensor) -> Tensor:
        """Inverse of `preprocess`: y (N, C, H, W) -> u in about [0, 1]."""
        return y / self.scale + self.mean

    # -- the Gaussian decoder ------------------------------------------------------------

    @property
    def sigma(self) -> Tensor:
        """Decoder standard deviation in units of y: () or (C, H, W)."""
        return self.sigma_floor + F.softplus(self.raw_sigma)

    def statistics(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Encoder mean and bounded log-scale, float32, each (N, d)."""
        mean, raw = self.encoder(image)
        bounded = LOG_SCALE_BOUND * torch.tanh(raw.to(self.mean.dtype) / LOG_SCALE_BOUND)
        return mean.to(self.mean.dtype), bounded

    def decoded(self, latent: Tensor) -> Tensor:
        """Decoder mean in units of y, float32 (N, C, H, W)."""
        return self.decoder(latent).to(self.mean.dtype)

    def encode(self, frames: Tensor, *, dequantise: bool = False) -> Code:
        """Frames (N, C, H, W) uint8 -> Code. The code of a frame is one fixed vector without
        `dequantise`; with it, one sample a call, as the likelihood needs."""
        return self.encode_y(self.preprocess(frames, dequantise), sample=dequantise)

    @abc.abstractmethod
    def encode_y(self, y: Tensor, *, sample: bool = True) -> Code:
        """Preprocessed frames (N, C, H, W) -> Code; `sample` matters to the VAE alone."""

    def pixels(self, code: Code, index: Tensor | None = None) -> Tensor:
        """Log-density of the target given the latent, nats (N,); of the frames `index` only."""
        latent, target = code.latent, code.target
        if index is not None:
            latent, target = latent[index], target[index]
        return self.gaussian(target - self.decoded(latent))

    def gaussian(self, residual: Tensor) -> Tensor:
        """Log-density of target minus decoder mean (N, C, H, W), nats (N,)."""
        log_sigma = self.sigma.log().expand(self.shape).sum()
        square = (residual / self.sigma).square().flatten(1).sum(1)
        return -0.5 * square - log_sigma - self.dims * HALF_LOG_2PI

    def reconstruct_y(self, latent: Tensor) -> Tensor:
        """Mean image of a latent in units of y (N, C, H, W)."""
        return self.decoded(latent)

    def decode(self, latent: Tensor) -> Tensor:
        """Latent (N, d) -> mean image (N, C, H, W) float in [0, 1]."""
        return self.postprocess(self.reconstruct_y(latent)).clamp(0, 1)


class PartitionAEF(Autoencoder):
    """Exact likelihood: the core `c` becomes the latent, the shell `s` is explained by it.

    `z = mu_e(s) + sigma_e(s) c`, `r = (s - mu_d(z)) / sigma_d`. `core` is the name of a split or
    a split of your own (`splits.BasisSplit`). sigma_d has one value a pixel where the core is made
    of pixels, one for all where it is not: any other would need the shell's coordinates.
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
        super().__init__(encoder, decoder, shape, latent_dim,
                         pixelwise_sigma=split.pixelwise, **options)
        self.split = split

    def encode_y(self, y: Tensor, *, sample: bool = True) -> Code:
        """`z = mu_e(s) + sigma_e(s) c`, one code an image; the target is the shell."""
        core, shell = self.split.split(y)  # (N, d), (N, C, H, W)
        mean, log_scale = self.statistics(shell)
        volume = log_scale.sum(-1) + self.dims * math.log(self.scale)
        return Code(mean + log_scale.exp() * core, volume, shell)

    def log_sigma(self) -> Tensor:
        """Sum of log sigma_d over the dimensions of the shell, ()."""
        if self.split.pixelwise:
            return (self.sigma.log() * self.split.mask).sum()
        return (self.dims - self.latent_dim) * self.sigma.log()

    def gaussian(self, residual: Tensor) -> Tensor:
        """Log-density of the shell's part of the residual (N, C, H, W), nats (N,)."""
        free = self.dims - self.latent_dim
        if self.split.pixelwise:
            square = self.split.shell_square(residual / self.sigma)
        else:
            square = self.split.shell_square(residual) / self.sigma.square()
        return -0.5 * square - self.log_sigma() - free * HALF_LOG_2PI

    def reconstruct_y(self, latent: Tensor) -> Tensor:
        """The image of a latent and r = 0, in units of y (N, C, H, W)."""
        return self.inverse(latent, torch.zeros((), dtype=latent.dtype, device=latent.device))

    def inverse(self, latent: Tensor, deviation: Tensor) -> Tensor:
        """Latent (N, d) and standardised deviations r (N, C, H, W) -> y: the flow's inverse."""
        shell = self.split.shell_of(self.decoded(latent) + self.sigma * deviation)
        mean, log_scale = self.statistics(shell)
        return self.split.merge((latent - mean) * (-log_scale).exp(), shell)

    def forward_flow(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """y -> z (N, d), r (N, C, H, W) in the shell's subspace, log|det d(z, r)/dy| (N,)."""
        code = self.encode_y(y)
        deviation = self.split.shell_of(code.target - self.decoded(code.latent)) / self.sigma
        preprocessing = self.dims * math.log(self.scale)
        return code.latent, deviation, code.volume - preprocessing - self.log_sigma()


class ExpandedAEF(Autoencoder):
    """Drop-in AEF in an expanded space: `w = W y`, `z = mu_e(y) + sigma_e(y) w`.

    The sum of its parts is `log p(y, w)` at `w = W y`, a density in the expanded space.
    """

    likelihood = "expanded"

    def __init__(self, encoder, decoder, shape, latent_dim, **options):
        super().__init__(encoder, decoder, shape, latent_dim, **options)
        self.expansion = nn.Linear(self.dims, latent_dim, bias=False)
        nn.init.orthogonal_(self.expansion.weight)

    def posterior(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Code of y and sigma_e, each (N, d): mean and standard deviation of z = z(y, w) for
        `w ~ N(W y, I)`."""
        mean, log_scale = self.statistics(y)
        with torch.autocast(y.device.type, enabled=False):
            expanded = self.expansion(y.flatten(1))  # (N, d)
        return mean + log_scale.exp() * expanded, log_scale.exp()

    def encode_y(self, y: Tensor, *, sample: bool = True) -> Code:
        """`z = mu_e(y) + sigma_e(y) W y`, one code an image; the target is the whole image."""
        latent, scale = self.posterior(y)
        return Code(latent, scale.log().sum(-1) + self.dims * math.log(self.scale), y)


class VAE(Autoencoder):
    """The same networks, `z ~ N(mu_e(y), sigma_e(y))`, trained on the ELBO."""

    likelihood = "bound"

    def posterior(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of q(z | y), each (N, d)."""
        mean, log_scale = self.statistics(y)
        return mean, log_scale.exp()

    def encode_y(self, y: Tensor, *, sample: bool = True) -> Code:
        """A draw from q(z | y), or its mean without `sample`; `volume` is q's entropy."""
        mean, std = self.posterior(y)
        entropy = std.log().sum(-1) + self.latent_dim * (0.5 + HALF_LOG_2PI)
        latent = mean + std * torch.randn_like(mean) if sample else mean
        return Code(latent, entropy + self.dims * math.log(self.scale), y)
