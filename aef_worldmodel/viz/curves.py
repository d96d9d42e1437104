"""Learning curves: a thin line for each run, a thick one for their mean, a band around it.

The band reaches from the lowest to the highest run: with a few seeds, that is all one knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.files import atomic_path

BARS = "▁▂▃▄▅▆▇█"
DPI = 130


class Run(NamedTuple):
    """The evaluations of one run, in order."""

    frames: Sequence[float]
    minutes: Sequence[float]  # of wall-clock time; empty where unknown
    returns: Sequence[float]


class Series(NamedTuple):
    """Runs that are shown as one mean."""

    label: str
    colour: str
    runs: Sequence[Run]
    others: Sequence[Run] = ()  # of earlier settings: drawn faint, in no mean
    published: bool = False  # other people's numbers: dashed
    machine: str = ""  # what the minutes were measured on


class Summary(NamedTuple):
    """Mean, lowest and highest return of several runs, where all of them have data; (P,) each."""

    frames: np.ndarray
    minutes: np.ndarray  # mean over the runs; (0,) where unknown
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def summarise(runs: Sequence[Run]) -> Summary:
    """Return the summary of runs at all of their frames, interpolated where a run has none."""
    begin, end = max(run.frames[0] for run in runs), min(run.frames[-1] for run in runs)
    every = sorted({x for run in runs for x in run.frames})
    frames = np.array([x for x in every if begin <= x <= end], dtype=float)

    def at_frames(values: Iterable[Sequence[float]]) -> np.ndarray:
        pairs = zip(runs, values, strict=True)
        return np.stack([np.interp(frames, run.frames, value) for run, value in pairs])

    returns = at_frames(run.returns for run in runs)  # (R, P)
    known = all(len(run.minutes) for run in runs)
    minutes = at_frames(run.minutes for run in runs).mean(0) if known else np.zeros(0)
    return Summary(frames, minutes, returns.mean(0), returns.min(0), returns.max(0))


def draw(series: Series, frames_panel: Any, minutes_panel: Any = None) -> None:
    """Draw a series into panels of Matplotlib: against thousand frames, and against minutes."""
    faint = [(run, 0.15) for run in series.others]
    single = [(run, 0.5) for run in series.runs] if len(series.runs) > 1 else []
    for run, alpha in (*faint, *single):
        style = {"color": series.colour, "lw": 0.8, "alpha": alpha}
        frames_panel.plot(_thousands(run.frames), run.returns, **style)
        if minutes_panel and len(run.minutes):
            minutes_panel.plot(run.minutes, run.returns, **style)
    if not series.runs:
        return
    if series.others:
        frames_panel.plot([], [], color="0.6", lw=0.8, label="faint: earlier settings, in no mean")
    found = summarise(series.runs)
    style = {"color": series.colour, "marker": "o", "ms": 3, "lw": 2.2}
    if series.published:
        style |= {"marker": "s", "lw": 1.2, "ls": "--"}
    _draw_mean(frames_panel, _thousands(found.frames), found, style, series.label)
    if minutes_panel and len(found.minutes):
        machine = f" ({series.machine})" if series.machine else ""
        _draw_mean(minutes_panel, found.minutes, found, style, series.label + machine)


def _draw_mean(panel: Any, across: Any, found: Summary, style: dict, label: str) -> None:
    panel.plot(across, found.mean, label=label, **style)
    if (found.high > found.low).any():
        panel.fill_between(across, found.low, found.high, color=style["color"], alpha=0.15, lw=0)


def draw_task(panels: Sequence[Any], task: str, series: Iterable[Series]) -> None:
    """Draw all series of a task into two panels, with their titles, axes and legends."""
    for one in series:
        draw(one, *panels)
    panels[0].set(xlabel="thousand frames", ylabel="return of an episode", title=task)
    panels[1].set(xlabel="minutes", xlim=(0, None))
    panels[0].set_ylim(bottom=min(panels[0].dataLim.y0, 0))
    for panel in panels:
        style_panel(panel)


def style_panel(panel: Any) -> None:
    """Give a panel a grid, no box, and each label once."""
    panel.grid(alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)
    handles = dict(zip(*panel.get_legend_handles_labels()[::-1], strict=True))
    if handles:
        panel.legend(handles.values(), handles.keys(), fontsize=8, framealpha=0.7, edgecolor="none")


def subplots(rows: int, columns: int, **options: Any) -> tuple[Any, Any]:
    """Return a figure of Matplotlib that no window shows, and its panels (rows, columns).

    Raises UserError if Matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError(
            f"plots need Matplotlib ({error}): pip install 'matplotlib>=3.9'"
        ) from error
    figure = Figure(figsize=(5.5 * columns, 4 * rows), layout="tight")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def save(figure: Any, path: str | Path) -> None:
    """Write the picture in the format that its name ends in.

    Raises UserError if it cannot be written, or for an unknown format.
    """
    path, known = Path(path), figure.canvas.get_supported_filetypes()
    if path.suffix.removeprefix(".") not in known:
        raise UserError(f"{path} is in no format that can be drawn: let its name end in .png")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DPI)


def sparkline(values: Sequence[float]) -> str:
    """Return numbers as bars of text, the lowest and the highest of them as the extremes."""
    low, high = min(values), max(values)
    steps = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((value - low) * steps)] for value in values)


def _thousands(frames: Iterable[float]) -> list[float]:
    return [x / 1e3 for x in frames]
