"""Speed of the image models: `python -m benchmarks.autoencoders out=results/autoencoders.csv`.

Everything that is compared runs in turns in one process; medians. Training images/s of AEF and
VAE with equal networks and their ratio; both directions of every flow; eager against
torch.compile; float32 against networks in bfloat16, and by how much their likelihoods differ.
"""

import csv
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from aef_worldmodel import AEF, VAE, ImageModel, entry
from aef_worldmodel.errors import UserError
from aef_worldmodel.flows import FLOWS, Flow
from agents.hardware import HardwareConfig, resolve
from agents.provenance import command, commit, machine

BATCH, ROUNDS = 128, 9
SETUPS = {"28x28, conv, d=8": ((1, 28, 28), 8, "conv", 64),
          "64x64x3, patch, d=32": ((3, 64, 64), 32, "patch", 64)}  # fmt: skip
Row = tuple[str, float, str]  # what, number, unit


def medians(things: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each, taken in turns; two rounds before are not counted."""
    times: dict[str, list[float]] = {name: [] for name in things}
    for turn in range(rounds + 2):
        for name, thing in things.items():
            begin = time.perf_counter()
            thing()
            if turn > 1:
                times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values) for name, values in times.items()}


def frames(shape: tuple[int, int, int]) -> torch.Tensor:
    """A batch of smooth images."""
    coarse = torch.rand(BATCH, shape[0], 4, 4)
    fine = torch.nn.functional.interpolate(coarse, shape[1:], mode="bicubic")
    return fine.clamp(0, 1).mul(255).byte()


def update(
    model: ImageModel, batch: torch.Tensor, low: bool = False, loss: Callable | None = None
) -> Callable[[], None]:
    """One gradient step of Adam."""
    optimiser, loss = torch.optim.Adam(model.parameters(), 1e-3), loss or model.loss

    def step() -> None:
        with torch.autocast(batch.device.type, torch.bfloat16, enabled=low):
            value = loss(batch)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()

    return step


def training(rounds: int, compiled: bool) -> list[Row]:
    """Images/s of an update, and the AEF's time over the VAE's."""
    rows = []
    for setup, (shape, dim, networks, width) in SETUPS.items():
        batch, things, models = frames(shape), {}, {}
        for name in ("aef-center", "aef-dct", "aef-linear", "vae"):
            for low in (False, True):
                torch.manual_seed(0)
                options = {"networks": networks, "width": width}
                model = (VAE(shape, dim, **options) if name == "vae"
                         else AEF(shape, dim, core=name[4:], **options))  # fmt: skip
                model.initialise(batch)
                label = f"{name}, {'bfloat16' if low else 'float32'}"
                models[label], things[label] = model, update(model, batch, low)
                if compiled and not low:
                    fast = torch.compile(model.loss)
                    things[f"{name}, float32, compiled"] = update(model, batch, loss=fast)
        seconds = medians(things, rounds)
        rows += [(f"{setup}: {name}", BATCH / s, "images/s") for name, s in seconds.items()]
        rows += [
            (f"{setup}: {name} over the VAE's time, {kind}",
             seconds[f"{name}, {kind}"] / seconds[f"vae, {kind}"], "ratio")
            for name in ("aef-center", "aef-dct", "aef-linear") for kind in ("float32", "bfloat16")
        ]  # fmt: skip
        rows += [(f"{setup}: {name}, bfloat16 networks against float32",
                  difference(models[name + ", float32"], batch), "bits/dim")
                 for name in ("aef-center", "aef-dct")]  # fmt: skip
    return rows


@torch.no_grad()
def difference(model: ImageModel, batch: torch.Tensor) -> float:
    """Largest difference among images of the exact likelihood, in bits a dimension."""
    found = []
    for low in (False, True):
        torch.manual_seed(0)
        with torch.autocast(batch.device.type, torch.bfloat16, enabled=low):
            found.append(model.bits_per_dim(batch))
    return (found[0] - found[1]).abs().max().item()


def flows(rounds: int, compiled: bool) -> list[Row]:
    """Milliseconds of both directions of a flow of three layers, 1024 latents."""
    things = {}
    with torch.no_grad():
        for dims in (8, 32, 128):
            x = torch.randn(1024, dims)
            for kind in FLOWS:
                flow = Flow(kind, dims)
                for way in ("forward", "inverse"):
                    direction = getattr(flow, way)
                    name = f"{kind} {way}, d={dims}"
                    things[name] = lambda direction=direction, x=x: direction(x)
                    if compiled and dims == 32:
                        fast = torch.compile(direction)
                        things[f"{name}, compiled"] = lambda fast=fast, x=x: fast(x)
        return [(name, 1e3 * s, "ms") for name, s in medians(things, rounds).items()]


def main(words: Sequence[str]) -> None:
    """Measures, prints, and writes a CSV where asked."""
    asked = {"out": "", "rounds": str(ROUNDS), "compile": "true"}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in asked:
            raise UserError(f"unknown word {word!r}: give one of {', '.join(asked)}=…")
        asked[key] = value
    hardware = resolve(HardwareConfig(threads=torch.get_num_threads()))
    rounds, compiled = int(asked["rounds"]), asked["compile"] == "true"
    rows = training(rounds, compiled) + flows(rounds, compiled)
    for name, value, unit in rows:
        print(f"{name:64s} {value:10.4g} {unit}")
    if asked["out"]:
        source = (commit(), machine(hardware), command("benchmarks.autoencoders", words))
        Path(asked["out"]).parent.mkdir(parents=True, exist_ok=True)
        with open(asked["out"], "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["what", "value", "unit", "commit", "hardware", "command"])
            for name, value, unit in rows:
                writer.writerow([name, f"{value:.4g}", unit, *source])


if __name__ == "__main__":
    entry.run(main)
