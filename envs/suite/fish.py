"""Fish: a body with fins in water, without weight."""
# ruff: noqa: D102 - what the methods do is said once, in Task

import mujoco
import torch
from torch import Tensor

from envs.engine import Engine
from envs.model import move_to_mocap, suite_spec
from envs.rewards import tolerance
from envs.suite.task import Draw, Task

BEND = 0.2  # radians: the joints' largest at an episode's start
TARGETS = ([-0.4, -0.4, 0.1], [0.4, 0.4, 0.3])  # metres: the box they lie in


class Upright(Task):
    """Turn upright."""

    xml = "fish.xml"
    control_timestep = 0.04

    def spec(self) -> mujoco.MjSpec:
        spec = suite_spec(self.xml)
        spec.geom("target").rgba[3] = 0  # it means nothing here
        return spec

    def reset(self, sim: Engine, worlds: Tensor, draw: Draw) -> None:
        sim.qpos[worlds, 3:7] = torch.nn.functional.normalize(draw.normal(4), dim=1)
        sim.qpos[worlds, 7:] = draw.uniform(-BEND, BEND, sim.model.nq - 7)

    def _uprightness(self, sim: Engine) -> Tensor:
        """The cosine between the fish's vertical and the world's, (N,)."""
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

    def reset(self, sim: Engine, worlds: Tensor, draw: Draw) -> None:
        super().reset(sim, worlds, draw)
        sim.mocap_pos[worlds, sim.mocap("target")] = draw.uniform(*TARGETS, 3)

    def _to_target(self, sim: Engine) -> Tensor:
        """From mouth to target in the mouth's frame, (N, 3), metres."""
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
