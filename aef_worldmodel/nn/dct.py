"""The discrete cosine transform as a matrix."""

import math

import torch
from torch import Tensor


def dct_matrix(n: int) -> Tensor:
    """Return the orthonormal type-II DCT (n, n) float64; row k is the k-th frequency."""
    k = torch.arange(n, dtype=torch.float64)
    rows = torch.cos(math.pi * (k[None] + 0.5) * k[:, None] / n) * math.sqrt(2 / n)
    rows[0] /= math.sqrt(2)
    return rows
