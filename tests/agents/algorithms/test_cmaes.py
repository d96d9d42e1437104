"""Controllers and their evolution: shapes computed twice, imagination, stages that resume."""

import csv

import numpy as np
import pytest
import torch
from point import Point, starts
from small_run import SMALL, logger

from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.world_models.base import State
from agents import evolve
from agents.algorithms.cmaes.agent import CmaesConfig
from agents.algorithms.cmaes.controller import Controller, ControllerPolicy
from agents.algorithms.cmaes.evolution import Evolution, imagined_returns
from agents.config import train as settings
from agents.training.runs import LoadedRun
from agents.training.trainer import Trainer

pytest.importorskip("cma")


def states(count, recurrent=3, latent=2):
    return State(torch.randn(count, recurrent), torch.randn(count, latent))


@pytest.mark.parametrize("reads", ["hz", "h", "z"])
@pytest.mark.parametrize("hidden", [0, 4])
def test_many_controllers_act_as_each_alone(reads, hidden):
    controller = Controller(3, 2, 2, reads, hidden)
    inputs = {"hz": 5, "h": 3, "z": 2}[reads]
    sizes = {0: 2 * (inputs + 1), 4: 4 * (inputs + 1) + 2 * 5}
    assert controller.size == sizes[hidden]
    parameters, seen = torch.randn(3, controller.size), states(6)
    found = ControllerPolicy(controller, parameters).act(seen, torch.zeros(6, dtype=torch.bool))
    for i in range(6):
        parts = [seen.recurrent[i]] * ("h" in reads) + [seen.latent[i]] * ("z" in reads)
        x, own = torch.cat(parts), parameters[i // 2]  # two worlds each
        if hidden:
            first, own = own[: 4 * (inputs + 1)].view(4, -1), own[4 * (inputs + 1) :]
            x = torch.tanh(first[:, :-1] @ x + first[:, -1])
        last = own.view(2, -1)
        torch.testing.assert_close(found[i], torch.tanh(last[:, :-1] @ x + last[:, -1]))


@pytest.mark.parametrize(("size", "step"), [(3, 0.3), (201, 0.05)])  # full covariance, diagonal
def test_evolution_climbs_and_repeats_itself(size, step):
    def live(evolution, generations):
        for _ in range(generations):
            evolution.tell(-(evolution.ask() - 0.5).square().sum(1))
        return evolution

    straight = live(Evolution(size, 8, step, seed=1), 12)
    first = live(Evolution(size, 8, step, seed=1), 5)
    again = Evolution(size, 8, step, seed=1)
    again.load_state_dict(first.state_dict())
    live(again, 7)
    assert torch.equal(again.mean, straight.mean) and torch.equal(again.elite, straight.elite)
    other = live(Evolution(size, 8, step, seed=2), 12)
    assert not torch.equal(other.mean, straight.mean)
    assert straight.returns_history[-1].mean() > straight.returns_history[0].mean()
    with pytest.raises(UserError, match="not a number"):
        live(Evolution(size, 8, step, seed=1), 1).tell(torch.full((8,), torch.nan))


def test_numpys_own_generator_is_left_alone():
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    Evolution(4, 6, 0.1, seed=0).ask()
    assert (np.random.get_state()[1] == before).all()


def test_an_imagined_return_is_the_sum_of_imagined_rewards():
    torch.manual_seed(0)
    model, controller = Point(), Controller(1, 1, 1, "z")
    parameters, begin = torch.randn(3, 2), starts(4)
    found = imagined_returns(model, controller, parameters, begin, 5, temperature=0.0)
    for k, (slope, offset) in enumerate(parameters):
        position, total = begin.latent[:, 0], torch.zeros(4)
        for _ in range(5):
            position = position + 0.5 * torch.tanh(slope * position + offset)
            total = total - (position - 1).square()
        torch.testing.assert_close(found[k], total.mean())


@torch.no_grad()
def test_a_controller_learns_in_imagination():
    torch.manual_seed(0)
    model, controller, begin = Point(), Controller(1, 1, 1, "z"), starts(16)
    evolution = Evolution(controller.size, 12, 0.5, seed=0)
    for _ in range(15):
        returns = imagined_returns(model, controller, evolution.ask(), begin, 6, 1.0)
        evolution.tell(returns)
    idle = imagined_returns(model, controller, torch.zeros(1, 2), begin, 6, 1.0)
    learnt = imagined_returns(model, controller, evolution.mean[None], begin, 6, 1.0)
    assert learnt > 0.5 * idle  # returns are negative: less than half as far from the best


def test_impossible_evolutions_are_refused():
    with pytest.raises(ValueError, match=r"population=2 must be at least 4"):
        CmaesConfig(population=2)
    with pytest.raises(ValueError, match=r"step=0\.0 must be above 0"):
        evolve.EvolveConfig(step=0.0)


TINY = [word for word in SMALL if not word.startswith("agent.")]
WORDS = ["env.image_size=32", "env.action_repeat=100", "frames=4000"]
EVOLVE = [
    "generations=2",
    "population=4",
    "rollouts=2",
    "horizon=4",
    "eval_every=2",
    "eval_episodes=2",
    "hardware=cpu",
    "hardware.threads=1",
    "places=[dream,real]",
    "temperatures=[0.5,1]",
]


def test_stages_are_judged_in_the_real_environments_and_resume(tmp_path):
    config = settings.load([*TINY, *WORDS, "agent=random"])
    trainer = Trainer(config, tmp_path / "run")
    trainer.save(logger(trainer))
    settings.save(tmp_path / "run" / "config.yaml", config)
    run = f"run={tmp_path / 'run'}"

    def rows(folder):
        with open(tmp_path / folder / "evolution.csv", encoding="utf-8") as file:
            return {(r["place"], r["temperature"]): r for r in csv.DictReader(file)}

    assert evolve.main([run, *EVOLVE, f"out={tmp_path / 'whole'}"]) == 0
    assert set(rows("whole")) == {("dream", "0.5"), ("dream", "1"), ("real", "0")}
    out = f"out={tmp_path / 'parts'}"
    evolve.main([run, *EVOLVE, "generations=1", out])
    evolve.main([run, *EVOLVE, out])
    last = rows("parts")
    for key, row in rows("whole").items():
        assert last[key]["generation"] == row["generation"] == "2"
        for name in ("best", "mean", "real_mean", "real_elite"):
            assert last[key][name] == row[name]
    for was, other in (
        ("seed=0", "seed=1"),
        ("decisions=null", "decisions=3"),
        ("horizon=4", "horizon=5"),
    ):
        with pytest.raises(settings.ConfigError, match=f"began with {was}, not {other}: "):
            evolve.main([run, *EVOLVE, other, out])
    assert rows("parts") == last
    evolve.main([run, *EVOLVE, "places=[real]", "decisions=3", f"out={tmp_path / 'short'}"])
    short, whole = (rows(folder)["real", "0"] for folder in ("short", "whole"))
    assert int(short["frames"]) * 10 == int(whole["frames"]) * 3  # episodes of ten decisions
    assert abs(float(short["mean"])) < abs(float(whole["mean"]))
    with pytest.raises(settings.ConfigError, match="leave nothing to do"):
        evolve.main([run, *EVOLVE, "places=[dream]", "models=[untrained]"])


def test_the_untrained_control_keeps_the_autoencoder(tmp_path):
    config = settings.load([*TINY, *WORDS, "agent=random"])
    learner = Trainer(config, tmp_path).learner
    fresh = evolve.untrained(LoadedRun(learner, config, 0, False, None), seed=9)
    ours, theirs = learner.model.state_dict(), fresh.model.state_dict()
    same = {name for name in ours if torch.equal(ours[name], theirs[name])}
    assert {name for name in ours if name.startswith("autoencoder.")} <= same
    assert "cell.recurrent.weight" not in same and "prior_net.0.weight" not in same
