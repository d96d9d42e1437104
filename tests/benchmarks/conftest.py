"""A finished run of seconds, which several benchmarks read and none changes."""

import pytest
import small_run

from agents.config import train as settings

CHANGES = [
    "env.action_repeat=8",
    "env.image_size=16",
    "hardware.threads=1",
    "frames=800",
    "checkpoint_every=800",
]


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Return the folder of a run of agent=imagination on cartpole-swingup."""
    run = tmp_path_factory.mktemp("runs") / "small"
    trainer = small_run.make(run, *CHANGES)
    settings.save(run / "config.yaml", trainer.config)
    with small_run.logger(trainer) as logger:
        assert trainer.train(logger)
    return run
