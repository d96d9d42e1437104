"""Draw learning curves beside the published ones: `python -m benchmarks.curves [TASK ...]`.

Reads results/returns.csv (ours) and results/published.csv (other projects', from their own data
files or read off their figures) and writes docs/images/curve_<task>.png, as `agents.plot` does for
any runs. Without tasks it draws them all, and docs/images/agents.png: all agents on the same
latents, from the tables of `benchmarks.agents`.
"""

import sys
from collections import defaultdict

from aef_worldmodel.utils.tables import Row, Table
from aef_worldmodel.viz import curves
from aef_worldmodel.viz.curves import Run, Series
from agents.plot import published

OURS = {
    ("imagination", "aef"): ("AEF world model (ours)", "#e8731a"),
    ("mpc", "aef"): ("AEF world model, planning (ours)", "#b3261e"),
    ("imagination", "vae"): ("VAE, same networks", "#8a4fbf"),
    ("imagination", "expanded"): ("expanded AEF", "#b08900"),
}
FORMER_NAMES = {"partition": "aef"}  # of world models, in rows of older runs
CORES = "1 or 2 CPU cores"


def read(path: str) -> list[Row]:
    """Return the rows of a CSV."""
    return Table(path).rows


def ours(task: str) -> list[Series]:
    """Return our curves of a task.

    The mean is that of the runs marked `in_mean`, or of all runs of a method without such runs;
    runs outside the mean are faint.
    """
    runs: dict[tuple, list[Row]] = defaultdict(list)
    for row in read("results/returns.csv"):
        if row["task"] == task:
            model = FORMER_NAMES.get(row["world_model"], row["world_model"])
            runs[row["agent"], model, row["seed"], row["commit"]].append(row)
    series = []
    for kind, (label, colour) in OURS.items():
        found = [run for (agent, model, *_), run in runs.items() if (agent, model) == kind]
        latest = [run for run in found if run[0]["in_mean"] == "true"]
        others = [run for run in found if run not in latest] if latest else []
        mean, when = (latest, "latest") if latest else (found, "earlier")
        if found:
            name = f"{label}, {when} settings, {len(mean)} run{'s' * (len(mean) > 1)}"
            parts = [[as_run(run) for run in group] for group in (mean, others)]
            series.append(Series(name, colour, *parts, machine=CORES))
    return series


def as_run(rows: list[Row]) -> Run:
    """Return the evaluations of one run."""
    columns = ([float(row[name]) for row in rows] for name in ("frames", "minutes", "return"))
    return Run(*columns)


def draw_task(task: str) -> None:
    """Draw a task's curves."""
    own = ours(task)
    limit = max(max(run.frames) for one in own for run in (*one.runs, *one.others))
    figure, panels = curves.subplots(1, 2, sharey=True)
    curves.draw_task(panels[0], f"{task}, from pixels", [*own, *published(task, 2 * limit)])
    panels[0][0].set_xlim(0, 1.6 * limit / 1e3)
    save(figure, f"docs/images/curve_{task}.png")


def draw_agents() -> None:
    """Draw the evaluations of every trained agent, one panel for each task.

    A thick line is the mean of the seeds, a thin one a seed, the band reaches from the lowest to
    the highest; marks are agents that play the model at the end.
    """
    rows, ends = read("results/agents_curves.csv"), read("results/agents.csv")
    tasks = sorted({row["task"] for row in rows})
    names = sorted({row["agent"] for row in rows})
    figure, panels = curves.subplots(1, len(tasks))
    for panel, task in zip(panels[0], tasks):
        for i, agent in enumerate(names):
            seeds = defaultdict(list)
            for row in rows:
                if (row["task"], row["agent"]) == (task, agent):
                    seeds[row["seed"]].append(row)
            runs = [as_run(sorted(run, key=lambda r: int(r["frames"]))) for run in seeds.values()]
            curves.draw(Series(agent, f"C{i}", runs), panel)
        for agent, marker in (("mpc", "D"), ("random", "x")):
            found = [r for r in ends if (r["task"], r["agent"]) == (task, agent)]
            panel.scatter(
                [int(r["frames"]) / 1e3 + 0.5 for r in found],
                [float(r["return"]) for r in found],
                22,
                "0.3",
                marker=marker,
                label=f"{agent} (played at the end)",
            )
        panel.set(xlabel="thousand frames", ylabel="return", title=task, ylim=(0, None))
        curves.style_panel(panel)
    save(figure, "docs/images/agents.png")


def save(figure, path: str) -> None:
    """Write the picture and print its path."""
    curves.save(figure, path)
    print(path)


def main(tasks: list[str]) -> None:
    """Draw the named tasks, or every task in results/returns.csv and the agents' picture."""
    if not tasks:
        draw_agents()
    for task in tasks or sorted({row["task"] for row in read("results/returns.csv")}):
        draw_task(task)


if __name__ == "__main__":
    main(sys.argv[1:])
