"""A log writer of one's own: JSON lines. Run: `python examples/own_logger.py`.

The class is registered under a name, and `log=[csv,jsonl]` uses it; nothing in the library changes.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from agents import train
from agents.training.logging.base import LOG_WRITERS, LogWriter

SECONDS = [  # settings of a run of seconds, too short to learn
    "env=cartpole-swingup",
    "env.action_repeat=10",
    "hardware=cpu",
    "hardware.num_envs=2",
    "frames=2400",
    "prefill=400",
    "pretrain=2",
    "frames_per_update=400",
    "replay.batch_size=2",
    "replay.sequence_length=6",
    "eval.every=2000",
    "eval.episodes=1",
    "world_model.width=8",
    "world_model.hidden_dim=16",
    "agent.imagination_batch=4",
]


@LOG_WRITERS.register("jsonl")
class JsonLinesWriter(LogWriter):
    """RUN/metrics.jsonl: one JSON object for each record of numbers and for each film."""

    def __init__(self, run: Path, config: Mapping[str, Any], resumed_at: int | None) -> None:
        self.path = run / "metrics.jsonl"
        self._write({"frames": resumed_at or 0, "config": config})

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write the numbers that are known."""
        self._write({"frames": step} | {k: v for k, v in values.items() if v == v})

    def video(self, step: int, name: str, film: Tensor, fps: int) -> None:
        """Write the length of a film (T, H, W, 3)."""
        self._write({"frames": step, "film": name, "seconds": len(film) / fps})

    def _write(self, record: Mapping[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def main(run: Path) -> None:
    """Train for seconds in a folder and print what the writer recorded last."""
    train.main([*SECONDS, f"run={run}", "log=[csv,jsonl]"])
    print((run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder) / "run")
