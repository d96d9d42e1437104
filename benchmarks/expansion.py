"""The unbounded direction of the expanded AEF: `python -m benchmarks.expansion [updates=1500]`.

Trains the expanded AEF on digits (16x16, d = 8, z ~ N(0, I)) with log sigma_e bounded by 4, as by
default, and without a bound; with the world model's networks, and with linear ones, whose encoder
can undo any sigma_e exactly. All else is equal. Every 50 updates it notes log sigma_e and what is
maximised, on validation images; at the end what can be said of p(x) itself, by importance sampling
with the best of several widths. Writes results/expansion.csv and draws docs/images/expansion.png.
"""

import csv
import itertools
import math
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from aef_worldmodel.autoencoders import ExpandedAEF
from aef_worldmodel.datasets import Images, load_images
from aef_worldmodel.distributions import standard_normal_log_prob
from aef_worldmodel.importance import importance_log_prob
from aef_worldmodel.networks import PatchDecoder, PatchEncoder
from agents.hardware import HardwareConfig
from agents.provenance import commit, machine

OUT, PICTURE = Path("results/expansion.csv"), Path("docs/images/expansion.png")
LATENT, WIDTH, HIDDEN, BATCH, RATE = 8, 32, 128, 64, 1e-3
NETWORKS, BOUNDS, SEEDS, EVERY = ("patch", "linear"), (4.0, math.inf), (0, 1), 50
WIDTHS, SAMPLES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0), 64  # of importance sampling


class LinearEncoder(nn.Module):
    """mean = A y + a and one log-scale a dimension: mu_e = (A - sigma_e W) y is within reach."""

    def __init__(self, shape: tuple[int, int, int]):
        super().__init__()
        self.mean = nn.Linear(math.prod(shape), LATENT)
        self.raw = nn.Parameter(torch.zeros(LATENT))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        mean = self.mean(image.flatten(1))
        return mean, self.raw.expand_as(mean)


def make_networks(kind: str, shape: tuple[int, int, int]) -> tuple[nn.Module, nn.Module]:
    """Encoder and decoder: the world model's, or linear ones."""
    if kind == "linear":
        out = nn.Linear(LATENT, math.prod(shape))
        return LinearEncoder(shape), nn.Sequential(out, nn.Unflatten(1, shape))
    sizes = (shape, LATENT, WIDTH, HIDDEN)
    return PatchEncoder(*sizes), PatchDecoder(*sizes)


def log_prior(latent: Tensor) -> Tensor:
    """log N(z; 0, I), nats (N,)."""
    return standard_normal_log_prob(latent).sum(-1)


def expanded_log_prob(eye: ExpandedAEF, code) -> Tensor:
    """log p(u, w) at w = W y, nats (N,): what is maximised."""
    return log_prior(code.latent) + code.volume + eye.pixels(code)


def bits(eye: ExpandedAEF, nats: Tensor) -> float:
    """Mean nats an image as bits/dim."""
    return 8 - nats.mean().item() / (eye.dims * math.log(2))


@torch.no_grad()
def look(eye: ExpandedAEF, images: Tensor) -> dict[str, float]:
    """log sigma_e and the objective on images, at the middles of the grey levels."""
    y = eye.preprocess(images, dequantise=False)
    _, log_scale = eye.statistics(y)  # (N, d)
    code = eye.encode_y(y)
    error = (y - eye.decoded(code.latent)).square().mean().sqrt().item()
    return {
        "log_sigma_mean": log_scale.mean().item(),
        "log_sigma_max": log_scale.max().item(),
        "expanded_bits": bits(eye, expanded_log_prob(eye, code)),
        "error": error,
        "latent_std": code.latent.std(0).mean().item(),
    }


@torch.no_grad()
def marginal_bits(eye: ExpandedAEF, data: Images) -> tuple[float, float]:
    """Bits/dim of p(x) on test images, by the width that is best on validation images."""

    def estimate(images: Tensor, width: float) -> float:
        y = eye.preprocess(images, dequantise=True)
        return bits(eye, importance_log_prob(eye, y, log_prior, SAMPLES, width=width))

    best = min(WIDTHS, key=lambda width: estimate(data.validation, width))
    return estimate(data.test, best), best


def train(data: Images, networks: str, bound: float, seed: int, updates: int) -> list[dict]:
    """One training; its rows."""
    torch.manual_seed(seed)
    pair = make_networks(networks, data.shape)
    eye = ExpandedAEF(*pair, data.shape, LATENT, log_scale_bound=bound)
    eye.set_mean(data.train)
    optimiser, rows = torch.optim.Adam(eye.parameters(), RATE), []
    for update in range(updates + 1):
        if update % EVERY == 0:
            row = {"networks": networks, "bound": bound, "seed": seed, "update": update}
            row |= look(eye, data.validation)
            if update == updates:
                row["marginal_bits"], row["width"] = marginal_bits(eye, data)
            rows.append(row)
            if not math.isfinite(row["expanded_bits"]):
                print(f"{networks}, bound {bound}, seed {seed}: not finite after {update} updates")
                break
        batch = data.train[torch.randint(len(data.train), (BATCH,))]
        loss = -expanded_log_prob(eye, eye.encode(batch, dequantise=True)).mean() / eye.dims
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(eye.parameters(), 1.0)
        optimiser.step()
    print(*(f"{k} {v:.5g}" if isinstance(v, float) else v for k, v in rows[-1].items()), flush=True)
    return rows


def draw(rows: list[dict]) -> None:
    """log sigma_e and the objective against updates, bounded and not."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.4))
    colours, styles = {4.0: "#3b7dd8", math.inf: "#e8731a"}, {"patch": "-", "linear": "--"}
    runs: dict[tuple, list[dict]] = {}
    for row in rows:
        runs.setdefault((row["networks"], row["bound"], row["seed"]), []).append(row)
    for (networks, bound, seed), run in runs.items():
        x = [row["update"] for row in run]
        name = f"{networks} networks, {'no bound' if math.isinf(bound) else 'bound 4'}"
        style = {"color": colours[bound], "ls": styles[networks],
                 "label": name if seed == SEEDS[0] else None}  # fmt: skip
        axes[0].plot(x, [row["log_sigma_mean"] for row in run], **style)
        axes[1].plot(x[4:], [row["expanded_bits"] for row in run][4:], **style)
    axes[0].set(xlabel="updates", ylabel="log sigma_e, mean")
    axes[1].set(xlabel="updates", ylabel="minus log p(u, w), bits/dim")
    axes[0].legend(frameon=False, fontsize=8)
    for axis in axes:
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, dpi=130)


def write(rows: list[dict], updates: int) -> None:
    """All rows as CSV, with where they come from."""
    fixed = {"commit": commit(),
             "hardware": machine(HardwareConfig(threads=1, autocast="float32")),
             "command": f"python -m benchmarks.expansion updates={updates}"}  # fmt: skip
    names = list(dict.fromkeys(name for row in rows for name in row))
    with open(OUT, "w", newline="") as file:
        writer = csv.DictWriter(file, [*names, *fixed])
        writer.writeheader()
        for row in rows:
            numbers = {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()}
            writer.writerow(numbers | fixed)


def main(arguments: list[str]) -> None:
    """Trains, writes and draws."""
    updates = int(dict(a.split("=", 1) for a in arguments).get("updates", 1500))
    torch.set_num_threads(1)
    data = load_images("digits:16")
    runs = itertools.product(NETWORKS, BOUNDS, SEEDS)
    rows = [row for run in runs for row in train(data, *run, updates)]
    write(rows, updates)
    draw(rows)
    print(f"{OUT} and {PICTURE} written")


if __name__ == "__main__":
    main(sys.argv[1:])
