"""Fish: a weightless body with fins in water."""
# ruff: noqa: D102 - the methods are documented once, in Task

import mujoco
import torch
from torch import Tensor

from envs.engines.base import Engine
from envs.engines.episode_rng import EpisodeRng
from envs.engines.mjcf import move_to_mocap, suite_spec
from envs.suite.rewards import tolerance
from envs.suite.task import Task

BEND = 0.2  # radians: largest joint angle at the start of an episode
TARGETS = ([-0.4, -0.4, 0.1], [0.4, 0.4, 0.3])  # metres: two corners of the box of targets


class Upright(Task):
    """Turn upright."""

    xml = "fish.xml"
    control_timestep = 0.04

    def spec(self) -> mujoco.MjSpec:
        spec = suite_spec(self.xml)
        spec.geom("target").rgba[3] = 0  # this task has no target
        return spec

    def reset(self, sim: Engine, env_ids: Tensor, rng: EpisodeRng) -> None:
        sim.qpos[env_ids, 3:7] = torch.nn.functional.normalize(rng.normal(4), dim=1)
        sim.qpos[env_ids, 7:] = rng.uniform(-BEND, BEND, sim.model.nq - 7)

    def _uprightness(self, sim: Engine) -> Tensor:
        """Return the cosine between the torso's z axis and the vertical, (N,)."""
        return sim.xmat[:, sim.body("torso"), 2, 2]

    def reward(self, sim: Engine) -> Tensor:
        return tolerance(self._uprightness(sim), (1.0, 1.0), margin=1.0)

    def proprio(self, sim: Engine) -> dict[str, Tensor]:
        return {
            "joint_angles": sim.qpos[:, 7:],
            "upright": self._uprightness(sim),
            "velocity": sim.qvel,
        }


class Swim(Upright):
    """Bring the mouth to the target, upright."""

    def spec(self) -> mujoco.MjSpec:
        spec = suite_spec(self.xml)
        move_to_mocap(spec, "target")
        return spec

    def reset(self, sim: Engine, env_ids: Tensor, rng: EpisodeRng) -> None:
        super().reset(sim, env_ids, rng)
        sim.mocap_pos[env_ids, sim.mocap("target")] = rng.uniform(*TARGETS, 3)

    def _to_target(self, sim: Engine) -> Tensor:
        """Return the vector from mouth to target in the mouth's frame, (N, 3), metres."""
        mouth = sim.geom("mouth")
        apart = sim.geom_xpos[:, sim.geom("target")] - sim.geom_xpos[:, mouth]
        return (apart[:, None] @ sim.geom_xmat[:, mouth])[:, 0]

    def reward(self, sim: Engine) -> Tensor:
        radii = sum(float(sim.model.geom(name).size[0]) for name in ("mouth", "target"))
        near = tolerance(self._to_target(sim).norm(dim=1), (0.0, radii), margin=2 * radii)
        return (7 * near + (self._uprightness(sim) + 1) / 2) / 8

    def proprio(self, sim: Engine) -> dict[str, Tensor]:
        parts = super().proprio(sim)
        velocity = parts.pop("velocity")
        return parts | {"target": self._to_target(sim), "velocity": velocity}


TASKS = {"fish-upright": Upright, "fish-swim": Swim}
