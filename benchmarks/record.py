"""Keep the evaluations of finished runs: `python -m benchmarks.record RUN [RUN ...]`.

Adds one row for each evaluation to results/returns.csv, with its provenance. Rows of the same run
(task, agent, world model, seed, commit) are replaced. `in_mean=false` marks runs with settings
that are neither the defaults nor the task's own: benchmarks.curves draws them faint, in no mean.
"""

from collections.abc import Sequence
from pathlib import Path

from aef_worldmodel.utils.command import run_command
from aef_worldmodel.utils.tables import Row, Table, read_metrics
from agents.config import train as settings
from agents.registry import agent_name
from agents.training.runs import model_name, read_provenance

OUT = Path("results/returns.csv")
KEY = ("task", "agent", "world_model", "seed", "commit", "frames")  # of a row
RUN = KEY[:-1]
WORDS = {"in_mean=true": "true", "in_mean=false": "false"}


def rows_of(run: Path) -> list[Row]:
    """Return the evaluations in a run's metrics.csv, oldest first; [] without that file."""
    rows = [row for row in read_metrics(run / "metrics.csv") if "eval/return" in row]
    return [origin_of(run) | numbers_of(row) for row in rows]


def origin_of(run: Path) -> Row:
    """Return the columns that are the same in all rows of a run."""
    config = settings.read(run / "config.yaml")
    return {
        "task": config.env.task,
        "agent": agent_name(config.agent),
        "world_model": model_name(config),
        "seed": str(config.seed),
        "episodes": str(config.eval.episodes),
        **read_provenance(run / "provenance.json"),
    }


def numbers_of(row: dict[str, float]) -> Row:
    """Return the columns of one evaluation, with as many decimals as the table has."""
    counters = {name: str(row[name]) for name in ("frames", "decisions", "updates")}
    return counters | {
        "minutes": f"{row['minutes']:.2f}",
        "return": f"{row['eval/return']:.1f}",
        "std": f"{row['eval/std']:.1f}",
    }


def main(argv: Sequence[str]) -> None:
    """Add the runs on the command line."""
    in_mean = [WORDS[word] for word in argv if word in WORDS] or ["true"]
    runs = [Path(word) for word in argv if word not in WORDS]
    new = [row | {"in_mean": in_mean[-1]} for run in runs for row in rows_of(run)]
    table = Table(OUT, KEY)
    replaced = {tuple(row[name] for name in RUN) for row in new}
    table.remove(lambda row: tuple(row[name] for name in RUN) in replaced)
    kept = len(table.rows)
    table.add(*new)
    print(f"{OUT}: {kept} rows kept, {len(new)} added")


if __name__ == "__main__":
    run_command(main)
