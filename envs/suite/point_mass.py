"""Point mass: a ball on a table, pushed to the middle."""
# ruff: noqa: D102 - the methods are documented once, in Task

import torch
from torch import Tensor

from envs.engines.base import Engine
from envs.engines.episode_rng import EpisodeRng
from envs.suite.rewards import tolerance
from envs.suite.task import Task, randomize_joints

MOST_PARALLEL = 0.9  # cosine between the directions in which two motors may pull


class PointMass(Task):
    """Bring the ball to the target with little effort; the motors pull along x and y."""

    xml = "point_mass.xml"

    def reset(self, sim: Engine, env_ids: Tensor, rng: EpisodeRng) -> None:
        randomize_joints(sim, env_ids, rng)

    def reward(self, sim: Engine) -> Tensor:
        ball, target = sim.geom("pointmass"), sim.geom("target")
        distance = (sim.geom_xpos[:, target] - sim.geom_xpos[:, ball]).norm(dim=1)
        radius = float(sim.model.geom("target").size[0])
        near = tolerance(distance, (0.0, radius), margin=radius)
        ease = tolerance(sim.ctrl, margin=1.0, shape="quadratic", value_at_margin=0.0).mean(1)
        return near * (ease + 4) / 5

    def proprio(self, sim: Engine) -> dict[str, Tensor]:
        return {"position": sim.qpos, "velocity": sim.qvel}


class RandomGains(PointMass):
    """Each motor pulls in a random direction, drawn for every episode."""

    engines = ("c",)  # mujoco-warp has one set of tendon coefficients for all environments

    def reset(self, sim: Engine, env_ids: Tensor, rng: EpisodeRng) -> None:
        super().reset(sim, env_ids, rng)
        directions = sim.expand("wrap_prm")  # (N, 4): the first motor's, then the second's
        first = _directions(rng)  # (K, 2)
        directions[env_ids, :2] = first
        while len(env_ids):
            second = _directions(rng)
            directions[env_ids, 2:] = second
            parallel = (first * second).sum(1).abs() > MOST_PARALLEL
            env_ids, rng, first = env_ids[parallel], rng[parallel], first[parallel]


def _directions(rng: EpisodeRng) -> Tensor:
    """Return random unit vectors of the plane, (K, 2)."""
    return torch.nn.functional.normalize(rng.normal(2), dim=1)


TASKS = {"point-mass-easy": PointMass, "point-mass-hard": RandomGains}
