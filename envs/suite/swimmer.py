"""Swimmer: a chain of links in a viscous fluid, and a target on the ground."""
# ruff: noqa: D102 - the methods are documented once, in Task

from functools import partial

import mujoco
import torch
from torch import Tensor

from envs.engines.base import Engine
from envs.engines.episode_rng import EpisodeRng
from envs.engines.mjcf import move_to_mocap, suite_spec
from envs.suite.rewards import tolerance
from envs.suite.task import Task, randomize_joints

CLOSE_SHARE = 0.2  # share of targets that are close
CLOSE, FAR = 0.3, 2.0  # metres: half side of the square of close and of other targets
LINKS_OF_CAMERA = 6  # the model's cameras are placed for this number
IN_PLANE = (0, 1, 5)  # indices of a link's linear and angular velocities in the plane


class Swimmer(Task):
    """Bring the nose to the target.

    Args:
        links: number of links, including the head.
    """

    xml = "swimmer.xml"
    control_timestep = 0.03

    def __init__(self, links: int):
        self.links = links

    def spec(self) -> mujoco.MjSpec:
        spec = suite_spec(self.xml)
        body = spec.body("head")
        for i in range(self.links - 1):
            body = _add_link(spec, body, i, limit=360.0 / self.links)
        for camera in spec.cameras:
            if camera.mode == mujoco.mjtCamLight.mjCAMLIGHT_TRACKCOM:
                camera.pos = camera.pos * (self.links / LINKS_OF_CAMERA)
        body = move_to_mocap(spec, "target")
        light = spec.light("target_light")  # shines on the target from above
        moved = {"name": light.name, "diffuse": light.diffuse, "pos": light.pos - body.pos}
        spec.delete(light)
        body.add_light(**moved)
        return spec

    def reset(self, sim: Engine, env_ids: Tensor, rng: EpisodeRng) -> None:
        randomize_joints(sim, env_ids, rng)
        close = rng.uniform(0, 1) < CLOSE_SHARE
        box = torch.where(close, CLOSE, FAR)[:, None]
        sim.mocap_pos[env_ids, sim.mocap("target"), :2] = box * rng.uniform(-1, 1, 2)

    def _to_target(self, sim: Engine) -> Tensor:
        """Return the vector from nose to target in the head's plane: (N, 2), metres."""
        apart = sim.geom_xpos[:, sim.geom("target")] - sim.geom_xpos[:, sim.geom("nose")]
        return (apart[:, None] @ sim.xmat[:, sim.body("head")])[:, 0, :2]

    def reward(self, sim: Engine) -> Tensor:
        radius = float(sim.model.geom("target").size[0])
        distance = self._to_target(sim).norm(dim=1)
        return tolerance(distance, (0.0, radius), 5 * radius, shape="long_tail")

    def proprio(self, sim: Engine) -> dict[str, Tensor]:
        of_links = sim.sensordata[:, 12:].unflatten(1, (self.links, 6))  # after 4 poses
        return {
            "joints": sim.qpos[:, 3:],
            "to_target": self._to_target(sim),
            "body_velocities": of_links[:, :, IN_PLANE].flatten(1),
        }


def _add_link(spec: mujoco.MjSpec, parent, i: int, limit: float):
    """Add link `i` to `parent`, with motor and sensors; its hinge turns by `limit` degrees."""
    swimmer, joint, site = spec.find_default("swimmer"), f"joint_{i}", f"site_{i}"
    body = parent.add_body(name=f"segment_{i}", pos=[0, 0.1, 0], childclass="swimmer")
    for kind in ("visual", "inertial"):
        body.add_geom(spec.find_default(kind), name=f"{kind}_{i}")
    body.add_site(swimmer, name=site)
    body.add_joint(swimmer, name=joint, range=[-limit, limit])
    trntype = mujoco.mjtTrn.mjTRN_JOINT
    spec.add_actuator(name=f"motor_{i}", target=joint, trntype=trntype)
    for kind in ("VELOCIMETER", "GYRO"):
        spec.add_sensor(
            name=f"{kind.lower()}_{i}",
            type=getattr(mujoco.mjtSensor, f"mjSENS_{kind}"),
            objtype=mujoco.mjtObj.mjOBJ_SITE,
            objname=site,
        )
    return body


TASKS = {
    "swimmer-swimmer6": partial(Swimmer, links=6),
    "swimmer-swimmer15": partial(Swimmer, links=15),
}
