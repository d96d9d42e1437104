"""The paper's claims at a size two cores can do: `python -m benchmarks.paper_claims`.

Trains every model at every latent dimension and seed with equal networks, data and updates, and
writes one row each to results/paper_claims.csv: bits/dim (exact or a bound, as `likelihood` says),
Frechet distance and sharpness of samples, reconstructions. Rows that are there are not made again,
so it can be stopped and started at will. `plot` draws what is there to docs/images.

    python -m benchmarks.paper_claims data=digits updates=1500
    python -m benchmarks.paper_claims data=frames:cheetah-run,frames:walker-walk
    python -m benchmarks.paper_claims data=/path/to/mnist
    python -m benchmarks.paper_claims plot
"""

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import torch
from matplotlib import pyplot
from scipy.stats import t as student

from aef_worldmodel import entry, report
from aef_worldmodel.datasets import Images, load_images
from aef_worldmodel.errors import UserError
from aef_worldmodel.fit import Fitting
from aef_worldmodel.fit_config import FitConfig
from agents.hardware import HardwareConfig, resolve
from agents.progress import duration
from agents.provenance import command, commit, machine
from agents.results import Results, Row

OUT = Path("results/paper_claims.csv")
PICTURES = Path("docs/images")
KEY = ("data", "model", "latent_dim", "seed", "updates")
MODELS = {
    "aef-center": "#c2571a", "aef-corner": "#e0a030", "aef-dct": "#8c1c13", "aef-linear": "#d98880",
    "vae": "#2b6ca3", "iwae": "#5fa8d3", "vae-iaf": "#5b4b9a",
}  # fmt: skip
TASKS = ("cartpole-swingup", "cheetah-run", "walker-walk")
DEFAULTS = {
    "data": ",".join(["digits", *(f"frames:{task}" for task in TASKS)]),
    "models": ",".join(MODELS), "dims": "2,4,8,16,32", "seeds": "3", "updates": "1500",
    "batch": "64", "width": "32", "out": str(OUT),
}  # fmt: skip
MEASURES = {
    "bits_per_dim": "bits/dim of test images",
    "frechet_samples": "Frechet distance of samples",
    "sharp_high": "high-frequency power of samples / data",
    "psnr": "PSNR of reconstructions, dB",
}


def examine(config: FitConfig, images: Images) -> dict:
    """Trains one model for all its updates and measures the best weights."""
    fitting, begun = Fitting(config, images.train, images.validation), time.monotonic()
    while fitting.updates < config.updates:
        fitting.update()
        if fitting.updates % config.evaluate_every == 0 or fitting.updates == config.updates:
            fitting.validate()
    minutes = (time.monotonic() - begun) / 60
    fitting.take_best()
    torch.manual_seed(config.seed)
    numbers = report.measure(fitting.model, images.test, images.train, config.samples)
    sizes = {
        "parameters": sum(p.numel() for p in fitting.model.parameters()),
        "parameters_networks": sum(
            p.numel() for part in (fitting.model.eye.encoder, fitting.model.eye.decoder)
            for p in part.parameters()
        ),
    }  # fmt: skip
    fixed = {"batch": config.batch, "rate": config.rate, "width": config.width,
             "sigma_floor": config.sigma_floor, "best_at": fitting.best_at}  # fmt: skip
    return sizes | fixed | {"minutes": minutes} | numbers


def study(asked: dict[str, str], words: Sequence[str]) -> None:
    """Makes the rows that are missing."""
    hardware = resolve(HardwareConfig(threads=torch.get_num_threads()))
    results = Results(asked["out"], KEY)
    source = {"commit": commit(), "hardware": machine(hardware),
              "command": command("benchmarks.paper_claims", map(short, words))}  # fmt: skip
    keys = [
        dict(zip(KEY, (data, model, int(dim), seed, int(asked["updates"]))))
        for data in asked["data"].split(",") for seed in range(int(asked["seeds"]))
        for dim in asked["dims"].split(",") for model in asked["models"].split(",")
    ]  # fmt: skip
    for key in keys:  # a wrong name is told before an hour has passed
        config_of(key, asked)
    missing = [key | {"name": Path(key["data"]).name} for key in keys]
    missing = [k for k in missing if results.find(k | {"data": k["name"]}) is None]
    print(f"{len(missing)} of {len(keys)} to do")
    begun, images, loaded = time.monotonic(), None, None
    for done, key in enumerate(missing, 1):
        if loaded != key["data"]:
            images, loaded = load_images(key["data"]), key["data"]
            print(images.source, flush=True)
        row = examine(config_of(key, asked), images)
        named = {name: key[name] for name in KEY} | {"data": key["name"]}
        results.add(named | row | source)
        left = (time.monotonic() - begun) / done * (len(missing) - done)
        bits, kind = row["bits_per_dim"], row["likelihood"]
        print(f"{key['name']} {key['model']} d={key['latent_dim']} seed {key['seed']}: {bits:.3f} "
              f"bits/dim ({kind}), Frechet {row['frechet_samples']:.3g}; left {duration(left)}",
              flush=True)  # fmt: skip


def short(word: str) -> str:
    """A word without folders, so that rows name no machine's paths."""
    key, _, value = word.partition("=")
    return f"{key}={','.join(Path(part).name for part in value.split(','))}"


def config_of(key: dict, asked: dict[str, str]) -> FitConfig:
    """Settings of one row."""
    updates = key["updates"]
    return FitConfig(data=key["data"], model=key["model"], latent_dim=key["latent_dim"],
                     seed=key["seed"], updates=updates, width=int(asked["width"]),
                     batch=int(asked["batch"]), patience=0,
                     evaluate_every=max(updates // 20, 1))  # fmt: skip


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half of its 95 % interval (Student's t over seeds); 0 for one seed."""
    if len(values) < 2:
        return values[0], 0.0
    half = student.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return statistics.mean(values), half


def plot(rows: Sequence[Row]) -> list[Path]:
    """One picture a data set: every measure against the latent dimension."""
    matplotlib.use("Agg")
    paths = []
    for data in dict.fromkeys(row["data"] for row in rows):
        own = [row for row in rows if row["data"] == data]
        figure, axes = pyplot.subplots(1, len(MEASURES), figsize=(4.2 * len(MEASURES), 3.6))
        for axis, (name, words) in zip(axes, MEASURES.items()):
            for model, colour in MODELS.items():
                _line(axis, [r for r in own if r["model"] == model], name, model, colour)
            axis.set_xscale("log", base=2)
            axis.set_xlabel("latent dimension")
            axis.set_title(words, fontsize=9)
        axes[0].legend(fontsize=7)
        seeds, updates = len({r["seed"] for r in own}), own[0]["updates"]
        figure.suptitle(f"{data}: {updates} updates, {seeds} seeds, 95 % intervals of the mean")
        figure.tight_layout()
        PICTURES.mkdir(parents=True, exist_ok=True)
        paths.append(PICTURES / f"paper_claims_{data.replace(':', '-')}.png")
        figure.savefig(paths[-1], dpi=90)
        pyplot.close(figure)
    return paths


def _line(axis, rows: Sequence[Row], name: str, label: str, colour: str) -> None:
    dims = sorted({int(row["latent_dim"]) for row in rows if row.get(name)})
    values = [
        interval([float(r[name]) for r in rows if int(r["latent_dim"]) == dim and r.get(name)])
        for dim in dims
    ]
    if values:
        means, halves = zip(*values)
        axis.errorbar(dims, means, halves, label=label, color=colour, capsize=2, linewidth=1.2)


def main(words: Sequence[str]) -> None:
    """Makes rows, or with the word `plot` pictures."""
    asked = dict(DEFAULTS)
    for word in words:
        key, equals, value = word.partition("=")
        if word != "plot" and (not equals or key not in DEFAULTS):
            raise UserError(f"unknown word {word!r}: give plot, or one of {', '.join(DEFAULTS)}=…")
        if equals:
            asked[key] = value
    if "plot" in words:
        rows = Results(asked["out"], KEY).rows
        if not rows:
            raise UserError(f"{asked['out']} has no rows yet: run the study first")
        print("\n".join(map(str, plot(rows))))
    else:
        study(asked, words)


if __name__ == "__main__":
    entry.run(main)
