"""The page of the paper's claims: plots, samples beside each other, tables.

Reads results/paper_claims/<data>.csv and the samples beside them; writes docs/claims.md and its
pictures in docs/images. `python -m benchmarks.paper_claims page` calls it.
"""

import statistics
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib import pyplot
from PIL import Image
from scipy.stats import t as student
from torch import Tensor

from aef_worldmodel.errors import UserError
from aef_worldmodel.grids import compose
from aef_worldmodel.video import write_png
from agents.results import Results, Row

PAGE, PICTURES = Path("docs/claims.md"), Path("docs/images")
SETTINGS = ("updates", "batch", "width", "rate", "variance", "sigma_floor")
KEY = ("data", "model", "latent_dim", "seed", *SETTINGS)
MODELS = {
    "aef-center": "#c2571a", "aef-corner": "#e0a030", "aef-dct": "#8c1c13", "aef-linear": "#d98880",
    "vae": "#2b6ca3", "iwae": "#5fa8d3", "vae-iaf": "#5b4b9a",
}  # fmt: skip
MEASURES = {
    "bits_per_dim": "bits/dim of test images",
    "frechet_samples": "Frechet distance of samples",
    "sharp_gradient": "gradient energy of samples / data",
    "sharp_high": "high-frequency power of samples / data",
    "psnr": "PSNR of reconstructions, dB",
}
FLOORS = {"frechet_samples": "frechet_data", "sharp_gradient": 1.0, "sharp_high": 1.0}
PICTURED, SHOWN = 8, 10  # latent dimension of the samples that are kept, and how many
HEAD = """# The paper's claims, re-run at a small size

Made by `python -m benchmarks.paper_claims page` from the rows in `results/paper_claims/`, each with
its commit, hardware and command; `python -m benchmarks.paper_claims` makes those that are missing.
What is read out of it stands in [autoencoders.md](autoencoders.md#the-papers-claims). Equal for all
models of a data set: encoder and decoder, images, batches, number of updates, seeds. An expanded
AEF has its W, a VAE-IAF its flow on top, and an IWAE decodes eight latents an image where the
others decode one. Of each run those weights count that are best on the validation images.

bits/dim are exact for `aef-center`, `aef-corner`, `aef-dct`; for the others an upper bound of 64
importance samples. **Lower is better** for bits/dim and the Frechet distance; of the two
sharpnesses 1 is the data's, and noise counts as sharp. Intervals are 95 % of the mean over seeds
(Student's t): they say nothing of other images, settings or longer training. Distances are
the {frechet}.
"""


def write(folder: Path) -> list[Path]:
    """Writes the page and its pictures; returns their paths.

    Raises:
        UserError: no rows, or rows of several settings in one file.
    """
    tables = [rows for path in sorted(folder.glob("*.csv")) if (rows := Results(path, KEY).rows)]
    if not tables:
        raise UserError(f"{folder} has no rows yet: run the study first")
    for rows in tables:
        one_study(rows)
    PICTURES.mkdir(parents=True, exist_ok=True)
    names = sorted({row["frechet_name"] for rows in tables for row in rows})
    parts, paths = [HEAD.format(frechet=" and ".join(names))], []
    for rows in tables:
        text, made = section(rows, folder)
        parts.append(text)
        paths += made
    PAGE.write_text("\n".join(parts))
    return [PAGE, *paths]


def one_study(rows: Sequence[Row]) -> None:
    """Raises UserError if the rows of a data set are of several settings."""
    for name in ("data", *SETTINGS):
        found = sorted({row[name] for row in rows})
        if len(found) > 1:
            raise UserError(
                f"rows of {rows[0]['data']} with {name}={', '.join(found)} cannot be compared: "
                "keep one and give the others another folder with out="
            )


def section(rows: Sequence[Row], folder: Path) -> tuple[str, list[Path]]:
    """A data set's part of the page, and its pictures."""
    first, name = rows[0], file_name(rows[0]["data"])
    seeds = len({row["seed"] for row in rows})
    set_so = ", ".join(f"{word}={first[word]}" for word in SETTINGS)
    paths = [plot(rows, PICTURES / f"claims_{name}.png")]
    counts = f"{len(rows)} runs, {seeds} seed{'s' * (seeds > 1)}"
    lines = [f"## {first['data']}", "", f"{counts}; {set_so}.", ""]
    sheet = samples(folder / "samples" / name, first["data"])
    if sheet is not None:
        paths.append(PICTURES / f"claims_samples_{name}.png")
        write_png(paths[-1], sheet)
    lines += [f"![{first['data']}]({path.relative_to(PAGE.parent)})\n" for path in paths]
    floor = statistics.mean(float(row["frechet_data"]) for row in rows)
    lines += [f"Frechet distance of as many training images: {floor:.2g}.", ""]
    for measure, words in MEASURES.items():
        lines += [*table(rows, measure, words), ""]
    return "\n".join(lines), paths


def table(rows: Sequence[Row], measure: str, words: str) -> list[str]:
    """Lines of a table: models down, latent dimensions across, mean ± half an interval."""
    dims = sorted({int(row["latent_dim"]) for row in rows})
    lines = [f"| {words} | " + " | ".join(f"d = {dim}" for dim in dims) + " |"]
    lines.append("|---" * (len(dims) + 1) + "|")
    for model in MODELS:
        cells = [cell(values_of(rows, measure, model, dim)) for dim in dims]
        if any(cells):
            lines.append(f"| `{model}` | " + " | ".join(cells) + " |")
    return lines


def cell(values: Sequence[float]) -> str:
    """Mean ± half an interval as words; empty for no value."""
    if not values:
        return ""
    mean, half = interval(values)
    return f"{mean:.3g} ± {half:.2g}" if len(values) > 1 else f"{mean:.3g}"


def values_of(rows: Sequence[Row], measure: str, model: str, dim: int) -> list[float]:
    """A measure of all seeds."""
    own = [row for row in rows if row["model"] == model and int(row["latent_dim"]) == dim]
    return [float(row[measure]) for row in own if row.get(measure)]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half of its 95 % interval (Student's t over seeds); 0 for one seed."""
    if len(values) < 2:
        return values[0], 0.0
    half = student.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return statistics.mean(values), half


def plot(rows: Sequence[Row], path: Path) -> Path:
    """Every measure against the latent dimension, a line a model; dotted is the data's own."""
    matplotlib.use("Agg")
    dims = sorted({int(row["latent_dim"]) for row in rows})
    figure, axes = pyplot.subplots(1, len(MEASURES), figsize=(3.5 * len(MEASURES), 3.4))
    for axis, (measure, words) in zip(axes, MEASURES.items()):
        for shift, (model, colour) in enumerate(MODELS.items()):
            found = {dim: v for dim in dims if (v := values_of(rows, measure, model, dim))}
            if found:
                means, halves = zip(*map(interval, found.values()))
                aside = [dim * 1.02 ** (shift - len(MODELS) // 2) for dim in found]
                axis.errorbar(aside, means, halves, label=model, color=colour, capsize=2, lw=1.1)
        floor = FLOORS.get(measure)
        if isinstance(floor, str):
            floor = statistics.mean(float(row[floor]) for row in rows)
        if floor is not None:
            axis.axhline(floor, color="black", lw=0.8, ls=":")
        axis.set_xscale("log", base=2)
        axis.set_xticks(dims, map(str, dims))
        axis.set_xlabel("latent dimension")
        axis.set_title(words, fontsize=9)
        if measure in ("frechet_samples", "sharp_high"):
            axis.set_yscale("log")
    axes[0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=70)
    pyplot.close(figure)
    return path


def mosaic(images: Tensor) -> Tensor:
    """Images (N, C, H, W) side by side, (H, N W, 3) uint8; `unmosaic` takes them apart."""
    many = images.expand(-1, 3, -1, -1)
    return many.permute(2, 0, 3, 1).flatten(1, 2).contiguous()


def unmosaic(picture: Tensor) -> Tensor:
    """Inverse of `mosaic` of square images: (N, 3, H, W)."""
    return picture.unflatten(1, (-1, len(picture))).permute(1, 3, 0, 2)


def samples(folder: Path, data: str) -> Tensor | None:
    """Samples of every model under images of the data; None if none were kept."""
    paths = {name: folder / f"{name}.png" for name in ("data", *MODELS)}
    found = {name: path for name, path in paths.items() if path.exists()}
    if not found:
        return None
    rows = [
        unmosaic(torch.from_numpy(np.array(Image.open(path).convert("RGB"))))
        for path in found.values()
    ]
    return compose(rows, f"{data}, d = {PICTURED}, seed 0: samples, temperature 1", list(found))


def file_name(data: str) -> str:
    """A data set's name in names of files."""
    return data.replace(":", "-")
