"""Image quality: similarity of pairs (PSNR, SSIM) and sharpness of sets.

Images are uint8 (N, C, H, W), as in data sets and on screens; `to_uint8` makes them from decoded
ones. `psnr` also takes float images of any leading axes. Other images raise ValueError.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from aef_worldmodel.nn.dct import dct_matrix

WINDOW, WIDTH = 11, 1.5  # of SSIM: pixels, and the Gaussian's standard deviation
HALF_NYQUIST = 0.5  # frequencies from here on are high, in units of one cycle in two pixels


def to_uint8(image: Tensor) -> Tensor:
    """Return the grey level whose bin holds u in [0, 1]: the inverse of (x + e) / 256."""
    return (256 * image).clamp(0, 255).byte()


def psnr(image: Tensor, truth: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the peak signal-to-noise ratio of each image in dB (...), at most 100.

    Args:
        image: (..., C, H, W), uint8 or float in [0, 1].
        truth: of the same shape and type.
        mask: pixels that count, (..., 1, H, W) bool; NaN where it is empty. None for all pixels.

    Raises:
        ValueError: two shapes, or uint8 beside float.
    """
    if image.shape != truth.shape or image.is_floating_point() != truth.is_floating_point():
        raise ValueError(
            f"images of shapes {tuple(image.shape)} and {tuple(truth.shape)} and types "
            f"{image.dtype} and {truth.dtype}: give pairs"
        )
    peak = 1.0 if image.is_floating_point() else 255.0
    if peak == 255.0:
        image, truth = image.double(), truth.double()
    square = (image - truth).square()
    if mask is None:
        error = square.mean((-3, -2, -1))
    else:
        weight = mask.expand_as(truth).to(truth.dtype)
        error = (square * weight).sum((-3, -2, -1)) / weight.sum((-3, -2, -1))
    return -10 * (error / peak**2).clamp(min=1e-10).log10()


def ssim(image: Tensor, truth: Tensor) -> Tensor:
    """Return the structural similarity of each image, (N,), at most 1.

    Means, variances and covariance are taken in Gaussian windows of 11 x 11 pixels inside the image
    and averaged over places and channels (Wang, Bovik, Sheikh, Simoncelli 2004, equation 13, with
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
    """Return Gaussian averages over every window. (N, C, H, W) -> (N, C, H - 10, W - 10)."""
    place = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    weight = torch.exp(-0.5 * (place / WIDTH).square())
    weight = (weight / weight.sum()).view(1, 1, 1, WINDOW)
    y = F.conv2d(x.flatten(0, 1)[:, None], weight)  # (N C, 1, H, W - 10)
    return F.conv2d(y, weight.transpose(2, 3))[:, 0].unflatten(0, x.shape[:2])


# -- sharpness ---------------------------------------------------------------------------


class Sharpness(NamedTuple):
    """Sharpness of samples in units of the data's: 1 is as sharp, less is blurred.

    Noise raises the ratios above 1 as well: read them beside a Frechet distance.
    """

    gradient: float
    """Ratio of the mean gradient energies."""
    high_frequency: float
    """Ratio of the mean powers at high frequencies."""


def sharpness(samples: Tensor, data: Tensor) -> Sharpness:
    """Return the sharpness of samples (N, C, H, W) in units of the data's (M, C, H, W)."""
    return Sharpness(
        *(
            (measure(samples).mean() / measure(data).mean()).item()
            for measure in (gradient_energy, high_frequency_power)
        )
    )


def gradient_energy(image: Tensor) -> Tensor:
    """Return the mean squared difference of neighbours, across plus down, grey levels^2 (N,)."""
    x = _levels(image)
    across, down = x.diff(dim=3).square(), x.diff(dim=2).square()
    return across.flatten(1).mean(1) + down.flatten(1).mean(1)


def high_frequency_power(image: Tensor) -> Tensor:
    """Return the power of a pixel at half of Nyquist's frequency and above, in grey levels^2, (N,).

    The transform is an orthonormal two-dimensional DCT, whose even continuation has no jumps at
    the borders. Over all frequencies but the lowest the power would be the variance (Parseval).
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
    """Return images as float64. Raises ValueError for others."""
    if image.dtype != torch.uint8 or image.ndim != 4 or not image.numel():
        raise ValueError(
            f"images of shape {tuple(image.shape)} and dtype {image.dtype}: expected "
            "(N, C, H, W) uint8: see to_uint8"
        )
    if like is not None and like.shape != image.shape:
        raise ValueError(
            f"images of shapes {tuple(image.shape)} and {tuple(like.shape)}: give pairs"
        )
    return image.double()
