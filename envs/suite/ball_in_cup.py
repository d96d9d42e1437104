"""Ball in cup: swing a ball on a string into the cup that holds the string."""
# ruff: noqa: D102 - the methods are documented once, in Task

import torch
from torch import Tensor

from envs.engines.base import Engine
from envs.engines.episode_rng import EpisodeRng
from envs.suite.task import Task, place_until_free


class BallInCup(Task):
    """Reward 1 while the whole ball is inside the cup, 0 otherwise."""

    xml = "ball_in_cup.xml"
    control_timestep = 0.02

    def reset(self, sim: Engine, env_ids: Tensor, rng: EpisodeRng) -> None:
        ball = [sim.joint("ball_x"), sim.joint("ball_z")]

        def place(env_ids: Tensor, rng: EpisodeRng) -> None:
            sim.qpos[env_ids[:, None], torch.tensor(ball)] = rng.uniform([-0.2, 0.2], [0.2, 0.5], 2)

        place_until_free(sim, env_ids, rng, place)

    def reward(self, sim: Engine) -> Tensor:
        target, ball = sim.site_xpos[:, sim.site("target")], sim.xpos[:, sim.body("ball")]
        distance = (target - ball)[:, [0, 2]].abs()  # (N, 2): x and z
        size = sim.model.site("target").size[[0, 2]] - sim.model.geom("ball").size[0]
        inside = distance < torch.as_tensor(size, device=sim.device)
        return inside.all(1).to(sim.dtype)

    def proprio(self, sim: Engine) -> dict[str, Tensor]:
        return {"position": sim.qpos, "velocity": sim.qvel}


TASKS = {"ball-in-cup-catch": BallInCup}
