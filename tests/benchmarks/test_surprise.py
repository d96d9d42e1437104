"""What an exact likelihood notices, and how far dreams can be trusted: the rows of a small run."""

import pytest
import small_world
import torch

from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.tables import Table
from benchmarks import dream_validity, novelty, surprise

QUICK = ["videos=2", "decisions=8", "onset=3", "samples=4", "updates=2"]
DREAMS = ["dreams=4", "batch=2", "decisions=4", "context=3", "draws=2", "heads=2", "updates=1"]


def test_a_run_has_a_row_for_each_fault_and_score(finished, tmp_path, capsys):
    out = tmp_path / "surprise.csv"
    asked = [f"runs=[{finished}]", *QUICK, f"out={out}"]
    assert surprise.main(asked) == 0
    rows = Table(out).rows
    faults = {row["fault"] for row in rows}
    assert faults == {"patch", "frozen", "noise", "dark", *surprise.CHANGES}
    assert len(rows) == 9 * len(faults)
    assert all(0 <= float(row["auroc"]) <= 1 for row in rows)
    loud = [r for r in rows if r["fault"] == "noise" and r["score"] == "log p: pixels"]
    assert float(loud[0]["auroc"]) == 1.0 and float(loud[0]["delay"]) == 0
    said = capsys.readouterr().out
    assert "missing: cheetah-run aef: 0 of 3 seeds" in said
    assert "missing: cartpole-swingup aef: 1 of 3 seeds" in said
    before = out.read_text()
    assert surprise.main(asked) == 0 and out.read_text() == before


def test_a_run_has_a_row_for_each_score_of_its_dreams(finished, tmp_path, capsys):
    out = tmp_path / "dreams.csv"
    asked = [f"runs=[{finished}]", *DREAMS, f"out={out}"]
    assert dream_validity.main(asked) == 0
    rows = {row["score"]: row for row in Table(out).rows}
    assert {"ensemble of 2", "spread of draws", "round trip", "log p: total, summed"} <= {*rows}
    assert rows["step"]["latent_within"] == "nan"  # it does not vary over dreams
    assert all(-1 <= float(row["joint_pooled"]) <= 1 for row in rows.values())
    before = out.read_text()
    assert dream_validity.main(asked) == 0 and out.read_text() == before
    assert "latent_pooled" in capsys.readouterr().out


def test_without_a_run_of_the_aef_the_command_says_how_to_make_one(tmp_path):
    with pytest.raises(UserError, match="study likelihood"):
        surprise.main([f"study={tmp_path}"])


def test_the_bound_of_a_vae_is_below_and_grows_with_its_samples():
    model = small_world.make("vae")
    batch = small_world.batch()
    torch.manual_seed(0)
    name = "VAE bound, {} samples"
    few, many = (
        novelty.vae_bound(model, k)(batch.frame, batch.action)[name.format(k)].mean().item()
        for k in (1, 200)
    )
    assert many < few  # minus the bound


def test_running_means_are_of_the_last_values():
    values = torch.arange(6.0)[None]
    assert novelty.running_mean(values, 3).tolist() == [[0, 0.5, 1, 2, 3, 4]]


def test_the_regression_reads_off_what_is_linear():
    latents = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    matrix = torch.tensor([[1.0, 2], [0, 1], [-1, 0], [3, 4]])
    states = dream_validity.with_one(latents) @ matrix
    read = dream_validity.regression(latents, states)
    torch.testing.assert_close(read, matrix, rtol=0.05, atol=0.05)
