"""A task of one's own: an MJCF string and a reward in torch.

Run: `python examples/own_task.py`.
"""

# ruff: noqa: D102 - the methods are documented once, in Task

import mujoco

import envs
from envs.suite.rewards import tolerance
from envs.suite.task import Task

XML = """
<mujoco><worldbody><light pos="0 0 3"/><camera name="front" pos="0 -3 1" zaxis="0 -1 .2"/>
  <geom type="plane" size="3 3 .1" rgba=".3 .4 .5 1"/>
  <body pos="0 0 .2"><joint name="x" type="slide" axis="1 0 0" damping="1"/>
    <geom type="box" size=".2 .2 .2" rgba=".8 .5 .2 1"/></body></worldbody>
<actuator><motor joint="x" gear="20" ctrllimited="true" ctrlrange="-1 1"/></actuator></mujoco>"""


class Centre(Task):
    """Bring the box to the middle."""

    control_timestep = 0.02  # seconds

    def spec(self):
        return mujoco.MjSpec.from_string(XML)

    def reset(self, sim, env_ids, rng):
        sim.qpos[env_ids] = rng.uniform(-1, 1, 1)  # (K, 1)

    def reward(self, sim):
        return tolerance(sim.qpos[:, 0], (-0.05, 0.05), margin=1.0)  # (N,)

    def proprio(self, sim):
        return {"position": sim.qpos, "velocity": sim.qvel}


if __name__ == "__main__":
    env = envs.BatchedEnv(Centre(), num_envs=4, seed=0)
    env.reset()
    for _ in range(50):
        position, velocity = env.proprio().T  # (4,) each
        action = (-2 * position - velocity).clamp(-1, 1)[:, None]
        obs, reward, *_ = env.step(action)
    print(f"images {tuple(obs.shape)}, reward of the last decision {reward.tolist()}")
