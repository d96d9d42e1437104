"""The paper's claims at a size two cores can do: `python -m benchmarks.paper_claims`.

Trains every model at every latent dimension and seed with equal networks, data and updates, and
writes one row each to results/paper_claims/<data>.csv: bits/dim (exact or a bound, as `likelihood`
says), Frechet distance and sharpness of samples, reconstructions. Rows that are there are not made
again, so it can be stopped and started at will; data sets in commands of their own may run side by
side. `page` draws what is there to docs/images and writes docs/claims.md.

    python -m benchmarks.paper_claims data=digits
    python -m benchmarks.paper_claims data=frames:cartpole-swingup,frames:cheetah-run
    python -m benchmarks.paper_claims data=/path/to/mnist
    python -m benchmarks.paper_claims page
"""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from aef_worldmodel import entry, report
from aef_worldmodel.datasets import Images, load_images
from aef_worldmodel.errors import UserError
from aef_worldmodel.fit import Fitting
from aef_worldmodel.fit_config import FitConfig, FitConfigError, build
from aef_worldmodel.video import write_png
from agents.hardware import HardwareConfig, resolve
from agents.progress import duration
from agents.provenance import command, commit, machine
from agents.results import Results, written
from benchmarks import claims_page
from benchmarks.claims_page import KEY, MODELS, PICTURED, SETTINGS, SHOWN, file_name, mosaic

OUT = Path("results/paper_claims")
TASKS = ("cartpole-swingup", "cheetah-run", "walker-walk")
DEFAULTS = {
    "data": ",".join(["digits", *(f"frames:{task}" for task in TASKS)]),
    "models": ",".join(MODELS), "dims": "2,4,8,16,32", "seeds": "3", "out": str(OUT),
}  # fmt: skip
IMAGES = {"updates": "1500", "batch": "32", "width": "16", "rate": "1e-3",
          "variance": "independent", "sigma_floor": "0.01"}  # fmt: skip
FRAMES = {"updates": "500", "batch": "16", "width": "16", "rate": "2e-3",
          "variance": "fixed", "sigma_floor": "0.1"}  # fmt: skip


def settings_of(data: str, asked: dict[str, str]) -> dict[str, str]:
    """Words of training: those of frames or of other images, under what was asked."""
    usual = FRAMES if data.startswith(("frames", "env:")) else IMAGES
    return usual | {name: asked[name] for name in SETTINGS if name in asked}


def config_of(data: str, model: str, dim: str, seed: int, asked: dict[str, str]) -> FitConfig:
    """Settings of one row. Raises FitConfigError for a word that makes no sense."""
    words = settings_of(data, asked) | {"data": data, "model": model, "latent_dim": dim}
    config = build(words | {"seed": seed, "patience": 0})
    return dataclasses.replace(config, evaluate_every=max(config.updates // 10, 1))


def key_of(config: FitConfig) -> dict[str, str]:
    """What says which row it is; data by its name without folders."""
    return {name: written(getattr(config, name)) for name in KEY} | {"data": short(config.data)}


def examine(config: FitConfig, images: Images) -> tuple[dict, torch.Tensor]:
    """Trains one model for all its updates and measures the best weights: a row's numbers, and
    some samples (N, C, H, W) uint8."""
    fitting, begun = Fitting(config, images.train, images.validation), time.monotonic()
    while fitting.updates < config.updates:
        fitting.update()
        if fitting.updates % config.evaluate_every == 0 or fitting.updates == config.updates:
            fitting.validate()
    minutes = (time.monotonic() - begun) / 60
    fitting.take_best()
    torch.manual_seed(config.seed)
    numbers = report.measure(fitting.model, images.test, images.train, config.samples)
    networks = (fitting.model.eye.encoder, fitting.model.eye.decoder)
    sizes = {
        "parameters": sum(p.numel() for p in fitting.model.parameters()),
        "parameters_networks": sum(p.numel() for part in networks for p in part.parameters()),
    }
    row = sizes | {"best_at": fitting.best_at, "minutes": minutes} | numbers
    return row, report.draw(fitting.model, SHOWN)


def study(asked: dict[str, str], words: Sequence[str]) -> None:
    """Makes the rows that are missing, a seed of every data set after the other."""
    hardware = resolve(HardwareConfig(threads=torch.get_num_threads(), autocast="float32"))
    out = Path(asked["out"])
    source = {"commit": commit(), "hardware": machine(hardware),
              "command": command("benchmarks.paper_claims", map(short_word, words))}  # fmt: skip
    names = asked["data"].split(",")
    configs = [
        config_of(data, model, dim, seed, asked)
        for seed in range(whole(asked, "seeds")) for data in names
        for dim in asked["dims"].split(",") for model in asked["models"].split(",")
    ]  # fmt: skip
    tables = {data: Results(out / f"{file_name(short(data))}.csv", KEY) for data in names}
    missing = [c for c in configs if tables[c.data].find(key_of(c)) is None]
    print(f"{len(missing)} of {len(configs)} to do")
    sets = {data: load_images(data) for data in dict.fromkeys(c.data for c in missing)}
    begun = time.monotonic()
    for done, config in enumerate(missing, 1):
        key, images = key_of(config), sets[config.data]
        row, drawn = examine(config, images)
        tables[config.data].add(key | row | source)
        if config.seed == 0 and config.latent_dim == PICTURED:
            folder = out / "samples" / file_name(key["data"])
            folder.mkdir(parents=True, exist_ok=True)
            write_png(folder / f"{config.model}.png", mosaic(drawn))
            write_png(folder / "data.png", mosaic(images.test[:SHOWN]))
        left = (time.monotonic() - begun) / done * (len(missing) - done)
        bits, kind = row["bits_per_dim"], row["likelihood"]
        print(f"{key['data']} {config.model} d={config.latent_dim} seed {config.seed}: {bits:.3f} "
              f"bits/dim ({kind}), Frechet {row['frechet_samples']:.3g}; left {duration(left)}",
              flush=True)  # fmt: skip


def whole(asked: dict[str, str], name: str) -> int:
    """A word that must be a whole number of at least 1."""
    if not asked[name].isdecimal() or int(asked[name]) < 1:
        raise UserError(f"{name}={asked[name]} is wrong: expected a whole number of at least 1")
    return int(asked[name])


def short(data: str) -> str:
    """A data set's name without folders, so that rows name no machine's paths."""
    return Path(data).name


def short_word(word: str) -> str:
    """A word of the command line without folders."""
    key, _, value = word.partition("=")
    return f"{key}={','.join(short(part) for part in value.split(','))}"


def main(words: Sequence[str]) -> None:
    """Makes rows, or with the word `page` the page."""
    asked, known = dict(DEFAULTS), (*DEFAULTS, *SETTINGS)
    for word in words:
        key, equals, value = word.partition("=")
        if word != "page" and (not equals or key not in known):
            raise UserError(f"unknown word {word!r}: give page, or one of {', '.join(known)}=…")
        if equals:
            asked[key] = value
    strange = set(asked["models"].split(",")) - set(MODELS)
    if strange:
        raise FitConfigError(f"unknown model={strange.pop()}: there are {', '.join(MODELS)}")
    if "page" in words:
        print("\n".join(map(str, claims_page.write(Path(asked["out"])))))
    else:
        study(asked, words)


if __name__ == "__main__":
    entry.run(main)
