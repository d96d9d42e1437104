"""Point mass: a ball on a table, pushed to the middle."""
# ruff: noqa: D102 - what the methods do is said once, in Task

import torch
from torch import Tensor

from envs.engine import Engine
from envs.rewards import tolerance
from envs.suite.task import Draw, Task, randomize_joints

MOST_PARALLEL = 0.9  # cosine between the directions in which two motors may pull


class PointMass(Task):
    """Bring the ball to the target with little effort; the motors pull along x and y."""

    xml = "point_mass.xml"

    def reset(self, sim: Engine, worlds: Tensor, draw: Draw) -> None:
        randomize_joints(sim, worlds, draw)

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
    """Each motor pulls in a direction of its own, drawn anew for every episode."""

    engines = ("c",)  # mujoco-warp keeps what tendons pull at once for all worlds

    def reset(self, sim: Engine, worlds: Tensor, draw: Draw) -> None:
        super().reset(sim, worlds, draw)
        directions = sim.expand("wrap_prm")  # (N, 4): of the first motor, then of the second
        first = _directions(draw)  # (K, 2)
        directions[worlds, :2] = first
        while len(worlds):
            second = _directions(draw)
            directions[worlds, 2:] = second
            parallel = (first * second).sum(1).abs() > MOST_PARALLEL
            worlds, draw, first = worlds[parallel], draw[parallel], first[parallel]


def _directions(draw: Draw) -> Tensor:
    """Unit vectors of the plane, (K, 2)."""
    return torch.nn.functional.normalize(draw.normal(2), dim=1)


TASKS = {"point-mass-easy": PointMass, "point-mass-hard": RandomGains}
