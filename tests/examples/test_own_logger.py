"""The example of a log writer: a run of seconds records the same in it as in metrics.csv."""

import json
import runpy
from pathlib import Path

from aef_worldmodel.utils.tables import read_metrics

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_logger.py"


def test_a_writer_of_ones_own_records_the_run(tmp_path, capsys):
    run = tmp_path / "run"
    runpy.run_path(str(EXAMPLE))["main"](run)
    first, *records = [json.loads(line) for line in (run / "metrics.jsonl").open()]
    assert first["frames"] == 0 and first["config"]["env"]["task"] == "cartpole-swingup"
    numbers = [record for record in records if "film" not in record]
    rows = read_metrics(run / "metrics.csv")
    assert [row["frames"] for row in numbers] == [row["frames"] for row in rows]
    assert any("eval/return" in row for row in numbers)
    films = [record for record in records if "film" in record]
    assert {film["film"] for film in films} == {"dream", "episode"}
    assert all(film["seconds"] > 0 for film in films)
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == records[-1]
    assert not (run / "tensorboard").exists() and not (run / "videos").exists()
