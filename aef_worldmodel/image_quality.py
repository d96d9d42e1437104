"""Numbers for pictures: how near they are to others (PSNR, SSIM) and how sharp they are.

Images are uint8 (N, C, H, W), as data sets hold them and screens show them; `to_uint8` makes them
from decoded ones. Every function raises ValueError for anything else.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from aef_worldmodel.splits import dct_matrix

WINDOW, WIDTH = 11, 1.5  # of SSIM: pixels, and the Gaussian's standard deviation
HALF_NYQUIST = 0.5  # frequencies from here on are high, in units of one cycle in two pixels


def to_uint8(image: Tensor) -> Tensor:
    """u in [0, 1] -> the grey level whose bin it lies in: the inverse of (x + e) / 256."""
    return (256 * image).clamp(0, 255).byte()


def psnr(image: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of each image, (N,); infinite where there is no error."""
    error = _levels(image, truth) - _levels(truth, image)
    return -10 * (error.square().flatten(1).mean(1) / 255**2).log10()


def ssim(image: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity of each image, (N,), at most 1.

    Means, variances and covariance in Gaussian windows of 11 x 11 pixels that lie wholly inside,
    averaged over places and channels (Wang, Bovik, Sheikh, Simoncelli 2004, equation 13, with
    K1 = 0.01, K2 = 0.03).
    """
    x, y = _levels(image, truth), _levels(truth, image)
    if min(x.shape[2:]) < WINDOW:
        raise ValueError(
            f"images of {x.shape[2]}x{x.shape[3]} pixels are smaller than SSIM's window of "
            f"{WINDOW}x{WINDOW}: enlarge them or use PSNR"
        )
    mean_x, mean_y = _windowed(x), _windowed(y)
    var_x = _windowed(x * x) - mean_x.square()
    var_y = _windowed(y * y) - mean_y.square()
    cov = _windowed(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x.square() + mean_y.square() + c1)
    structure = (2 * cov + c2) / (var_x + var_y + c2)
    return (luminance * structure).flatten(1).mean(1)


def _windowed(x: Tensor) -> Tensor:
    """Gaussian averages over every window inside. (N, C, H, W) -> (N, C, H - 10, W - 10)."""
    place = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    weight = torch.exp(-0.5 * (place / WIDTH).square())
    weight = (weight / weight.sum()).view(1, 1, 1, WINDOW)
    y = F.conv2d(x.flatten(0, 1)[:, None], weight)  # (N C, 1, H, W - 10)
    return F.conv2d(y, weight.transpose(2, 3))[:, 0].unflatten(0, x.shape[:2])


# -- sharpness ---------------------------------------------------------------------------


class Sharpness(NamedTuple):
    """Of samples against data, as ratios: 1 is as sharp as the data, less is blurred. Noise, too,
    is more than 1: read it beside a Frechet distance."""

    gradient: float
    """Ratio of the mean gradient energies."""
    high_frequency: float
    """Ratio of the mean powers at high frequencies."""


def sharpness(samples: Tensor, data: Tensor) -> Sharpness:
    """How sharp samples (N, C, H, W) are beside data (M, C, H, W)."""
    return Sharpness(*(
        (measure(samples).mean() / measure(data).mean()).item()
        for measure in (gradient_energy, high_frequency_power)
    ))  # fmt: skip


def gradient_energy(image: Tensor) -> Tensor:
    """Mean squared difference of neighbours, across plus down, in squared grey levels, (N,)."""
    x = _levels(image)
    across, down = x.diff(dim=3).square(), x.diff(dim=2).square()
    return across.flatten(1).mean(1) + down.flatten(1).mean(1)


def high_frequency_power(image: Tensor) -> Tensor:
    """Power a pixel, in squared grey levels, at frequencies of at least half of Nyquist's, (N,).

    By an orthonormal two-dimensional DCT, whose even continuation has no jumps at the borders.
    Over all frequencies but the lowest the power would be the variance (Parseval).
    """
    x = _levels(image)
    height, width = x.shape[2:]
    rows, columns = (dct_matrix(n).to(x) for n in (height, width))
    power = (rows @ x @ columns.T).square()  # (N, C, H, W), frequencies 0..n-1
    down = torch.arange(height, device=x.device)[:, None] / height
    across = torch.arange(width, device=x.device) / width
    high = (down.square() + across.square()).sqrt() >= HALF_NYQUIST
    return (power * high).flatten(1).sum(1) / math.prod(x.shape[1:])


def _levels(image: Tensor, like: Tensor | None = None) -> Tensor:
    """Images as float64, checked."""
    if image.dtype != torch.uint8 or image.ndim != 4 or not image.numel():
        raise ValueError(
            f"images of shape {tuple(image.shape)} and dtype {image.dtype}; expected "
            "(N, C, H, W) uint8: see to_uint8"
        )
    if like is not None and like.shape != image.shape:
        raise ValueError(
            f"images of shapes {tuple(image.shape)} and {tuple(like.shape)}; give pairs"
        )
    return image.double()
