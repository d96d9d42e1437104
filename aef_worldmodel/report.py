"""What a trained image model is worth: likelihood, reconstructions, samples, and pictures."""

from pathlib import Path

import torch
from torch import Tensor

from aef_worldmodel import grids
from aef_worldmodel.frechet import Features, Frechet
from aef_worldmodel.image_model import ImageModel
from aef_worldmodel.image_quality import WINDOW, psnr, sharpness, ssim, to_uint8
from aef_worldmodel.video import write_png

BATCH = 256  # images at once
FITTED = 64  # images on which the width of a bound's proposals is chosen
SHOWN = 40  # images of a grid


def batched(function, images: Tensor, batch: int = BATCH) -> Tensor:
    """`function` of parts of `images`, joined."""
    return torch.cat([function(part) for part in images.split(batch)])


def draw(model: ImageModel, count: int, temperature: float = 1.0) -> Tensor:
    """`count` mean images of latents from the prior, (N, C, H, W) uint8 on the processor."""
    sizes = [min(BATCH, count - begin) for begin in range(0, count, BATCH)]
    return torch.cat([to_uint8(model.sample(size, temperature)).cpu() for size in sizes])


@torch.no_grad()
def bits(model: ImageModel, images: Tensor, samples: int | None = None) -> Tensor:
    """Bits a dimension of each image (N,), noise drawn anew."""
    if model.likelihood == "exact":
        samples = None
    return batched(lambda part: model.bits_per_dim(part, samples), images)


@torch.no_grad()
def measure(
    model: ImageModel, test: Tensor, train: Tensor, samples: int, features: Features | None = None
) -> dict[str, float | str]:
    """Numbers on images (N, C, H, W) uint8 the model has not seen.

    bits_per_dim (of what kind: `likelihood`), psnr and ssim of reconstructions, Frechet distances
    of samples and, as their floor, of as many training images; sharpness of samples as a ratio to
    the data's. A bound's proposals are as wide as suits the first 64 training images.
    """
    again = to_uint8(batched(model.reconstruct, test)).cpu()
    truth = test.cpu()
    numbers: dict[str, float | str] = {"likelihood": model.likelihood}
    if model.likelihood != "none":
        model.fit_width(train[:FITTED])
        numbers["bits_per_dim"] = bits(model, test, samples).mean().item()
        if model.likelihood == "bound":
            numbers |= {"samples": samples, "proposal_width": model.width.item()}
    numbers["psnr"] = psnr(again, truth).clamp(max=100).mean().item()
    if min(truth.shape[2:]) >= WINDOW:
        numbers["ssim"] = ssim(again, truth).mean().item()
    frechet = Frechet(truth, features)
    numbers["frechet_name"] = frechet.name
    numbers["frechet_reconstructions"] = frechet(again)
    if model.likelihood != "none":
        drawn = draw(model, len(truth))
        numbers["frechet_samples"] = frechet(drawn)
        sharp = sharpness(drawn, truth)
        numbers |= {"sharp_gradient": sharp.gradient, "sharp_high": sharp.high_frequency}
    numbers["frechet_data"] = frechet(train[: len(truth)].cpu())
    return numbers


@torch.no_grad()
def pictures(model: ImageModel, test: Tensor) -> dict[str, Tensor]:
    """Grids (height, width, 3) uint8: reconstructions, and where there is a prior samples and
    ways between images."""
    shown = test[: SHOWN // 2]
    again = to_uint8(model.reconstruct(shown)).cpu()
    made = {"reconstructions": grids.reconstructions(shown.cpu(), again, "reconstructions")}
    if model.likelihood != "none":
        made["samples"] = grids.samples(draw(model, SHOWN), "samples, temperature 1")
        half = min(len(shown) // 2, 5)
        ways = to_uint8(model.interpolate(shown[:half], shown[half : 2 * half], 10)).cpu()
        made["interpolations"] = grids.interpolations(ways, "straight ways in z0")
    return made


def write_pictures(folder: Path, made: dict[str, Tensor]) -> None:
    """Writes each as `folder/<name>.png`."""
    for name, picture in made.items():
        write_png(folder / f"{name}.png", picture)
