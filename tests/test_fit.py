"""`python -m aef_worldmodel.fit`: learns, stops, resumes exactly, reports, explains mistakes."""

import json
import signal
import subprocess
import sys

import pytest
import torch

from aef_worldmodel import fit, report
from aef_worldmodel.entry import run as enter
from aef_worldmodel.errors import UserError
from aef_worldmodel.fit_config import FitConfig, build, field_docs, load
from aef_worldmodel.metrics_file import read_metrics


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
    small = ["networks=conv", "width=4", "latent_dim=2", "updates=60", "batch=32", "rate=0.01",
             "evaluate_every=20", "samples=4"]  # fmt: skip
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


class Quiet:
    """A book that writes nothing and stops the training after so many updates."""

    def __init__(self, fitting, stop_at=None):
        self.fitting, self.stop_at = fitting, stop_at

    def tick(self, loss):
        self.fitting.stopping = self.fitting.updates == self.stop_at

    def look(self, *_):
        pass


@pytest.mark.parametrize("model", ["aef-dct", "vae"])
def test_a_resumed_run_goes_on_exactly(model, tmp_path):
    torch.manual_seed(0)
    images = torch.randint(256, (64, 1, 8, 8), dtype=torch.uint8)
    config = FitConfig(model=model, networks="conv", width=4, latent_dim=2, batch=16, updates=30,
                       evaluate_every=8)  # fmt: skip

    def start():
        return fit.Fitting(config, images[:48], images[48:])

    whole = start()
    assert fit.train(whole, Quiet(whole), tmp_path / "whole")
    part = start()
    assert not fit.train(part, Quiet(part, stop_at=13), tmp_path / "part")
    torch.manual_seed(99)
    torch.rand(7)
    again = start()
    fit.resume(again, tmp_path / "part")
    assert again.updates == 13
    assert fit.train(again, Quiet(again), tmp_path / "part")
    assert (again.updates, again.best, again.best_at) == (30, whole.best, whole.best_at)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value), name
        assert torch.equal(again.kept[name], whole.kept[name]), name


def test_training_stops_early_and_the_best_weights_are_kept(tmp_path):
    images = torch.randint(256, (40, 1, 8, 8), dtype=torch.uint8)
    config = FitConfig(networks="conv", width=4, latent_dim=2, batch=8, updates=500, rate=1e-9,
                       evaluate_every=2, patience=3)  # fmt: skip
    fitting = fit.Fitting(config, images[:32], images[32:])
    losses = iter([3.0, 2.0, 2.5, 2.4, 2.3, 1.0])
    plain = fitting.model.objective
    fitting.model.objective = lambda frames: (
        (8 - next(losses)) * fitting.model.eye.dims * 0.6931471805599453 + 0 * plain(frames)
        if not torch.is_grad_enabled() else plain(frames)
    )  # fmt: skip
    assert fit.train(fitting, Quiet(fitting), tmp_path)
    assert fitting.updates == 10 and fitting.best_at == 4
    assert fitting.best == pytest.approx(2.0, abs=1e-4)
    last = {name: value.clone() for name, value in fitting.model.state_dict().items()}
    fitting.take_best()
    assert any(not torch.equal(v, last[n]) for n, v in fitting.model.state_dict().items())


def test_looking_at_validation_images_does_not_change_training():
    images = torch.randint(256, (40, 1, 8, 8), dtype=torch.uint8)
    config = FitConfig(model="vae", networks="conv", width=4, latent_dim=2, batch=8)
    fitting = fit.Fitting(config, images[:32], images[32:])
    before = torch.get_rng_state()
    first = fitting.validate()
    assert torch.equal(torch.get_rng_state(), before) and fitting.validate() == first


def test_a_loss_that_is_no_number_ends_the_run_with_advice():
    images = torch.randint(256, (40, 1, 8, 8), dtype=torch.uint8)
    config = FitConfig(networks="conv", width=4, latent_dim=2, batch=8)
    fitting = fit.Fitting(config, images[:32], images[32:])
    torch.nn.init.constant_(fitting.model.eye.decoder.out.bias, float("nan"))
    with pytest.raises(UserError, match="the loss became nan at update 0: train with a lower rate"):
        fitting.update()


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


# -- the command line --------------------------------------------------------------------


def test_every_setting_is_documented_and_words_become_values():
    docs = field_docs()
    assert set(docs) == set(vars(FitConfig())) and all(docs.values())
    config = load(["latent_dim=2", "rate=3e-4", "prior=maf", "networks=null", "run=17"])
    assert (config.latent_dim, config.rate, config.prior) == (2, 3e-4, "maf")
    assert config.networks is None and config.run == "17"
    assert build(vars(config)) == config


REFUSED = {
    "model=aef-centre": "unknown model=aef-centre: did you mean aef-center",
    "latent=2": "unknown key 'latent': did you mean latent_dim",
    "latent_dim=two": "latent_dim=two is wrong: expected a whole number",
    "latent_dim=0": "latent_dim=0 must be at least 1",
    "rate=-1": "rate=-1.0 must be above 0",
    "rate=nan": "rate=nan must be above 0",
    "log_scale_bound=0": "log_scale_bound=0.0 must be above 0",
    "noise=-1": "noise=-1.0 must be at least 0",
    "rate=fast": "rate=fast is wrong: expected a number",
    "digits": "expected key=value, got 'digits'",
    "prior=nsf": "unknown prior=nsf",
    "resume=nowhere": "resume=nowhere is not the folder of a run",
    "model=vae core_flow=maf": "core_flow=maf needs an AEF",
    "model=ae prior=maf": "model=ae has no prior",
    "model=iwae noise=0.1": "model=iwae has no denoising version",
    "device=tpu": "unknown device=tpu",
}


@pytest.mark.parametrize("given", REFUSED)
def test_a_wrong_word_is_one_sentence(given):
    with pytest.raises(UserError, match=REFUSED[given]) as caught:
        load(given.split())
    assert "\n" not in str(caught.value)


def test_a_model_that_does_not_fit_the_images_is_one_sentence(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["fit", *words(data, tmp_path, "networks=patch",
                                                     "latent_dim=300")])  # fmt: skip
    with pytest.raises(SystemExit) as caught:
        enter(fit.main)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("error: latent_dim=")


def test_floors_and_bounds_reach_the_model():
    words = ["log_scale_bound=inf", "sigma_floor=0.3", "variance=fixed", "networks=conv", "width=4"]
    eye = fit.build_model(load(words), (1, 8, 8)).eye
    assert (eye.log_scale_bound, eye.sigma_floor, eye.variance) == (float("inf"), 0.3, "fixed")
    assert fit.build_model(load([*words, "log_scale_bound=2"]), (1, 8, 8)).eye.log_scale_bound == 2


def test_help_names_every_key(capsys):
    with pytest.raises(SystemExit):
        load(["--help"])
    printed = capsys.readouterr().out
    assert all(f"  {name}=" in printed for name in vars(FitConfig()))


def test_samples_of_a_report_are_as_many_as_asked(monkeypatch):
    monkeypatch.setattr(report, "BATCH", 4)
    model = fit.build_model(FitConfig(networks="conv", width=4, latent_dim=2), (1, 8, 8))
    assert report.draw(model, 10).shape == (10, 1, 8, 8)
