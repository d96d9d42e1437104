"""The unbounded direction of the expanded AEF: `python -m benchmarks.expansion`.

The expanded AEF learns digits (16x16, d = 8, z ~ N(0, I)) with log sigma_e bounded by 4, as by
default, and without a bound; with the world model's networks, and with linear ones, whose encoder
can undo any sigma_e exactly. All else is equal. Every 50 updates a row has log sigma_e and the
objective, on validation images; the last one also has log p(x), by importance sampling with the
best of several widths. The rows go to results/expansion.csv, the plot to docs/images/expansion.png.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from aef_worldmodel.autoencoders.aef import ExpandedAEF
from aef_worldmodel.autoencoders.base import Code
from aef_worldmodel.autoencoders.patch_networks import PatchDecoder, PatchEncoder
from aef_worldmodel.data.datasets import Images, load_images
from aef_worldmodel.image_models.importance import importance_log_prob
from aef_worldmodel.nn.distributions import standard_normal_log_prob
from aef_worldmodel.utils.command import run_command
from aef_worldmodel.utils.config.schema import check_bounds
from aef_worldmodel.utils.tables import Table
from agents.config import train as settings
from agents.config.hardware import HardwareConfig
from agents.training.provenance import provenance

LATENT, WIDTH, HIDDEN, BATCH, RATE = 8, 32, 128, 64, 1e-3
NETWORKS, BOUNDS, SEEDS, EVERY = ("patch", "linear"), (4.0, math.inf), (0, 1), 50
WIDTHS, SAMPLES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0), 64  # of importance sampling


@dataclass(frozen=True)
class ExpansionConfig:
    """Settings of `python -m benchmarks.expansion`."""

    updates: int = 1_500
    """Updates of each training."""
    out: str = "results/expansion.csv"
    """The CSV."""
    image: str = "docs/images/expansion.png"
    """The plot."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number that makes no sense."""
        check_bounds(self, updates=(1, None))


class LinearEncoder(nn.Module):
    """mean = A y + a, and one log-scale a dimension; mu_e = (A - sigma_e W) y is within reach."""

    def __init__(self, shape: tuple[int, int, int]):
        super().__init__()
        self.mean = nn.Linear(math.prod(shape), LATENT)
        self.raw = nn.Parameter(torch.zeros(LATENT))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        mean = self.mean(image.flatten(1))
        return mean, self.raw.expand_as(mean)


def make_networks(kind: str, shape: tuple[int, int, int]) -> tuple[nn.Module, nn.Module]:
    """Return encoder and decoder: the world model's, or linear ones."""
    if kind == "linear":
        out = nn.Linear(LATENT, math.prod(shape))
        return LinearEncoder(shape), nn.Sequential(out, nn.Unflatten(1, shape))
    sizes = (shape, LATENT, WIDTH, HIDDEN)
    return PatchEncoder(*sizes), PatchDecoder(*sizes)


def log_prior(latent: Tensor) -> Tensor:
    """Return log N(z; 0, I) of latents (N, d), nats (N,)."""
    return standard_normal_log_prob(latent).sum(-1)


def expanded_log_prob(autoencoder: ExpandedAEF, code: Code) -> Tensor:
    """Return the objective: log p(u, w) at w = W y, nats (N,)."""
    return log_prior(code.latent) + code.log_det + autoencoder.reconstruction_log_prob(code)


def bits(autoencoder: ExpandedAEF, nats: Tensor) -> float:
    """Return the mean of nats an image (N,) as bits/dim."""
    return 8 - nats.mean().item() / (autoencoder.dims * math.log(2))


@torch.no_grad()
def look(autoencoder: ExpandedAEF, images: Tensor) -> dict[str, float]:
    """Return log sigma_e and the objective on images, at the middles of the grey levels."""
    y = autoencoder.preprocess(images, dequantise=False)
    _, log_scale = autoencoder.statistics(y)  # (N, d)
    code = autoencoder.encode_y(y)
    error = (y - autoencoder.decoded(code.latent)).square().mean().sqrt().item()
    return {
        "log_sigma_mean": log_scale.mean().item(),
        "log_sigma_max": log_scale.max().item(),
        "expanded_bits": bits(autoencoder, expanded_log_prob(autoencoder, code)),
        "error": error,
        "latent_std": code.latent.std(0).mean().item(),
    }


@torch.no_grad()
def marginal_bits(autoencoder: ExpandedAEF, data: Images) -> tuple[float, float]:
    """Return bits/dim of p(x) on test images, and the width, the best on validation images."""

    def estimate(images: Tensor, width: float) -> float:
        y = autoencoder.preprocess(images, dequantise=True)
        return bits(
            autoencoder, importance_log_prob(autoencoder, y, log_prior, SAMPLES, width=width)
        )

    best = min(WIDTHS, key=lambda width: estimate(data.validation, width))
    return estimate(data.test, best), best


def train(data: Images, networks: str, bound: float, seed: int, updates: int) -> list[dict]:
    """Train once and return the rows."""
    torch.manual_seed(seed)
    pair = make_networks(networks, data.shape)
    autoencoder = ExpandedAEF(*pair, data.shape, LATENT, log_scale_bound=bound)
    autoencoder.set_mean(data.train)
    optimiser, rows = torch.optim.Adam(autoencoder.parameters(), RATE), []
    for update in range(updates + 1):
        if update % EVERY == 0:
            row = {"networks": networks, "bound": bound, "seed": seed, "update": update}
            row |= look(autoencoder, data.validation)
            if update == updates:
                row["marginal_bits"], row["width"] = marginal_bits(autoencoder, data)
            rows.append(row)
            if not math.isfinite(row["expanded_bits"]):
                print(f"{networks}, bound {bound}, seed {seed}: not finite after {update} updates")
                break
        batch = data.train[torch.randint(len(data.train), (BATCH,))]
        loss = (
            -expanded_log_prob(autoencoder, autoencoder.encode(batch, dequantise=True)).mean()
            / autoencoder.dims
        )
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(autoencoder.parameters(), 1.0)
        optimiser.step()
    print(*(f"{k} {v:.5g}" if isinstance(v, float) else v for k, v in rows[-1].items()), flush=True)
    return rows


def draw(rows: list[dict], path: Path) -> None:
    """Draw log sigma_e and the objective against updates, bounded and not."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.4))
    colours, styles = {4.0: "#3b7dd8", math.inf: "#e8731a"}, {"patch": "-", "linear": "--"}
    runs: dict[tuple, list[dict]] = {}
    for row in rows:
        runs.setdefault((row["networks"], row["bound"], row["seed"]), []).append(row)
    for (networks, bound, seed), run in runs.items():
        x = [row["update"] for row in run]
        name = f"{networks} networks, {'no bound' if math.isinf(bound) else 'bound 4'}"
        style = {
            "color": colours[bound],
            "ls": styles[networks],
            "label": name if seed == SEEDS[0] else None,
        }
        axes[0].plot(x, [row["log_sigma_mean"] for row in run], **style)
        axes[1].plot(x[4:], [row["expanded_bits"] for row in run][4:], **style)
    axes[0].set(xlabel="updates", ylabel="log sigma_e, mean")
    axes[1].set(xlabel="updates", ylabel="minus log p(u, w), bits/dim")
    axes[0].legend(frameon=False, fontsize=8)
    for axis in axes:
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def main(argv: Sequence[str]) -> None:
    """Train everything, write the rows with their provenance, and draw."""
    asked = settings.load(argv, ExpansionConfig, "benchmarks.expansion")
    torch.set_num_threads(1)
    data = load_images("digits:16")
    runs = itertools.product(NETWORKS, BOUNDS, SEEDS)
    rows = [row for run in runs for row in train(data, *run, asked.updates)]
    hardware = HardwareConfig(threads=1, precision="float32")
    source = provenance("benchmarks.expansion", argv, hardware)
    Table(asked.out, ("networks", "bound", "seed", "update")).add(*(row | source for row in rows))
    draw(rows, Path(asked.image))
    print(f"{asked.out} and {asked.image} written")


if __name__ == "__main__":
    run_command(main)
