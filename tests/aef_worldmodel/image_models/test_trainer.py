"""Training of an image model: exact resuming, early stopping, loading."""

import pytest
import torch

from aef_worldmodel.image_models import report
from aef_worldmodel.image_models.config import FitConfig, load, save
from aef_worldmodel.image_models.trainer import ImageModelTrainer, build_model, load_model, train
from aef_worldmodel.utils.checkpoint import load_latest, save_checkpoint
from aef_worldmodel.utils.errors import UserError

SMALL = {"networks": "conv", "width": 4, "latent_dim": 2}


def images(count=40):
    return torch.randint(256, (count, 1, 8, 8), dtype=torch.uint8)


def make(**options):
    data = images()
    return ImageModelTrainer(FitConfig(**SMALL, batch=8, **options), data[:32], data[32:])


class StopAt:
    """A log that writes nothing and stops the training after so many updates."""

    def __init__(self, trainer, updates=None):
        self.trainer, self.updates = trainer, updates

    def update(self, updates, loss):
        self.trainer.stopping = updates == self.updates

    def evaluation(self, updates, train, validation, is_best, made):
        assert "reconstructions" in made


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("model", ["aef-dct", "vae"])
def test_a_resumed_run_continues_exactly(model, tmp_path):
    torch.manual_seed(0)
    data = images(64)
    config = FitConfig(**SMALL, model=model, batch=16, updates=30, evaluate_every=8)

    def start():
        return ImageModelTrainer(config, data[:48], data[48:])

    whole = start()
    assert train(whole, StopAt(whole), tmp_path / "whole")
    part = start()
    assert not train(part, StopAt(part, 13), tmp_path / "part")
    torch.manual_seed(99)
    torch.rand(7)
    again = start()
    again.resume(tmp_path / "part")
    assert again.updates == 13
    assert train(again, StopAt(again), tmp_path / "part")
    assert (again.updates, again.best, again.best_at) == (30, whole.best, whole.best_at)
    assert same(again.model.state_dict(), whole.model.state_dict())
    assert same(again.best_weights, whole.best_weights)


def test_training_stops_early_and_keeps_the_best_weights(tmp_path):
    trainer = make(updates=500, rate=1e-9, evaluate_every=2, patience=3)
    losses = iter([3.0, 2.0, 2.5, 2.4, 2.3, 1.0])
    plain = trainer.model.objective
    trainer.model.objective = lambda part: (
        (8 - next(losses)) * trainer.model.autoencoder.dims * 0.6931471805599453 + 0 * plain(part)
        if not torch.is_grad_enabled()
        else plain(part)
    )
    assert train(trainer, StopAt(trainer), tmp_path)
    assert trainer.updates == 10 and trainer.best_at == 4
    assert trainer.best == pytest.approx(2.0, abs=1e-4)
    last = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.restore_best()
    assert not same(trainer.model.state_dict(), last)


def test_validation_and_pictures_leave_training_alone():
    trainer = make(model="vae")
    before = torch.get_rng_state()
    first = trainer.validate()
    trainer.pictures()
    assert torch.equal(torch.get_rng_state(), before) and trainer.validate() == first


def test_a_loss_that_is_not_finite_ends_the_run_with_advice():
    trainer = make()
    torch.nn.init.constant_(trainer.model.autoencoder.decoder.out.bias, float("nan"))
    with pytest.raises(UserError, match="the loss became nan at update 0: train with a lower rate"):
        trainer.update()


@pytest.mark.parametrize("prefix", ["autoencoder.", "eye."])
def test_a_run_loads_as_a_model_and_resumes_with_todays_and_earlier_names(prefix, tmp_path):
    trainer = make(model="aef-center", prior="maf", updates=4, evaluate_every=2)
    train(trainer, StopAt(trainer), tmp_path / "checkpoints")
    save(tmp_path / "config.yaml", trainer.config)
    state = trainer.state_dict()
    for part in ("model", "kept"):
        state[part] = {
            name.replace("autoencoder.", prefix): value for name, value in state[part].items()
        }
    save_checkpoint(tmp_path / "checkpoints", 4, state, {"kind": "fit"})
    assert any(
        name.startswith(prefix) for name in load_latest(tmp_path / "checkpoints").state["kept"]
    )

    assert same(load_model(tmp_path).state_dict(), trainer.best_weights)
    again = make(model="aef-center", prior="maf", updates=4, evaluate_every=2)
    again.resume(tmp_path / "checkpoints")
    assert same(again.model.state_dict(), trainer.model.state_dict())
    assert same(again.best_weights, trainer.best_weights)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="is not the folder of a run"):
        load_model(tmp_path / "nothing")


def test_floors_and_bounds_reach_the_model():
    words = ["log_scale_bound=inf", "sigma_floor=0.3", "variance=fixed", "networks=conv", "width=4"]
    autoencoder = build_model(load(words), (1, 8, 8)).autoencoder
    assert (autoencoder.log_scale_bound, autoencoder.sigma_floor) == (float("inf"), 0.3)
    assert autoencoder.variance == "fixed"
    bounded = build_model(load([*words, "log_scale_bound=2"]), (1, 8, 8))
    assert bounded.autoencoder.log_scale_bound == 2


def test_a_report_draws_as_many_samples_as_requested(monkeypatch):
    monkeypatch.setattr(report, "BATCH", 4)
    model = build_model(FitConfig(**SMALL), (1, 8, 8))
    assert report.draw(model, 10).shape == (10, 1, 8, 8)
