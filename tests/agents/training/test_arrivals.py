"""`monitor=true`: the same run, digit for digit, whose rows say how likely new frames are."""

import pytest
import torch
from small_run import logger, make, weights

from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.tables import read_metrics
from agents.training import trainer

SHORT = ["hardware.threads=1", "log=[csv]", "frames=200"]


@pytest.mark.parametrize("model", [[], ["world_model.autoencoder=vae"]], ids=["aef", "vae"])
def test_the_run_is_the_same_and_its_rows_have_the_likelihood_of_new_frames(
    tmp_path, monkeypatch, model
):
    monkeypatch.setattr(trainer, "LOG_EVERY", 1)
    found = []
    for word in ("monitor=false", "monitor=true"):
        run = make(tmp_path / word, *SHORT, *model, word)
        with logger(run) as log:
            run.train(log)
        found.append(weights(run))
    assert torch.equal(*found)
    rows = [r for r in read_metrics(tmp_path / word / "metrics.csv") if "act/log_prob" in r]
    for row in rows:
        parts = sum(row[f"act/{part}"] for part in ("prior", "volume", "pixels"))
        assert row["act/log_prob"] == pytest.approx(parts, rel=1e-5)
        assert row["act/lowest"] <= row["act/log_prob"]
    assert len(rows) >= 3
    state = run.arrivals.state_dict()
    again = make(tmp_path / word, *SHORT, *model, word)
    again.restore()
    assert all(torch.equal(again.arrivals.state_dict()[name], state[name]) for name in state)


def test_a_model_without_a_likelihood_cannot_be_monitored(tmp_path):
    with pytest.raises(UserError, match="monitor=true needs a world model with a likelihood"):
        make(tmp_path, *SHORT, "world_model.autoencoder=ae", "monitor=true")
