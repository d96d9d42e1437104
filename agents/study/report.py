"""The report of a study: one HTML file that needs nothing else, Markdown, and pictures."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from aef_worldmodel.metrics import aggregate
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.files import atomic_write
from aef_worldmodel.viz import curves
from agents.study.beside import beside
from agents.study.gather import Result
from agents.study.plan import Study
from agents.study.summary import Sheet, names, scores, shared_tasks, sheets

COLOURS = ("#e8731a", "#3b7dd8", "#4fa36b", "#8a4fbf", "#b3261e", "#00838f", "#b08900", "#5d4037")
STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em}
table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .8em;text-align:left;
border-bottom:1px solid #ddd}img{max-width:100%}@media(prefers-color-scheme:dark){
body{background:#181818;color:#ddd}img{background:#fff}td,th{border-color:#444}}"""
STATISTIC_DRAWS = 500  # bootstrap samples of each point of a curve


def write_report(
    study: Study, results: Sequence[Result], missing: Sequence[str], out: Path
) -> tuple[list[Path], list[str]]:
    """Write report.html, report.md and pictures; return their paths, and what could not be drawn.

    Raises UserError if a file cannot be written.
    """
    pictures, notes = [], []
    try:
        pictures = draw(study, results, out) if results else []
    except UserError as error:  # Matplotlib is an extra
        notes.append(f"the report has no pictures: {error}")
    tables = [*sheets(study, results), *beside(study, results)]
    intro = introduction(study, results, missing)
    texts = {
        "report.md": markdown(study, intro, missing, tables, pictures),
        "report.html": page(study, intro, missing, tables, pictures),
    }
    for name, text in texts.items():
        with atomic_write(out / name) as file:
            file.write(text)
    return [*(out / name for name in texts), *pictures], notes


def introduction(study: Study, results: Sequence[Result], missing: Sequence[str]) -> list[str]:
    """Return the sentences above the tables."""
    arms, tasks = names(results)
    said = [
        f"{len(results)} runs of {study.frames:,} frames: {len(arms)} arms ({', '.join(arms)}) on "
        f"{len(tasks)} tasks ({', '.join(tasks)})."
        if results
        else "No run is complete yet."
    ]
    origins = [result.origin for result in results]
    for what in ("commit", "hardware") if origins else ():
        said += [f"{what.capitalize()}: {', '.join(sorted({o[what] for o in origins}))}."]
    if missing:
        count = len(missing)
        said.append(f"UNFINISHED: {count} run{'s are' if count > 1 else ' is'} missing, see below.")
    return said


# -- pictures ----------------------------------------------------------------------------


def draw(study: Study, results: Sequence[Result], out: Path) -> list[Path]:
    """Draw the curves of every task, and all means; return the pictures' paths."""
    return [draw_curves(results, out / "curves.png"), draw_means(study, results, out / "means.png")]


def draw_curves(results: Sequence[Result], path: Path) -> Path:
    """Draw return against frames: a thin line a run, the mean with its 95 % interval."""
    arms, tasks = names(results)
    figure, panels = curves.subplots(1, len(tasks))
    for panel, task in zip(panels[0], tasks, strict=True):
        for arm, colour in zip(arms, palette(arms), strict=True):
            runs = [r.curve for r in results if (r.arm, r.task) == (arm, task)]
            if not runs:
                continue
            for run in runs if len(runs) > 1 else []:
                panel.plot(thousands(run.frames), run.returns, color=colour, lw=0.7, alpha=0.4)
            frames, found = curve_intervals(runs)
            low, high = ([getattr(x, end) for x in found] for end in ("low", "high"))
            panel.plot(frames, [x.value for x in found], "o-", color=colour, ms=3, label=arm)
            panel.fill_between(frames, low, high, color=colour, alpha=0.15, lw=0)
        panel.set(xlabel="thousand frames", ylabel="return of an episode", title=task)
        curves.style_panel(panel)
    curves.save(figure, path)
    return path


def curve_intervals(runs: Sequence[curves.Run]) -> tuple[list[float], list[aggregate.Estimate]]:
    """Return thousand frames, and the mean over runs at each with its interval."""
    found = curves.summarise(runs)
    at = [np.interp(found.frames, run.frames, run.returns) for run in runs]
    matrix = np.stack(at)  # (R, P)
    return thousands(found.frames), [
        aggregate.estimate(matrix[:, i : i + 1], aggregate.mean, STATISTIC_DRAWS)
        for i in range(matrix.shape[1])
    ]


def draw_means(study: Study, results: Sequence[Result], path: Path) -> Path:
    """Draw interquartile mean and mean over tasks with their intervals, an arm a line."""
    arms, tasks = names(results)[0], shared_tasks(results)
    figure, panels = curves.subplots(1, 2)
    both = (aggregate.interquartile_mean, aggregate.mean)
    for panel, statistic, title in zip(
        panels[0], both, ("interquartile mean", "mean"), strict=True
    ):
        for i, (arm, colour) in enumerate(zip(arms, palette(arms), strict=True)):
            if not tasks:
                continue
            x = aggregate.estimate(scores(results, arm, tasks, study.scale), statistic)
            panel.plot([x.low, x.high], [i, i], color=colour, lw=7, alpha=0.4)
            panel.plot([x.value], [i], "|", color=colour, ms=16, mew=3)
        panel.set(title=f"{title} over tasks", yticks=range(len(arms)), xlim=(0, None))
        panel.set_yticklabels(arms)
        panel.invert_yaxis()
        curves.style_panel(panel)
    curves.save(figure, path)
    return path


def palette(arms: Sequence[str]) -> list[str]:
    """Return a colour for each arm."""
    return [COLOURS[i % len(COLOURS)] for i in range(len(arms))]


def thousands(frames: Iterable[float]) -> list[float]:
    """Return frames in thousands."""
    return [x / 1e3 for x in frames]


# -- text --------------------------------------------------------------------------------


def markdown(
    study: Study,
    intro: Sequence[str],
    missing: Sequence[str],
    tables: Sequence[Sheet],
    pictures: Sequence[Path],
) -> str:
    """Return the report as Markdown; pictures lie beside it."""
    parts = [f"# Study: {study.name}", "\n".join(intro)]
    parts += [f"![{path.stem}]({path.name})" for path in pictures]
    for sheet in tables:
        lines = [_row(sheet.heads), _row(["---"] * len(sheet.heads)), *map(_row, sheet.rows)]
        parts += [f"## {sheet.title}", sheet.note, "\n".join(lines)]
    if missing:
        parts += ["## Missing", "\n".join(f"- {sentence}" for sentence in missing)]
    return "\n\n".join(parts) + "\n"


def page(
    study: Study,
    intro: Sequence[str],
    missing: Sequence[str],
    tables: Sequence[Sheet],
    pictures: Sequence[Path],
) -> str:
    """Return the report as one HTML page, with the pictures inside it."""
    title = html.escape(f"Study: {study.name}")
    parts = [f"<h1>{title}</h1>", *(f"<p>{html.escape(line)}</p>" for line in intro)]
    for path in pictures:
        data = base64.b64encode(path.read_bytes()).decode()
        parts.append(f'<img alt="{path.stem}" src="data:image/png;base64,{data}">')
    for sheet in tables:
        parts += [f"<h2>{html.escape(sheet.title)}</h2>", f"<p>{html.escape(sheet.note)}</p>"]
        rows = [_cells("th", sheet.heads), *(_cells("td", row) for row in sheet.rows)]
        parts.append(f"<table>{''.join(rows)}</table>")
    if missing:
        items = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in missing)
        parts.append(f"<h2>Missing</h2><ul>{items}</ul>")
    head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    return f"<!doctype html><html><head>{head}</head><body>{''.join(parts)}</body></html>\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _cells(tag: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"
