"""Images as a backbone takes them: one declared layout, two types, one way of resizing."""

import torch
from torch import Tensor
from torch.nn import functional as F

SLACK = 1e-4  # beyond [0, 1], of a resampled image


def check(images: Tensor, channels: int) -> None:
    """Raise ValueError unless images are (N, C, H, W) or (N, T, C, H, W), uint8 or in [0, 1].

    The range of floats is not looked at while a graph is traced.
    """
    shape, want = tuple(images.shape), f"(N, {channels}, H, W) or (N, T, {channels}, H, W)"
    if images.dim() not in (4, 5):
        hint = "; for one image give images[None]" if images.dim() == 3 else ""
        raise ValueError(f"images of shape {shape}: expected {want}{hint}")
    if shape[-3] != channels:
        last = shape[-1] == channels
        hint = "; the channels are last: give images.movedim(-1, -3)" if last else ""
        raise ValueError(f"images of shape {shape}: expected {want}{hint}")
    if images.dtype == torch.uint8:
        return
    if not images.is_floating_point():
        raise ValueError(f"images of {images.dtype}: give uint8, or floats in [0, 1]")
    if torch.compiler.is_compiling() or not images.numel():
        return
    low, high = images.min().item(), images.max().item()
    if not (low >= -SLACK and high <= 1 + SLACK):
        raise ValueError(
            f"float images with values from {low:.3g} to {high:.3g}: expected [0, 1], without "
            "standardisation; divide by 255, or give uint8"
        )


def levels(images: Tensor, size: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """Return images (N, C, H, W) as grey levels from 0 to 255 of the size (H, W).

    Another size is resized by bilinear interpolation with antialiasing, sides independently.
    """
    of_bytes = images.dtype == torch.uint8
    x = images.to(dtype) if of_bytes else images.to(dtype) * 255
    if tuple(x.shape[-2:]) != size:
        x = F.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False)
    return x
