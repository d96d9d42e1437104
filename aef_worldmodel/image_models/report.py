"""Measures of a trained image model: likelihood, reconstructions, samples, and pictures."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from aef_worldmodel.image_models.model import ImageModel
from aef_worldmodel.metrics.frechet import Features, Frechet
from aef_worldmodel.metrics.image_quality import WINDOW, psnr, sharpness, ssim, to_uint8
from aef_worldmodel.utils.files import atomic_write
from aef_worldmodel.viz import grids
from aef_worldmodel.viz.video import write_png

BATCH = 256  # images at once
FITTED = 64  # images on which the width of a bound's proposals is chosen
SHOWN = 40  # images of a grid
KINDS = {"exact": "exact", "bound": "an upper bound"}  # likelihood -> kind of bits a dimension

Numbers = dict[str, float | str]


def batched(function: Callable[[Tensor], Tensor], images: Tensor, batch: int = BATCH) -> Tensor:
    """Return `function` of parts of `images`, joined."""
    return torch.cat([function(part) for part in images.split(batch)])


def draw(model: ImageModel, count: int, temperature: float = 1.0) -> Tensor:
    """Return mean images of latents from the prior, (count, C, H, W) uint8 on the CPU."""
    sizes = [min(BATCH, count - begin) for begin in range(0, count, BATCH)]
    return torch.cat([to_uint8(model.sample(size, temperature)).cpu() for size in sizes])


@torch.no_grad()
def bits(model: ImageModel, images: Tensor, samples: int | None = None) -> Tensor:
    """Return bits a dimension of each image (N,), newly dequantised."""
    if model.likelihood == "exact":
        samples = None
    return batched(lambda part: model.bits_per_dim(part, samples), images)


@torch.no_grad()
def measure(
    model: ImageModel, test: Tensor, train: Tensor, samples: int, features: Features | None = None
) -> Numbers:
    """Return numbers on images that the model has not seen.

    The numbers are bits_per_dim (`likelihood` names their kind), psnr in dB and ssim of
    reconstructions, Frechet distances of samples and, as their floor, of as many training images,
    and sharpness of samples as a ratio to that of the data. The width of a bound's proposals is
    fitted to the first 64 training images.

    Args:
        model: a trained model.
        test: images (N, C, H, W) uint8.
        train: training images (M, C, H, W) uint8.
        samples: K of a bound.
        features: of the Frechet distance; None for the built-in ones.
    """
    again = to_uint8(batched(model.reconstruct, test)).cpu()
    truth = test.cpu()
    numbers: Numbers = {"likelihood": model.likelihood}
    if model.likelihood != "none":
        model.fit_width(train[:FITTED])
        numbers["bits_per_dim"] = bits(model, test, samples).mean().item()
        if model.likelihood == "bound":
            numbers |= {"samples": samples, "proposal_width": model.width.item()}
    numbers["psnr"] = psnr(again, truth).mean().item()
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
    """Return grids (height, width, 3) uint8 by name, from images (N, C, H, W) uint8.

    The grids are reconstructions and, where the model has a prior, samples and interpolations.
    """
    shown = test[: SHOWN // 2]
    again = to_uint8(model.reconstruct(shown)).cpu()
    made = {"reconstructions": grids.reconstructions(shown.cpu(), again, "reconstructions")}
    if model.likelihood != "none":
        made["samples"] = grids.samples(draw(model, SHOWN), "samples, temperature 1")
        half = min(len(shown) // 2, 5)
        paths = to_uint8(model.interpolate(shown[:half], shown[half : 2 * half], 10)).cpu()
        made["interpolations"] = grids.interpolations(paths, "straight ways in z0")
    return made


def write_report(folder: Path, numbers: Mapping[str, object], made: Mapping[str, Tensor]) -> None:
    """Write numbers to `folder/report.json` and each picture to `folder/<name>.png`.

    Raises UserError if a file cannot be written.
    """
    with atomic_write(folder / "report.json") as file:
        file.write(json.dumps(numbers, indent=1) + "\n")
    for name, picture in made.items():
        write_png(folder / f"{name}.png", picture)


def format_report(numbers: Numbers) -> str:
    """Return the report as lines of names and values."""
    lines = []
    for name, value in numbers.items():
        shown = f"{value:.4g}" if isinstance(value, float) else value
        if name == "bits_per_dim":
            shown = f"{value:.4f} ({KINDS[str(numbers['likelihood'])]})"
        lines.append(f"  {name:24s} {shown}")
    return "\n".join(lines)
