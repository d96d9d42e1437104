"""`python -m aef_worldmodel.fit`: learns, stops, resumes exactly, reports, explains mistakes."""

import json
import signal
import subprocess
import sys

import pytest

from aef_worldmodel import fit
from aef_worldmodel.utils.command import run_command as enter
from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.tables import read_metrics


@pytest.fixture
def data(tmp_path):
    """240 images of 16x16, each one grey level and a little noise, as a .npy."""
    import numpy as np

    random = np.random.default_rng(0)
    level = random.integers(40, 200, (240, 1, 1, 1))
    images = (level + random.integers(-8, 8, (240, 16, 16, 1))).astype("uint8")
    np.save(tmp_path / "grey.npy", images)
    return str(tmp_path / "grey.npy")


def words(data, tmp_path, *more):
    small = [
        "networks=conv",
        "width=4",
        "latent_dim=2",
        "updates=60",
        "batch=32",
        "rate=0.01",
        "evaluate_every=20",
        "samples=4",
    ]
    return [f"data={data}", f"run={tmp_path / 'run'}", *small, *more]


def test_a_run_learns_and_reports(data, tmp_path, capsys):
    assert fit.main(words(data, tmp_path, "model=aef-center", "prior=maf")) == 0
    rows = read_metrics(tmp_path / "run/metrics.csv")
    assert [row["updates"] for row in rows] == [20, 40, 60]
    assert rows[-1]["validation/loss"] < rows[0]["validation/loss"]
    found = json.loads((tmp_path / "run/report.json").read_text())
    assert found["likelihood"] == "exact" and found["bits_per_dim"] < 8
    assert found["psnr"] > 10 and found["frechet_samples"] > 0 and -1 <= found["ssim"] <= 1
    for name in ("samples", "reconstructions", "interpolations"):
        assert (tmp_path / f"run/{name}.png").stat().st_size > 0
    assert list((tmp_path / "run/tensorboard").iterdir())
    printed = capsys.readouterr().out
    assert "(exact)" in printed and "left 0:" in printed
    with pytest.raises(UserError, match="holds a run already: continue it with resume="):
        fit.main(words(data, tmp_path))


@pytest.mark.parametrize("model", ["vae-iaf", "aef-linear", "ae"])
def test_siblings_report_what_their_number_is(model, data, tmp_path, capsys):
    assert fit.main(words(data, tmp_path, f"model={model}", "updates=20")) == 0
    found = json.loads((tmp_path / "run/report.json").read_text())
    if model == "ae":
        assert found["likelihood"] == "none" and "bits_per_dim" not in found
        assert not (tmp_path / "run/samples.png").exists()
    else:
        assert found["likelihood"] == "bound" and found["samples"] == 4
        assert "(an upper bound)" in capsys.readouterr().out


@pytest.mark.slow
def test_ctrl_c_saves_and_the_run_can_be_continued(data, tmp_path):
    command = [sys.executable, "-m", "aef_worldmodel.fit"]
    process = subprocess.Popen(
        [*command, *words(data, tmp_path, "updates=100000")], stdout=subprocess.PIPE, text=True
    )
    for line in process.stdout:
        if line.startswith("update 20 "):
            process.send_signal(signal.SIGINT)
            break
    rest = process.stdout.read()
    assert process.wait(600) == 130 and "continue: python -m aef_worldmodel.fit resume=" in rest
    done = read_metrics(tmp_path / "run/metrics.csv")[-1]["updates"]
    more = [*command, f"resume={tmp_path / 'run'}", f"updates={int(done) + 40}"]
    assert subprocess.run(more, check=False).returncode == 0
    assert read_metrics(tmp_path / "run/metrics.csv")[-1]["updates"] > done


def test_a_model_that_does_not_fit_the_images_is_one_sentence(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", ["fit", *words(data, tmp_path, "networks=patch", "latent_dim=300")]
    )
    with pytest.raises(SystemExit) as caught:
        enter(fit.main)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("error: latent_dim=")
