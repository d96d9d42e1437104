"""Which runs have an actor that learnt in imagination."""

from types import SimpleNamespace

import pytest
from point import spec

from aef_worldmodel.utils.errors import UserError
from agents.algorithms.fixed import RandomAgent, RandomConfig
from agents.algorithms.mpc import MpcAgent, MpcConfig, PlanConfig
from benchmarks import finished_runs

BY_REWARDS = PlanConfig(num_policy_trajectories=0, use_value=False)


@pytest.mark.parametrize(
    ("kind", "config", "usable"),
    [
        (MpcAgent, MpcConfig(hidden_dim=8), True),
        (MpcAgent, MpcConfig(hidden_dim=8, plan=BY_REWARDS), False),
        (RandomAgent, RandomConfig(), False),
    ],
)
def test_only_runs_with_a_trained_actor_are_used(kind, config, usable, monkeypatch):
    learner = SimpleNamespace(agent=kind(config, spec()))
    loaded = SimpleNamespace(learner=learner, config=SimpleNamespace(agent=config))
    monkeypatch.setattr(finished_runs, "load_run", lambda run, hardware: loaded)
    if usable:
        assert finished_runs.load_actor_critic("run") is loaded
        return
    with pytest.raises(UserError, match="without an actor that learnt in imagination"):
        finished_runs.load_actor_critic("run")
