"""Agents behind a perfect eye: what it is told, and a run of it at a tiny size."""

import csv

import pytest
import torch
from small_run import SMALL
from torch.distributions import Normal

import envs
from aef_worldmodel.config import WorldModelConfig
from agents.schema import ConfigError
from benchmarks import perfect_eye


def test_the_perfect_eye_is_a_change_of_units():
    eye, rows = perfect_eye.PerfectEye(4), 3 * torch.randn(500, 4) + 2
    eye.set_mean(rows)
    code = eye.encode(rows)
    torch.testing.assert_close(code.latent * eye.std + eye.mean, rows)
    density = Normal(0.0, 1.0).log_prob(code.latent).sum(-1) + code.volume + eye.pixels(code)
    expected = Normal(rows.mean(0), rows.std(0)).log_prob(rows).sum(-1)
    torch.testing.assert_close(density, expected)


def test_positions_are_the_state_without_velocities():
    env = envs.make("walker-walk", 3, obs="proprio")
    told = perfect_eye.Told(env, "positions")
    obs, _ = told.reset()
    parts = [v.reshape(3, -1) for k, v in env.task.proprio(env.sim).items() if k != "velocity"]
    torch.testing.assert_close(obs, torch.cat(parts, 1).float())
    assert told.single_observation_space.shape == (15,)
    torch.testing.assert_close(told.step(torch.zeros(3, 6))[0], env.proprio()[:, :15])


def test_the_world_model_reads_it():
    model = perfect_eye.StateModel(WorldModelConfig(latent_dim=4, hidden_dim=16), (4,), 2)
    batch = {
        "frame": torch.randn(3, 6, 4), "action": torch.zeros(3, 6, 2), "reward": torch.zeros(3, 6),
        "first": torch.zeros(3, 6, dtype=torch.bool), "recurrent": torch.zeros(3, 256),
        "terminal": torch.zeros(3, 6, dtype=torch.bool),
    }  # fmt: skip
    losses = model.loss(batch)
    torch.testing.assert_close(losses.states.latent, batch["frame"])  # before set_mean
    losses.total.backward()
    assert (model.prior_net[-1].bias.grad != 0).any()


@pytest.mark.slow
def test_a_run_becomes_rows(tmp_path, capsys):
    words = [w for w in SMALL if not w.startswith("world_model.latent_dim")]
    words += ["env.restart_every=40", "eval_every=200"]
    asked = [*words, "--sees", "positions", "--out", str(tmp_path / "rows.csv")]
    assert perfect_eye.main(asked) == 0
    with open(tmp_path / "rows.csv") as file:
        rows = list(csv.DictReader(file))
    told = [(row["frames"], row["sees"]) for row in rows]
    assert told == [("200", "positions"), ("400", "positions")]
    assert all(0 <= float(row["return"]) <= 1000 for row in rows)
    before = (tmp_path / "rows.csv").read_text()
    assert perfect_eye.main(asked) == 0 and "already" in capsys.readouterr().out
    assert (tmp_path / "rows.csv").read_text() == before


def test_what_cannot_be_told_is_refused(tmp_path):
    for words in (["agent=random"], ["env=gym:CartPole-v1"], ["run=here"]):
        with pytest.raises(ConfigError):
            perfect_eye.main([*words, "--out", str(tmp_path / "rows.csv")])
    assert not (tmp_path / "rows.csv").exists()
