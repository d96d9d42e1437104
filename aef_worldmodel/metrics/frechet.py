"""Frechet distance between two sets of images, without any download.

    d^2 = |m_1 - m_2|^2 + tr C_1 + tr C_2 - 2 tr (C_1^{1/2} C_2 C_1^{1/2})^{1/2}

between Gaussians with the means m and covariances C of features (Dowson and Landau 1982; for images
Heusel et al. 2017, with the features of Inception). The distance is named after its features: it is
the FID only with those of Inception (`inception.py`).

**Size matters.** The error of a covariance that is estimated from n images becomes a bias through
the square root: two samples of the same images are further apart the fewer they are. Compare
distances only at equal numbers of images, and beside that of as many real images to the same
reference.
"""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


class Features(Protocol):
    """A feature extractor whose `name` is that of the distance."""

    name: str

    def __call__(self, images: Tensor) -> Tensor:
        """Return features (N, F) of images (N, C, H, W) uint8."""
        ...


def frechet_distance(mean1: Tensor, cov1: Tensor, mean2: Tensor, cov2: Tensor) -> float:
    """Return the squared Frechet distance between Gaussians: means (F,), covariances (F, F).

    The last trace is the sum of the singular values of `C_1^{1/2} C_2^{1/2}` in float64: these are
    the roots of the eigenvalues of the symmetric product, without squaring. Covariances may have
    less than full rank.
    """
    root1, root2 = root(cov1), root(cov2)
    cross = torch.linalg.svdvals(root1 @ root2).sum()
    apart = (mean1.double() - mean2.double()).square().sum()
    square = apart + root1.square().sum() + root2.square().sum() - 2 * cross  # tr C = |C^{1/2}|^2
    return max(square.item(), 0.0)


def root(covariance: Tensor) -> Tensor:
    """Return the symmetric square root of a positive semi-definite matrix (F, F), float64."""
    values, vectors = torch.linalg.eigh(covariance.double())
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean (F,) and unbiased covariance (F, F) of features (N, F), float64.

    Raises:
        ValueError: fewer than two rows, or a feature that is not finite.
    """
    if len(features) < 2:
        raise ValueError(f"{len(features)} images have no covariance: give at least 2")
    features = features.double()
    if not features.isfinite().all():
        raise ValueError("a feature is not finite: check the images and the extractor")
    centred = features - features.mean(0)
    return features.mean(0), centred.T @ centred / (len(features) - 1)


class RandomFeatures:
    """Averages of a fixed random convolutional network: not learned, not downloaded.

    Three layers of 3x3 convolutions and ReLU, of `WIDTHS` channels, the later two on half and on a
    quarter of the size; the features are each channel's mean over the four quarters of the image.
    Weights are He-normal from a frozen random stream, the same on every machine; filters of the
    first layer have mean zero, so that edges count and the brightness around them does not.
    One-channel images are grey. docs/reference/images.md says what the distance sees and misses.
    """

    WIDTHS = (8, 16, 32)
    name = "Frechet distance in random convolutional features"

    def __init__(self, seed: int = 0):
        random, channels, self.weights = np.random.RandomState(seed), 3, []
        for width in self.WIDTHS:
            weight = random.standard_normal((width, channels, 3, 3)) * (2 / (9 * channels)) ** 0.5
            self.weights.append(torch.from_numpy(weight).float())
            channels = width
        self.weights[0] -= self.weights[0].mean((1, 2, 3), keepdim=True)

    def __call__(self, images: Tensor) -> Tensor:
        """Return features (N, 4 * 56) float32 of images (N, C, H, W) uint8."""
        x = images.float().expand(-1, 3, -1, -1) / 127.5 - 1
        features = []
        for weight in self.weights:
            x = F.relu(F.conv2d(x, weight.to(x.device), padding=1))
            features.append(F.adaptive_avg_pool2d(x, 2).flatten(1))
            x = F.avg_pool2d(x, 2, ceil_mode=True)
        return torch.cat(features, 1)


class Frechet:
    """Distance of sets of images to one reference set.

    Args:
        reference: images (N, C, H, W) uint8, at least two.
        features: the extractor; None for `RandomFeatures`. `inception.load_features` reads one
            from a file.
        batch: images at once.

    Raises:
        ValueError: fewer than two images.
    """

    def __init__(self, reference: Tensor, features: Features | None = None, batch: int = 256):
        self.features, self.batch = features or RandomFeatures(), batch
        self.reference, self.count = self._moments(reference), len(reference)

    @property
    def name(self) -> str:
        """Name of the distance for a table or a plot."""
        return self.features.name

    def __call__(self, images: Tensor) -> float:
        """Return the distance of images (N, C, H, W) uint8 to the reference."""
        return frechet_distance(*self._moments(images), *self.reference)

    @torch.no_grad()
    def _moments(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return moments(torch.cat([self.features(part) for part in images.split(self.batch)]))
