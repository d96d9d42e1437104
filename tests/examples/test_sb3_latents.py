"""The example of Stable-Baselines3 on a trained world model learns and plays in all three ways."""

import runpy
from pathlib import Path

import pytest
from small_run import logger, make

from aef_worldmodel.utils.config.yaml_files import save

pytest.importorskip("stable_baselines3")

EXAMPLE = Path(__file__).parents[2] / "examples" / "sb3_latents.py"


def test_three_ways_on_a_small_run(tmp_path):
    sizes = ("env.image_size=32", "env.action_repeat=20", "frames=4000", "prefill=3900")
    trainer = make(tmp_path, *sizes)
    save(tmp_path / "config.yaml", trainer.config)
    with logger(trainer) as opened:
        trainer.save(opened)
    returns = runpy.run_path(str(EXAMPLE))["main"](str(tmp_path), decisions=120)
    assert list(returns) == ["PPO on features", "PPO in imagination", "SAC on latents"]
    assert all(0 <= mean <= 1000 and deviation >= 0 for mean, deviation in returns.values())
