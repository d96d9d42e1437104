"""A linear probe of a backbone: `python examples/backbone_probe.py NAME`.

Reads the state of the cartpole off the latents of single images, for episodes it has not seen.
"""

import sys

from aef_worldmodel import AEFBackbone
from aef_worldmodel.metrics.regression import r_squared, ridge
from envs.scenes import random_scenes

POSITIONS = slice(0, 3)  # of cartpole's state: place of the cart, cosine and sine of the pole


def main(name: str, count: int = 400) -> float:
    """Return R^2 of positions on held-out environments."""
    backbone = AEFBackbone.from_pretrained(name).freeze()
    scenes = random_scenes("cartpole-swingup", count, seed=0)
    latents, truth = backbone(scenes.frames), scenes.proprio[:, POSITIONS]
    known = scenes.origin < 15  # of 20 environments
    predicted = ridge(latents[known], truth[known], latents[~known])
    return r_squared(predicted, truth[~known]).nanmean().item()


if __name__ == "__main__":
    print(f"R^2 of positions from one image: {main(sys.argv[1]):.3f}")
