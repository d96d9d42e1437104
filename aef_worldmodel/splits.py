"""Orthonormal splits of image space into a core (the part a latent replaces) and a shell.

A partition AEF needs `(core, shell) = split(Q y)` with `Q` orthonormal, so that the change of
variables costs no log-determinant. Only the `d` rows of `Q` that make the core are stored; the
shell is kept as an image with its core component removed, `s = y - B^T B y`. Its coordinates in
any orthonormal basis of the complement have the same norm, which is all an isotropic Gaussian
needs. Permutations (`center`, `corner`) remove single pixels, so their shells also admit one
scale a pixel.
"""

import math

import torch
from torch import Tensor, nn

SPLITS = ("dct", "center", "corner")


def dct_matrix(n: int) -> Tensor:
    """Orthonormal type-II DCT, row k the k-th frequency. Returns (n, n) float64."""
    k = torch.arange(n, dtype=torch.float64)
    rows = torch.cos(math.pi * (k[None] + 0.5) * k[:, None] / n) * math.sqrt(2 / n)
    rows[0] /= math.sqrt(2)
    return rows


def dct_basis(shape: tuple[int, int, int], latent_dim: int) -> Tensor:
    """The `latent_dim` lowest grey 2-D DCT frequencies, then colour ones. Returns (d, D).

    Channels are mixed by an orthonormal DCT of length C as well, so that its first row is grey.
    Rows are ordered by colour index first, then by `u + v`.
    """
    channels, height, width = shape
    colour, rows, columns = dct_matrix(channels), dct_matrix(height), dct_matrix(width)
    order = sorted(
        (c, u + v, u, v) for c in range(channels) for u in range(height) for v in range(width)
    )[:latent_dim]
    basis = [
        torch.einsum("c,h,w->chw", colour[c], rows[u], columns[v]).flatten()
        for c, _, u, v in order
    ]
    return torch.stack(basis)


def pixel_core(shape: tuple[int, int, int], latent_dim: int, where: str) -> Tensor:
    """Flat indices of the pixels of a `center` or `corner` core, row by row. Returns (d,)."""
    channels, height, width = shape
    side = math.ceil(math.sqrt(latent_dim / channels))
    if side > min(height, width) or latent_dim >= channels * height * width:
        raise ValueError(
            f"latent_dim={latent_dim} does not fit a {where} core of an image of shape {shape}"
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


def check_basis(basis: Tensor, shape: tuple[int, int, int]) -> None:
    """Raises ValueError unless `basis` is (d, D) with orthonormal rows and 0 < d < D."""
    dims, advice = math.prod(shape), "for instance from torch.linalg.qr"
    if basis.dim() != 2 or basis.shape[1] != dims:
        raise ValueError(
            f"a basis of shape {tuple(basis.shape)} for images {tuple(shape)}; give "
            f"(latent_dim, {dims}) orthonormal rows, {advice}"
        )
    if not 0 < len(basis) < dims:
        raise ValueError(
            f"latent_dim={len(basis)} leaves no shell or no core in an image of shape "
            f"{tuple(shape)}; choose 1..{dims - 1}"
        )
    error = (basis @ basis.T - torch.eye(len(basis)).to(basis)).abs().max()
    if not error <= 1e-4:
        raise ValueError(f"a basis with rows off orthonormal by {error:.1e}; take rows {advice}")


class BasisSplit(nn.Module):
    """Core coefficients in any `d` orthonormal directions of image space.

    `c = B y`, `s = y - B^T c` with `B B^T = I`. Raises ValueError if the rows of `basis` (d, D)
    are not orthonormal to 1e-4. The basis is kept in torch's default dtype: build under float64
    where the shell must be orthogonal to the core to 1e-15 rather than 1e-7.
    """

    pixelwise = False

    def __init__(self, basis: Tensor, shape: tuple[int, int, int]):
        super().__init__()
        check_basis(basis, shape)
        self.shape, self.core_dim = tuple(shape), len(basis)
        self.register_buffer("basis", basis.to(torch.get_default_dtype()))

    def split(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """y (N, C, H, W) -> core (N, d), shell (N, C, H, W)."""
        with torch.autocast(y.device.type, enabled=False):
            flat = y.flatten(1)
            core = flat @ self.basis.T  # (N, d)
            return core, torch.addmm(flat, core, self.basis, alpha=-1).view_as(y)

    def merge(self, core: Tensor, shell: Tensor) -> Tensor:
        """Inverse of `split`. Returns (N, C, H, W)."""
        with torch.autocast(core.device.type, enabled=False):
            return shell + (core @ self.basis).view_as(shell)

    def shell_of(self, image: Tensor) -> Tensor:
        """Orthogonal projection of any image (N, C, H, W) onto the shell's subspace."""
        return self.split(image)[1]

    def shell_square(self, residual: Tensor) -> Tensor:
        """Squared norm of the shell part of a residual (N, C, H, W). Returns (N,)."""
        with torch.autocast(residual.device.type, enabled=False):
            flat = residual.flatten(1)
            return flat.square().sum(1) - (flat @ self.basis.T).square().sum(1)


class PixelSplit(nn.Module):
    """Core pixels taken out as they are (the paper's partition).

    `index` (d,) are their flat positions; raises ValueError if one occurs twice.
    """

    pixelwise = True

    def __init__(self, index: Tensor, shape: tuple[int, int, int]):
        super().__init__()
        if len(index.unique()) != len(index):
            raise ValueError("a core names the same pixel twice; give distinct flat positions")
        self.shape, self.core_dim = tuple(shape), len(index)
        mask = torch.ones(math.prod(shape))
        mask[index] = 0
        self.register_buffer("index", index)
        self.register_buffer("mask", mask.view(shape))  # (C, H, W), one on the shell

    def split(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """y (N, C, H, W) -> core (N, d), shell (N, C, H, W) with zeros at the core."""
        return y.flatten(1)[:, self.index], y * self.mask

    def merge(self, core: Tensor, shell: Tensor) -> Tensor:
        """Inverse of `split`. Returns (N, C, H, W)."""
        return (shell * self.mask).flatten(1).index_copy(1, self.index, core).view_as(shell)

    def shell_of(self, image: Tensor) -> Tensor:
        """The image (N, C, H, W) with its core pixels set to zero."""
        return image * self.mask

    def shell_square(self, residual: Tensor) -> Tensor:
        """Squared norm of the shell part of a residual (N, C, H, W). Returns (N,)."""
        return self.shell_of(residual).square().flatten(1).sum(1)


def make_split(kind: str, shape: tuple[int, int, int], latent_dim: int) -> nn.Module:
    """`kind` in `SPLITS` -> a split of images of `shape` with a core of `latent_dim` dims."""
    if latent_dim < 1:
        raise ValueError(f"latent_dim={latent_dim} must be at least 1")
    if kind == "dct":
        return BasisSplit(dct_basis(shape, latent_dim), shape)
    if kind in ("center", "corner"):
        return PixelSplit(pixel_core(shape, latent_dim, kind), shape)
    raise ValueError(f"unknown core {kind!r}; choose one of {', '.join(SPLITS)}")
