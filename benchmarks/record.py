"""Keeps the evaluations of finished runs: `python -m benchmarks.record RUN [RUN ...]`.

Appends one row an evaluation to results/returns.csv, with what it takes to make it again. Rows of
the same run (task, agent, world model, seed, commit) are replaced.
"""

import csv
import json
import sys
from pathlib import Path

from agents import config as settings
from agents.words import agent_name

OUT = Path("results/returns.csv")
COLUMNS = (
    "task", "agent", "world_model", "seed", "frames", "decisions", "updates", "minutes", "return",
    "std", "episodes", "commit", "hardware", "command",
)  # fmt: skip


def rows_of(run: Path) -> list[dict]:
    """The evaluations in a run's metrics.csv; none before the first line of it."""
    if not (run / "metrics.csv").exists():
        return []
    c = settings.read(run / "config.yaml")
    fixed = {
        "task": c.env.task, "agent": agent_name(type(c.agent)),
        "world_model": c.world_model.autoencoder, "seed": c.seed,
        "episodes": c.eval_episodes, **json.loads((run / "provenance.json").read_text()),
    }  # fmt: skip
    rows = []
    with open(run / "metrics.csv") as file:
        for row in csv.DictReader(file):
            if row.get("eval/return"):
                numbers = {
                    "frames": row["frames"], "decisions": row["decisions"],
                    "updates": row["updates"], "minutes": f"{float(row['minutes']):.2f}",
                    "return": f"{float(row['eval/return']):.1f}",
                    "std": f"{float(row['eval/std']):.1f}",
                }  # fmt: skip
                rows.append(fixed | numbers)
    return rows


def main(arguments: list[str]) -> None:
    """Adds the runs named on the command line."""
    new = [row for argument in arguments for row in rows_of(Path(argument))]
    key = ("task", "agent", "world_model", "seed", "commit")
    replaced = {tuple(str(row[k]) for k in key) for row in new}
    old = list(csv.DictReader(OUT.read_text().splitlines())) if OUT.exists() else []
    old = [{"agent": "imagination", **row} for row in old]  # of before there were others
    kept = [row for row in old if tuple(row[k] for k in key) not in replaced]
    with open(OUT, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(kept + new)
    print(f"{OUT}: {len(kept)} rows kept, {len(new)} added")


if __name__ == "__main__":
    main(sys.argv[1:])
