"""The CSV of a run's measurements."""

from aef_worldmodel.metrics_file import MetricsFile, Row, read_metrics

__all__ = ["MetricsFile", "Row", "read_metrics"]
