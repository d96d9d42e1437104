"""Unusual images by their exact likelihood: `python examples/backbone_anomaly.py NAME`.

The score is the distance of log p(image) from its mean on usual images, in their standard
deviations: images that are too likely, such as dark ones, count as well.
"""

import sys

import torch
from torch import Tensor

from aef_worldmodel import AEFBackbone
from aef_worldmodel.data.datasets import load_images


def scores(backbone: AEFBackbone, usual: Tensor, images: Tensor) -> Tensor:
    """Return the anomaly score (N,) of images (N, C, H, W), given usual ones."""
    known = backbone.log_prob(usual)
    return (backbone.log_prob(images) - known.mean()).abs() / known.std()


def main(name: str) -> dict[str, float]:
    """Return the median score of usual frames, and of frames with three kinds of damage."""
    backbone, frames = AEFBackbone.from_pretrained(name).freeze(), load_images("frames:cheetah-run")
    torch.manual_seed(0)
    test = frames.test
    noisy = (test + 20 * torch.randn(test.shape)).clamp(0, 255).byte()
    patched = test.clone()
    patched[:, :, 20:36, 20:36] = 255
    kinds = {"usual": test, "noise": noisy, "white patch": patched, "dark": test // 8}
    return {k: scores(backbone, frames.train, x).median().item() for k, x in kinds.items()}


if __name__ == "__main__":
    for kind, score in main(sys.argv[1]).items():
        print(f"{kind}: {score:.1f} standard deviations from the mean log p")
