"""How far a world model foresees: the split of the rows, the rows of a run."""

import pytest
import torch

from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.tables import Table
from agents.training.recording import Recording
from benchmarks import foresight

SIZES = "world_model.latent_dim=4 world_model.recurrent_dim=8 world_model.hidden_dim=8"
SMALL = f"{SIZES} world_model.width=4 replay.sequence_length=6"


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Sequences as short as the small run needs."""
    for name, value in {"AHEAD": (1, 2), "CONTEXT": 3, "LENGTH": 6, "BATCHES": 2}.items():
        monkeypatch.setattr(foresight, name, value)


def test_the_last_environments_rows_are_held_out(finished):
    data = Recording(finished)
    assert data.rings == 2
    generator = torch.Generator().manual_seed(0)
    for last in (False, True):
        part = foresight.part_of(data, last)
        assert len(part) < len(data)
        index = part.sample(64, 4, generator)["index"]
        assert set((index % 2).flatten().tolist()) == {int(last)}
    assert len(Recording(finished)) == len(data)


def test_a_run_has_a_row_for_each_list_and_seed(finished, tmp_path, capsys):
    out = tmp_path / "rows.csv"
    compared = f"[{SMALL},{SMALL} ema.model=1]"
    asked = [f"run={finished}", f"settings={compared}", "updates=2", "seeds=1", f"out={out}"]
    assert foresight.main(asked) == 0
    first, copied = Table(out).rows
    for row in (first, copied):
        assert float(row["latent_1"]) > 0 and float(row["reward_2_mixed"]) > 0
    assert copied["latent_1"] == first["latent_1"]  # only the average differs
    assert copied["latent_1_average"] == copied["latent_1"] == copied["latent_1_mixed"]
    assert first["latent_1_average"] != first["latent_1"]
    assert first["pixels"] != first["pixels_learnt"]
    before = out.read_text()
    assert foresight.main(asked) == 0 and out.read_text() == before
    assert "reward_1" in capsys.readouterr().out


def test_unknown_settings_are_refused_before_anything_is_learnt(finished, tmp_path):
    out = tmp_path / "rows.csv"
    with pytest.raises(UserError, match=r"model_rate=0.0004 is now lr.model=0.0004"):
        foresight.main([f"run={finished}", "settings=[model_rate=0.0004]", f"out={out}"])
    assert not out.exists()
