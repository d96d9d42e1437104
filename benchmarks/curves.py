"""Draws learning curves beside the published ones: `python -m benchmarks.curves`.

Reads results/returns.csv (ours) and results/published.csv (DreamerV3, DrQ-v2, TD-MPC2, from
those projects' own data files) and writes docs/images/curve_<task>.png: return against frames on
the left, against minutes on the right (where published hours are known). And
docs/images/agents.png, all agents on the same latents, from the tables of `benchmarks.agents`.
"""

import csv
import sys
from collections import defaultdict
from pathlib import Path

import matplotlib.pyplot as plt

LABELS = {"dreamerv3": "DreamerV3", "drqv2": "DrQ-v2", "tdmpc2-pixels": "TD-MPC2 (pixels)"}
COLOURS = {"dreamerv3": "#7a7a7a", "drqv2": "#3b7dd8", "tdmpc2-pixels": "#4fa36b"}
OURS = {
    ("imagination", "partition"): ("AEF world model (ours)", "#e8731a"),
    ("mpc", "partition"): ("AEF world model, planning (ours)", "#b3261e"),
    ("imagination", "vae"): ("VAE, same networks", "#8a4fbf"),
    ("imagination", "expanded"): ("expanded AEF", "#b08900"),
}
# Commits, of one task or all, of runs with settings that are no longer the defaults or the task's
# recipe: thin lines, in no mean.
EARLIER = {
    "5fd1b25", "2836810", "6606868", "be1040f", "dcebbce", "4e92079", "26592ef", "27e335c",
    "1aa9dd5", "6b7b87e", "0fa4442", "06aef8c", "d114519", "703deb4", "d826968", "c5be2c1",
    "a702920", "1045c8a", "54d7258", "a1f7eae", "afbb763", "49107fd+",
    "eda6209+", "e48d9b4",
}  # fmt: skip


def read(path: str) -> list[dict]:
    """Rows of a CSV."""
    with open(path) as file:
        return list(csv.DictReader(file))


def draw_published(axes, task: str, limit: int) -> None:
    """Published curves of a task, against frames and where known against minutes."""
    for method, label in LABELS.items():
        rows = [r for r in read("results/published.csv") if r["task"] == task]
        rows = [r for r in rows if r["method"] == method and int(r["frames"]) <= limit]
        if not rows:
            continue
        frames = [int(r["frames"]) / 1e3 for r in rows]
        means = [float(r["return_mean"]) for r in rows]
        style = {"color": COLOURS[method], "marker": "s", "ms": 3, "lw": 1.2, "ls": "--"}
        axes[0].plot(frames, means, label=label, **style)
        if rows[0]["hours"]:
            minutes = [60 * float(r["hours"]) for r in rows]
            axes[1].plot(minutes, means, label=f"{label} (one GPU)", **style)


def draw_ours(axes, task: str) -> int:
    """Our runs of a task: thin lines, and a thick one for the mean of those with the latest
    settings (rays a pixel apart), or with earlier ones if there are no others; what is in no mean
    is faint. Returns frames."""
    rows = [r for r in read("results/returns.csv") if r["task"] == task]
    runs = defaultdict(list)
    for r in rows:
        runs[r["agent"], r["world_model"], r["seed"], r["commit"]].append(r)
    for kind, (label, colour) in OURS.items():
        found = [run for (agent, model, *_), run in runs.items() if (agent, model) == kind]
        commits = [run[0]["commit"] for run in found]
        earlier = [bool({c, f"{task} {c}"} & EARLIER) for c in commits]
        seeds = [run for run, before in zip(found, earlier) if not before]
        when = "latest settings" if seeds else "earlier settings"
        seeds = seeds or found
        means, minutes = defaultdict(list), defaultdict(list)
        for run in found:
            x = [int(r["frames"]) / 1e3 for r in run]
            y = [float(r["return"]) for r in run]
            t = [float(r["minutes"]) for r in run]
            latest = run in seeds
            for panel, across in zip(axes, (x, t)):
                panel.plot(across, y, color=colour, lw=0.8, alpha=0.7 if latest else 0.15)
            for a, b, c in zip(x, y, t) if latest else ():
                means[a].append(b)
                minutes[a].append(c)
        common = [a for a in means if len(means[a]) == len(seeds)]
        y = [sum(means[a]) / len(seeds) for a in common]
        name = f"{label}, {when}, {len(seeds)} run{'s' * (len(seeds) > 1)}"
        if seeds:
            axes[0].plot(common, y, color=colour, lw=2.4, label=name)
            t = [sum(minutes[a]) / len(seeds) for a in common]
            axes[1].plot(t, y, color=colour, lw=2.4, label=f"{name} (1 or 2 CPU cores)")
    return max(int(r["frames"]) for r in rows)


def draw_agents() -> None:
    """The evaluations of every trained agent in one picture, a panel a task: the mean of the seeds
    and, thin, each seed; as marks what plays the model at the end."""
    rows, ends = read("results/agents_curves.csv"), read("results/agents.csv")
    tasks = sorted({row["task"] for row in rows})
    names = sorted({row["agent"] for row in rows})
    colours = {agent: f"C{i}" for i, agent in enumerate(names)}  # the same in every panel
    figure, axes = plt.subplots(1, len(tasks), figsize=(5.5 * len(tasks), 4), squeeze=False)
    for axis, task in zip(axes[0], tasks):
        runs, means = defaultdict(list), defaultdict(list)
        for row in rows:
            if row["task"] == task:
                point = int(row["frames"]) / 1e3, float(row["return"])
                runs[row["agent"], row["seed"]].append(point)
                means[row["agent"], point[0]].append(point[1])
        for (agent, _), points in runs.items():
            axis.plot(*zip(*sorted(points)), color=colours[agent], lw=0.8, alpha=0.5)
        for agent in names:
            mean = sorted((x, sum(y) / len(y)) for (a, x), y in means.items() if a == agent)
            axis.plot(*zip(*mean), color=colours[agent], marker="o", ms=3, lw=2.2, label=agent)
        for agent, marker in (("mpc", "D"), ("random", "x")):
            found = [r for r in ends if (r["task"], r["agent"]) == (task, agent)]
            axis.scatter([int(r["frames"]) / 1e3 + 0.5 for r in found],
                         [float(r["return"]) for r in found], 22, "0.3", marker=marker,
                         label=f"{agent} (played at the end)")  # fmt: skip
        axis.set(xlabel="thousand frames", ylabel="return", title=task, ylim=(0, None))
        style_axis(axis)
    save(figure, "docs/images/agents.png")


def style_axis(axis) -> None:
    """Grid, no box, every label once."""
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    handles = dict(zip(*axis.get_legend_handles_labels()[::-1]))
    axis.legend(handles.values(), handles.keys(), frameon=False, fontsize=8)


def save(figure, path: str) -> None:
    """Writes the picture and says where."""
    figure.tight_layout()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    print(path)


def main(tasks: list[str]) -> None:
    """Draws the named tasks, or every task in results/returns.csv and the agents' picture."""
    if not tasks:
        draw_agents()
    tasks = tasks or sorted({r["task"] for r in read("results/returns.csv")})
    for task in tasks:
        figure, axes = plt.subplots(1, 2, figsize=(11, 4), sharey=True)
        limit = draw_ours(axes, task)
        draw_published(axes, task, 2 * limit)
        axes[0].set(xlabel="thousand frames", ylabel="return", title=f"{task}, from pixels",
                    xlim=(0, 1.6 * limit / 1e3))  # fmt: skip
        axes[1].set(xlabel="minutes", xlim=(0, None))
        for axis in axes:
            style_axis(axis)
        save(figure, f"docs/images/curve_{task}.png")


if __name__ == "__main__":
    main(sys.argv[1:])
