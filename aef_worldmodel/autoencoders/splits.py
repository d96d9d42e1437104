"""Orthonormal splits of image space into a core, which becomes the latent, and a shell.

A partition AEF needs `(core, shell) = split(Q y)` with `Q` orthonormal, so that the change of
variables has no log-determinant. Only the `d` rows of `Q` that make the core are stored. The shell
is kept as an image without its core component, `s = y - B^T B y`: its coordinates in any
orthonormal basis of the complement have the same norm, and an isotropic Gaussian depends on the
norm alone. Permutations (`center`, `corner`) remove single pixels, so each pixel of their shells
can have its own standard deviation.
"""

import abc
import math

import torch
from torch import Tensor, nn

from aef_worldmodel.autoencoders.networks import Shape
from aef_worldmodel.nn.dct import dct_matrix
from aef_worldmodel.utils.compiling import compilable
from aef_worldmodel.utils.registry import suggest

SPLITS = ("dct", "center", "corner")


class Split(nn.Module, abc.ABC):
    """Interface of a split of images (C, H, W) into a core of `core_dim` dimensions and a shell."""

    pixelwise: bool  # whether each pixel of the shell can have its own standard deviation
    shape: Shape
    core_dim: int

    @abc.abstractmethod
    def split(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return core (N, d) and shell (N, C, H, W) of y (N, C, H, W)."""

    @abc.abstractmethod
    def merge(self, core: Tensor, shell: Tensor) -> Tensor:
        """Invert `split`. Returns (N, C, H, W)."""

    @abc.abstractmethod
    def shell_of(self, image: Tensor) -> Tensor:
        """Return the orthogonal projection of any image (N, C, H, W) onto the shell's subspace."""

    @abc.abstractmethod
    def shell_square(self, residual: Tensor) -> Tensor:
        """Return the squared norm (N,) of the shell's part of a residual (N, C, H, W)."""

    @abc.abstractmethod
    def shell_sum(self, values: Tensor) -> Tensor:
        """Return the sum of values over the dimensions of the shell, () or (N,).

        The values are (C, H, W) or (N, C, H, W) where the split is pixelwise; else one for all
        dimensions, () or (N, 1, 1, 1).
        """


class BasisSplit(Split):
    """Split whose core has coordinates in any `d` orthonormal directions of image space.

    `c = B y`, `s = y - B^T c` with `B B^T = I`. The basis is kept in torch's default dtype: build
    under float64 where the shell must be orthogonal to the core to 1e-15 rather than 1e-7.

    Args:
        basis: B, (d, D).
        shape: (C, H, W) of images, D = C H W.

    Raises:
        ValueError: the rows of the basis are not orthonormal to 1e-4, or there are too many.
    """

    pixelwise = False
    basis: Tensor  # (d, D)

    def __init__(self, basis: Tensor, shape: Shape):
        super().__init__()
        check_basis(basis, shape)
        self.shape, self.core_dim, self.dims = (*shape,), len(basis), math.prod(shape)
        self.register_buffer("basis", basis.to(torch.get_default_dtype()))

    @compilable
    def split(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return core (N, d) and shell (N, C, H, W) of y (N, C, H, W)."""
        with torch.autocast(y.device.type, enabled=False):
            flat = y.flatten(1)
            core = flat @ self.basis.T  # (N, d)
            return core, torch.addmm(flat, core, self.basis, alpha=-1).view_as(y)

    def merge(self, core: Tensor, shell: Tensor) -> Tensor:
        """Invert `split`. Returns (N, C, H, W)."""
        with torch.autocast(core.device.type, enabled=False):
            return shell + (core @ self.basis).view_as(shell)

    def shell_of(self, image: Tensor) -> Tensor:
        """Return the projection of an image (N, C, H, W) onto the shell's subspace."""
        return self.split(image)[1]

    def shell_square(self, residual: Tensor) -> Tensor:
        """Return the squared norm (N,) of the shell's part of a residual (N, C, H, W).

        The shell is projected first: nothing holds the core's part of a decoder's output, and where
        that is large a difference of two squares has no digits left.
        """
        return self.shell_of(residual).flatten(1).square().sum(1)

    def shell_sum(self, values: Tensor) -> Tensor:
        """Return D - d times one value for all dimensions, () or (N, 1, 1, 1)."""
        return (self.dims - self.core_dim) * values.view(values.shape[:1])


class PixelSplit(Split):
    """Split whose core is made of pixels, as in the paper.

    Args:
        index: flat positions of the core's pixels, (d,).
        shape: (C, H, W) of images.

    Raises:
        ValueError: a position occurs twice.
    """

    pixelwise = True
    index: Tensor  # (d,)
    mask: Tensor  # (C, H, W), 1 on the shell, 0 on the core

    def __init__(self, index: Tensor, shape: Shape):
        super().__init__()
        if len(index.unique()) != len(index):
            raise ValueError("a core has the same pixel twice: give distinct flat positions")
        self.shape, self.core_dim = (*shape,), len(index)
        mask = torch.ones(math.prod(shape))
        mask[index] = 0
        self.register_buffer("index", index)
        self.register_buffer("mask", mask.view(shape))

    def split(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return core (N, d) and shell (N, C, H, W) of y; the shell is 0 at the core's pixels."""
        return y.flatten(1)[:, self.index], y * self.mask

    def merge(self, core: Tensor, shell: Tensor) -> Tensor:
        """Invert `split`. Returns (N, C, H, W)."""
        return (shell * self.mask).flatten(1).index_copy(1, self.index, core).view_as(shell)

    def shell_of(self, image: Tensor) -> Tensor:
        """Return the image (N, C, H, W) with its core pixels set to zero."""
        return image * self.mask

    def shell_square(self, residual: Tensor) -> Tensor:
        """Return the squared norm (N,) of the shell's part of a residual (N, C, H, W)."""
        return self.shell_of(residual).square().flatten(1).sum(1)

    def shell_sum(self, values: Tensor) -> Tensor:
        """Return the sum over the shell's pixels of values (C, H, W) or (N, C, H, W)."""
        masked = values * self.mask
        return masked.flatten(1).sum(1) if values.dim() == 4 else masked.sum()


def make_split(kind: str, shape: Shape, latent_dim: int) -> Split:
    """Return the split `kind`, one of `SPLITS`, of images (C, H, W) with a core of `latent_dim`.

    Raises ValueError for an unknown kind, or a core that does not fit the images.
    """
    if latent_dim < 1:
        raise ValueError(f"latent_dim={latent_dim} must be at least 1")
    if kind == "dct":
        return BasisSplit(dct_basis(shape, latent_dim), shape)
    if kind in ("center", "corner"):
        return PixelSplit(pixel_core(shape, latent_dim, kind), shape)
    raise ValueError(f"unknown core {kind!r}: {suggest(kind, SPLITS)}")


def dct_basis(shape: Shape, latent_dim: int) -> Tensor:
    """Return the `latent_dim` lowest grey 2-D DCT frequencies, then colour ones, (d, D) float64.

    Channels are mixed by an orthonormal DCT of length C as well, so that its first row is grey.
    Rows are ordered by colour index first, then by `u + v`.
    """
    channels, height, width = _as_image(shape)
    colour, rows, columns = dct_matrix(channels), dct_matrix(height), dct_matrix(width)
    order = sorted(
        (c, u + v, u, v) for c in range(channels) for u in range(height) for v in range(width)
    )[:latent_dim]
    basis = [
        torch.einsum("c,h,w->chw", colour[c], rows[u], columns[v]).flatten() for c, _, u, v in order
    ]
    return torch.stack(basis)


def pixel_core(shape: Shape, latent_dim: int, where: str) -> Tensor:
    """Return the flat positions (d,) of a `center` or `corner` core, row by row."""
    channels, height, width = _as_image(shape)
    side = math.ceil(math.sqrt(latent_dim / channels))
    most = min(channels * min(height, width) ** 2, channels * height * width - 1)
    if latent_dim > most:
        raise ValueError(
            f"latent_dim={latent_dim} does not fit a {where} core of an image of shape {shape}: "
            f"choose at most {most}"
        )
    top = (height - side) // 2 if where == "center" else 0
    left = (width - side) // 2 if where == "center" else 0
    index = [
        (c * height + top + i) * width + left + j
        for i in range(side)
        for j in range(side)
        for c in range(channels)
    ]
    return torch.tensor(index[:latent_dim])


def _as_image(shape: Shape) -> tuple[int, int, int]:
    """Return (C, H, W); a vector (P,) counts as P channels of one pixel."""
    return (shape[0], 1, 1) if len(shape) == 1 else (shape[0], shape[1], shape[2])


def check_basis(basis: Tensor, shape: Shape) -> None:
    """Raise ValueError unless `basis` is (d, D) with orthonormal rows and 0 < d < D."""
    dims, advice = math.prod(shape), "for instance from torch.linalg.qr"
    if basis.dim() != 2 or basis.shape[1] != dims:
        raise ValueError(
            f"a basis of shape {tuple(basis.shape)} for images {tuple(shape)}: give "
            f"(latent_dim, {dims}) orthonormal rows, {advice}"
        )
    if not 0 < len(basis) < dims:
        raise ValueError(
            f"latent_dim={len(basis)} leaves no shell or no core in an image of shape "
            f"{tuple(shape)}: choose 1..{dims - 1}"
        )
    error = (basis @ basis.T - torch.eye(len(basis)).to(basis)).abs().max()
    if not error <= 1e-4:
        raise ValueError(f"a basis with rows off orthonormal by {error:.1e}: take rows {advice}")
