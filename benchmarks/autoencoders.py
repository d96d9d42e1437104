"""Speed of the image models: `python -m benchmarks.autoencoders out=results/autoencoders.csv`.

Updates of AEF and VAE with equal networks, both directions of every flow, eager beside compiled
by torch.compile, and float32 beside networks in bfloat16, with the largest difference of their
likelihoods. Calls take turns in one process; the numbers are medians.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from aef_worldmodel import AEF, VAE, ImageModel
from aef_worldmodel.nn.flows import FLOWS, Flow
from aef_worldmodel.utils.command import run_command
from aef_worldmodel.utils.config.schema import check_bounds
from aef_worldmodel.utils.tables import Table
from agents.config import train as settings
from agents.config.hardware import HardwareConfig, resolve
from agents.training.provenance import provenance
from benchmarks.timing import median_seconds

BATCH = 128
SETUPS = {
    "28x28, conv, d=8": ((1, 28, 28), 8, "conv", 64),
    "64x64x3, patch, d=32": ((3, 64, 64), 32, "patch", 64),
}
MODELS = ("aef-center", "aef-dct", "aef-linear", "vae")
Row = tuple[str, float, str]  # what, value, unit


@dataclass(frozen=True)
class AutoencodersConfig:
    """Settings of `python -m benchmarks.autoencoders`."""

    rounds: int = 9
    """Times that each call counts."""
    compile: bool = True
    """Measure torch.compile, too, which needs a C++ compiler."""
    out: str | None = None
    """The CSV; null for none."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number that makes no sense."""
        check_bounds(self, rounds=(1, None))


def frames(shape: tuple[int, int, int]) -> torch.Tensor:
    """Return a batch of smooth images (N, C, H, W) uint8."""
    coarse = torch.rand(BATCH, shape[0], 4, 4)
    fine = torch.nn.functional.interpolate(coarse, shape[1:], mode="bicubic")
    return fine.clamp(0, 1).mul(255).byte()


def update(
    model: ImageModel, batch: torch.Tensor, low: bool = False, loss: Callable | None = None
) -> Callable[[], None]:
    """Return a function that takes one gradient step of Adam."""
    optimiser, loss = torch.optim.Adam(model.parameters(), 1e-3), loss or model.loss

    def step() -> None:
        with torch.autocast(batch.device.type, torch.bfloat16, enabled=low):
            value = loss(batch)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()

    return step


def make_model(name: str, setup: str) -> ImageModel:
    """Return a new model, the same at every call."""
    shape, dim, networks, width = SETUPS[setup]
    torch.manual_seed(0)
    options = {"networks": networks, "width": width}
    if name == "vae":
        return VAE(shape, dim, **options)
    return AEF(shape, dim, core=name.removeprefix("aef-"), **options)


def training(setup: str, rounds: int, compiled: bool) -> list[Row]:
    """Return images/s of an update, an AEF's time over the VAE's, and errors of bfloat16."""
    batch, calls, models = frames(SETUPS[setup][0]), {}, {}
    for name in MODELS:
        for kind in ("float32", "bfloat16"):
            model = models[f"{name}, {kind}"] = make_model(name, setup)
            model.initialise(batch)
            calls[f"{name}, {kind}"] = update(model, batch, kind == "bfloat16")
            if compiled and kind == "float32":
                fast = torch.compile(model.loss)
                calls[f"{name}, float32, compiled"] = update(model, batch, loss=fast)
    seconds = median_seconds(calls, rounds)
    rows: list[Row] = [(name, BATCH / s, "images/s") for name, s in seconds.items()]
    for name in MODELS[:-1]:
        for kind in ("float32", "bfloat16"):
            ratio = seconds[f"{name}, {kind}"] / seconds[f"vae, {kind}"]
            rows.append((f"{name} over the VAE's time, {kind}", ratio, "ratio"))
    for name in ("aef-center", "aef-dct"):
        error = difference(models[f"{name}, float32"], batch)
        rows.append((f"{name}, bfloat16 networks against float32", error, "bits/dim"))
    return [(f"{setup}: {what}", value, unit) for what, value, unit in rows]


@torch.no_grad()
def difference(model: ImageModel, batch: torch.Tensor) -> float:
    """Return the largest difference of an image's exact likelihood, in bits a dimension."""
    found = []
    for low in (False, True):
        torch.manual_seed(0)
        with torch.autocast(batch.device.type, torch.bfloat16, enabled=low):
            found.append(model.bits_per_dim(batch))
    return (found[0] - found[1]).abs().max().item()


@torch.no_grad()
def flows(rounds: int, compiled: bool) -> list[Row]:
    """Return milliseconds of both directions of a flow of three layers, 1024 latents."""
    calls = {}
    for dims in (8, 32, 128):
        x = torch.randn(1024, dims)
        for kind in FLOWS:
            flow = Flow(kind, dims)
            for way in ("forward", "inverse"):
                direction, name = getattr(flow, way), f"{kind} {way}, d={dims}"
                calls[name] = partial(direction, x)
                if compiled and dims == 32:
                    calls[f"{name}, compiled"] = partial(torch.compile(direction), x)
    return [(name, 1e3 * s, "ms") for name, s in median_seconds(calls, rounds).items()]


def main(argv: Sequence[str]) -> None:
    """Measure, print, and write the rows where asked."""
    asked = settings.load(argv, AutoencodersConfig, "benchmarks.autoencoders")
    rows = [row for setup in SETUPS for row in training(setup, asked.rounds, asked.compile)]
    rows += flows(asked.rounds, asked.compile)
    for what, value, unit in rows:
        print(f"{what:64s} {value:10.4g} {unit}")
    if asked.out:
        hardware = resolve(HardwareConfig(threads=torch.get_num_threads()))
        source = provenance("benchmarks.autoencoders", argv, hardware)
        names = ("what", "value", "unit")
        Table(asked.out, ("what",)).add(*(dict(zip(names, row)) | source for row in rows))


if __name__ == "__main__":
    run_command(main)
