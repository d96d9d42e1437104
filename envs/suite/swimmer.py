"""Swimmer: a chain of links in a viscous fluid, and a target somewhere on the ground."""
# ruff: noqa: D102 - what the methods do is said once, in Task

from functools import partial

import mujoco
import torch
from torch import Tensor

from envs.engine import Engine
from envs.model import move_to_mocap, suite_spec
from envs.rewards import tolerance
from envs.suite.task import Draw, Task, randomize_joints

CLOSE_SHARE = 0.2  # of the targets
CLOSE, FAR = 0.3, 2.0  # metres: half the side of the square where close and other targets lie
LINKS_OF_CAMERA = 6  # the model's cameras are placed for so many
IN_PLANE = (0, 1, 5)  # of a link's velocities, linear and angular, those in the plane


class Swimmer(Task):
    """Bring the nose to the target.

    Args:
        links: how many, the head among them.
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
        kept = {"name": light.name, "diffuse": light.diffuse, "pos": light.pos - body.pos}
        spec.delete(light)
        body.add_light(**kept)
        return spec

    def reset(self, sim: Engine, worlds: Tensor, draw: Draw) -> None:
        randomize_joints(sim, worlds, draw)
        close = draw.uniform(0, 1) < CLOSE_SHARE
        box = torch.where(close, CLOSE, FAR)[:, None]
        sim.mocap_pos[worlds, sim.mocap("target"), :2] = box * draw.uniform(-1, 1, 2)

    def _to_target(self, sim: Engine) -> Tensor:
        """From nose to target in the head's frame, in its plane: (N, 2), metres."""
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
    """Hangs link `i` on `parent`, with motor and sensors; its hinge turns by `limit` degrees."""
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


TASKS = {f"swimmer-swimmer{links}": partial(Swimmer, links) for links in (6, 15)}
