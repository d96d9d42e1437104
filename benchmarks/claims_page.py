"""The page of the paper's claims, with its plots and samples: `python -m benchmarks.claims_page`.

It reads the rows and samples that `benchmarks.paper_claims` made, and writes docs/results/claims.md
and images in docs/images.
"""

import os
import statistics
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib import pyplot
from PIL import Image
from scipy.stats import t as student
from torch import Tensor

from aef_worldmodel.utils.command import run_command
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.files import atomic_write
from aef_worldmodel.utils.tables import Row, Table
from aef_worldmodel.viz.grids import compose
from aef_worldmodel.viz.video import write_png
from agents.config import train as settings

PAGE, IMAGES = Path("docs/results/claims.md"), Path("docs/images")
ROWS = "results/paper_claims"
SETTINGS = ("updates", "batch", "width", "rate", "variance", "sigma_floor")
KEY = ("data", "model", "latent_dim", "seed", *SETTINGS)
MODELS = {
    "aef-center": "#c2571a",
    "aef-corner": "#e0a030",
    "aef-dct": "#8c1c13",
    "aef-linear": "#d98880",
    "vae": "#2b6ca3",
    "iwae": "#5fa8d3",
    "vae-iaf": "#5b4b9a",
}
MEASURES = {
    "bits_per_dim": "bits/dim of test images",
    "frechet_samples": "Frechet distance of samples",
    "sharp_gradient": "gradient energy of samples / data",
    "sharp_high": "high-frequency power of samples / data",
    "psnr": "PSNR of reconstructions, dB",
}
FLOORS = {"frechet_samples": "frechet_data", "sharp_gradient": 1.0, "sharp_high": 1.0}
PICTURED, SHOWN = 8, 10  # latent dimension of the samples that are kept, and how many
WIDTH = 115  # characters of a line of the page
HEAD = """# The paper's claims, re-run at a small size

`python -m benchmarks.claims_page` makes this page from the rows in `results/paper_claims/`, each
with its commit, hardware and command; `python -m benchmarks.paper_claims` makes the rows that are
missing. [Image models](image-models.md) has the reading. All models of a data set have the same
encoder and decoder, images, batches, number of updates and seeds. An expanded AEF has its W, a
VAE-IAF its flow on top, and an IWAE decodes eight latents an image where the others decode one.
Each run is judged by the weights that are best on the validation images.

bits/dim are exact for `aef-center`, `aef-corner`, `aef-dct`; for the others they are an upper bound
from 64 importance samples. **Lower is better** for bits/dim and the Frechet distance. Of the two
sharpnesses 1 is the data's, and noise counts as sharp. Intervals are 95 % of the mean over seeds
(Student's t): they say nothing of other images, settings or longer training. Distances are the
{frechet}."""


@dataclass(frozen=True)
class ClaimsPageConfig:
    """Settings of `python -m benchmarks.claims_page`."""

    rows: str = ROWS
    """Folder of the rows and samples."""


def write(folder: Path) -> list[Path]:
    """Write the page and its images; return their paths.

    Raises:
        UserError: no rows, or rows of several settings in one file.
    """
    tables = [rows for path in sorted(folder.glob("*.csv")) if (rows := Table(path, KEY).rows)]
    if not tables:
        raise UserError(
            f"rows={folder} has no rows: make some with python -m benchmarks.paper_claims"
        )
    for rows in tables:
        check_settings(rows)
    IMAGES.mkdir(parents=True, exist_ok=True)
    names = sorted({row["frechet_name"] for rows in tables for row in rows})
    parts, paths = [head(names), ""], []
    for rows in tables:
        text, made = section(rows, folder)
        parts.append(text)
        paths += made
    with atomic_write(PAGE) as file:
        file.write("\n".join(parts))
    return [PAGE, *paths]


def head(distances: Sequence[str]) -> str:
    """Return the beginning of the page, paragraph by paragraph; distances are named."""
    text = HEAD.format(frechet=" and ".join(distances))
    options: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
    return "\n\n".join(textwrap.fill(part, WIDTH, **options) for part in text.split("\n\n"))


def check_settings(rows: Sequence[Row]) -> None:
    """Raise UserError if the rows of a data set are of several settings."""
    for name in ("data", *SETTINGS):
        found = sorted({row[name] for row in rows})
        if len(found) > 1:
            raise UserError(
                f"rows of {rows[0]['data']} with {name}={', '.join(found)} cannot be compared: "
                "keep one and give the others another folder with out="
            )


def section(rows: Sequence[Row], folder: Path) -> tuple[str, list[Path]]:
    """Return the part of a data set, and its images."""
    first, name = rows[0], file_name(rows[0]["data"])
    seeds = len({row["seed"] for row in rows})
    set_so = ", ".join(f"{word}={first[word]}" for word in SETTINGS)
    paths = [plot(rows, IMAGES / f"claims_{name}.png")]
    counts = f"{len(rows)} runs, {seeds} seed{'s' * (seeds > 1)}"
    lines = [f"## {first['data']}", "", f"{counts}; {set_so}.", ""]
    sheet = samples(folder / "samples" / name, first["data"])
    if sheet is not None:
        paths.append(IMAGES / f"claims_samples_{name}.png")
        write_png(paths[-1], sheet)
    lines += [f"![{first['data']}]({os.path.relpath(path, PAGE.parent)})\n" for path in paths]
    floor = statistics.mean(float(row["frechet_data"]) for row in rows)
    lines += [f"Frechet distance of as many training images: {floor:.2g}.", ""]
    for measure, words in MEASURES.items():
        lines += [*table(rows, measure, words), ""]
    return "\n".join(lines), paths


def table(rows: Sequence[Row], measure: str, words: str) -> list[str]:
    """Return the lines of a table: a line a model, a column a latent dimension."""
    dims = sorted({int(row["latent_dim"]) for row in rows})
    lines = [f"| {words} | " + " | ".join(f"d = {dim}" for dim in dims) + " |"]
    lines.append("|---" * (len(dims) + 1) + "|")
    for model in MODELS:
        cells = [cell(values_of(rows, measure, model, dim)) for dim in dims]
        if any(cells):
            lines.append(f"| `{model}` | " + " | ".join(cells) + " |")
    return lines


def cell(values: Sequence[float]) -> str:
    """Return mean ± half an interval as text; empty for no value."""
    if not values:
        return ""
    mean, half = interval(values)
    return f"{mean:.3g} ± {half:.2g}" if len(values) > 1 else f"{mean:.3g}"


def values_of(rows: Sequence[Row], measure: str, model: str, dim: int) -> list[float]:
    """Return a measure of all seeds."""
    own = [row for row in rows if row["model"] == model and int(row["latent_dim"]) == dim]
    return [float(row[measure]) for row in own if row.get(measure)]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and half of its 95 % interval (Student's t over seeds), 0 for one seed."""
    if len(values) < 2:
        return values[0], 0.0
    half = student.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return statistics.mean(values), half


def plot(rows: Sequence[Row], path: Path) -> Path:
    """Draw every measure against the latent dimension, a line a model; dotted is the data's own."""
    matplotlib.use("Agg")
    dims = sorted({int(row["latent_dim"]) for row in rows})
    figure, axes = pyplot.subplots(1, len(MEASURES), figsize=(3.5 * len(MEASURES), 3.4))
    for axis, measure in zip(axes, MEASURES):
        draw_models(axis, rows, measure, dims)
        floor = FLOORS.get(measure)
        if isinstance(floor, str):
            floor = statistics.mean(float(row[floor]) for row in rows)
        if floor is not None:
            axis.axhline(floor, color="black", lw=0.8, ls=":")
        axis.set_xscale("log", base=2)
        axis.set_xticks(dims, map(str, dims))
        axis.set_xlabel("latent dimension")
        axis.set_title(MEASURES[measure], fontsize=9)
        if measure in ("frechet_samples", "sharp_high"):
            axis.set_yscale("log")
    axes[0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=70)
    pyplot.close(figure)
    return path


def draw_models(axis: Any, rows: Sequence[Row], measure: str, dims: Sequence[int]) -> None:
    """Draw a measure of every model, slightly aside of each other."""
    for shift, (model, colour) in enumerate(MODELS.items()):
        found = {dim: v for dim in dims if (v := values_of(rows, measure, model, dim))}
        if found:
            means, halves = zip(*map(interval, found.values()))
            aside = [dim * 1.02 ** (shift - len(MODELS) // 2) for dim in found]
            axis.errorbar(aside, means, halves, label=model, color=colour, capsize=2, lw=1.1)


def mosaic(images: Tensor) -> Tensor:
    """Return images (N, C, H, W) side by side, (H, N W, 3) uint8; `unmosaic` takes them apart."""
    many = images.expand(-1, 3, -1, -1)
    return many.permute(2, 0, 3, 1).flatten(1, 2).contiguous()


def unmosaic(image: Tensor) -> Tensor:
    """Invert `mosaic` for square images: (N, 3, H, W)."""
    return image.unflatten(1, (-1, len(image))).permute(1, 3, 0, 2)


def samples(folder: Path, data: str) -> Tensor | None:
    """Return samples of every model under images of the data; None if none were kept."""
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
    """Return the name of a data set as part of a file's name."""
    return data.replace(":", "-")


def main(argv: Sequence[str]) -> None:
    """Write the page and print the paths."""
    asked = settings.load(argv, ClaimsPageConfig, "benchmarks.claims_page")
    print(*write(Path(asked.rows)), sep="\n")


if __name__ == "__main__":
    run_command(main)
