"""`log=[csv]`: metrics.csv, one row for each record of numbers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aef_worldmodel.utils.tables import open_metrics
from agents.training.logging.base import LOG_WRITERS, LogWriter


@LOG_WRITERS.register("csv")
class CsvWriter(LogWriter):
    """RUN/metrics.csv; a resumed run drops the rows after its checkpoint."""

    def __init__(self, run: Path, config: Mapping[str, Any], resumed_at: int | None) -> None:
        self.table = open_metrics(run / "metrics.csv", "frames", resumed_at)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add a row; it is on the disk on return."""
        self.table.add(values)
