"""Agents that see the simulator's state: their world model and environments, and a tiny run."""

import pytest
import torch
from small_run import SMALL
from torch.distributions import Normal

import envs
from aef_worldmodel.data.batch import Batch
from aef_worldmodel.utils.config.schema import ConfigError
from aef_worldmodel.utils.tables import Table
from aef_worldmodel.world_models.config import RecurrentConfig
from benchmarks import perfect_eye


def test_standardisation_is_a_change_of_units():
    autoencoder, rows = perfect_eye.Standardisation(4), 3 * torch.randn(500, 4) + 2
    autoencoder.set_mean(rows[:, None, None])
    code = autoencoder.encode(rows[:, None, None])
    torch.testing.assert_close(code.latent * autoencoder.std + autoencoder.mean, rows)
    density = (
        Normal(0.0, 1.0).log_prob(code.latent).sum(-1)
        + code.log_det
        + autoencoder.reconstruction_log_prob(code)
    )
    expected = Normal(rows.mean(0), rows.std(0)).log_prob(rows).sum(-1)
    torch.testing.assert_close(density, expected)


def test_positions_are_the_state_without_velocities():
    env = envs.make("walker-walk", 3, obs="proprio")
    positions = perfect_eye.StateEnvs(env, "positions")
    obs, _ = positions.reset()
    parts = [v.reshape(3, -1) for k, v in env.task.proprio(env.sim).items() if k != "velocity"]
    torch.testing.assert_close(obs[:, 0, 0], torch.cat(parts, 1).float())
    assert positions.single_observation_space.shape == (1, 1, 15)
    obs = positions.step(torch.zeros(3, 6))[0]
    torch.testing.assert_close(obs[:, 0, 0], env.proprio()[:, :15])


def test_the_world_model_learns_from_it():
    model = perfect_eye.StateModel(RecurrentConfig(hidden_dim=16), (1, 1, 4), 2)
    assert model.state_dims == (256, 4) and set(model.parameter_groups()) == {"dynamics", "heads"}
    batch = Batch(
        frame=torch.randn(3, 6, 1, 1, 4),
        action=torch.zeros(3, 6, 2),
        reward=torch.zeros(3, 6),
        first=torch.zeros(3, 6, dtype=torch.bool),
        terminal=torch.zeros(3, 6, dtype=torch.bool),
        recurrent=torch.zeros(3, 6, 256),
    )
    losses = model.loss(batch)
    torch.testing.assert_close(losses.states.latent, batch.frame[:, :, 0, 0])  # before set_mean
    losses.total.backward()
    assert (model.prior_net[-1].bias.grad != 0).any()


def test_a_run_becomes_rows(tmp_path, capsys):
    out = tmp_path / "rows.csv"
    changed = ("world_model.latent_dim", "eval.every", "env.action_repeat", "env.random")
    changed += ("hardware.threads", "checkpoint_every")
    words = [w for w in SMALL if not w.startswith(changed)]
    words += ["env.random_truncation_every=40", "eval.every=200", "env.action_repeat=10"]
    words += ["hardware.threads=1", "checkpoint_every=400"]
    asked = [*words, "sees=positions", f"out={out}"]
    assert perfect_eye.main(asked) == 0
    rows = Table(out).rows
    assert [(row["frames"], row["sees"]) for row in rows] == [
        ("200", "positions"),
        ("400", "positions"),
    ]
    assert all(0 <= float(row["return"]) <= 1000 for row in rows)
    assert "eval.every=200" in rows[0]["settings"] and "sees" not in rows[0]["settings"]
    before = out.read_text()
    assert perfect_eye.main(asked) == 0 and "has the rows" in capsys.readouterr().out
    assert out.read_text() == before


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("agent=random", "agent must be imagination or mpc"),
        ("env=gym:CartPole-v1", "has no state vector"),
        ("run=here", "leave them out"),
        ("sees=all", "sees=all is wrong"),
    ],
)
def test_impossible_settings_are_refused(word, sentence, tmp_path):
    with pytest.raises(ConfigError, match=sentence):
        perfect_eye.main([word, f"out={tmp_path / 'rows.csv'}"])
    assert not (tmp_path / "rows.csv").exists()
