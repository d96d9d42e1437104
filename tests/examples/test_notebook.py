"""Every cell of examples/notebook.ipynb runs, on a run of a few updates."""

import json
import types
from pathlib import Path

import pytest
from pages import SMALL

from agents import train

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebook.ipynb"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder in which the run of the notebook is there already."""
    monkeypatch.chdir(tmp_path)
    assert train.main(SMALL.split()) == 0
    return tmp_path


def test_every_cell_runs(folder):
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert len(code) == 4 and not any(cell.get("outputs") for cell in cells)
    module = types.ModuleType("notebook")
    for source in code:
        exec(compile(source, NOTEBOOK.name, "exec"), module.__dict__)
    assert len(module.returns) == 2 and (folder / "episode.mp4").stat().st_size > 1_000
    assert module.latent.shape == (8, 8)
