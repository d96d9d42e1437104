"""The sky that is rendered once equals the sky rendered in every image."""

import mujoco
import pytest
import torch

import envs
from envs.rendering import ray_tracer
from envs.rendering.sky import is_still
from envs.suite import make_task


@pytest.mark.parametrize("task", ["cheetah-run", "cartpole-swingup", "quadruped-walk"])
@pytest.mark.parametrize("samples", [1, 3])
def test_images_equal_those_with_the_sky_rendered_each_time(monkeypatch, task, samples):
    drawn = []  # once?

    def images():
        env = envs.make(task, 2, image_size=24, samples_per_pixel=samples, threads=1)
        drawn.append(ray_tracer.is_still(env.model, env.camera))
        env.reset(seed=0)
        ahead = torch.ones(env.action_space.shape)
        return torch.stack([env.step(turn * ahead)[0] for turn in (1, 1, -1)])

    once = images()
    monkeypatch.setattr(ray_tracer, "is_still", lambda model, camera: False)
    assert torch.equal(once, images()) and drawn == [True, False]


def test_cameras_of_tasks_do_not_turn():
    for name in envs.tasks()[::5]:
        task = make_task(name)
        assert is_still(task.spec().compile(), task.camera), name


def test_a_camera_that_turns_sees_another_sky():
    """Two cameras, one fixed to a body that turns, in a scene of sky alone."""
    text = """<mujoco><asset><texture type="skybox" builtin="gradient" rgb1="1 0 0" rgb2="0 0 1"
      width="32" height="192"/></asset><worldbody><camera name="still"/><body><joint axis="1 0 0"/>
      <geom size=".1" mass="1"/><camera name="turns"/></body></worldbody></mujoco>"""
    model = mujoco.MjModel.from_xml_string(text)
    assert [is_still(model, camera) for camera in range(model.ncam)] == [True, False]
    bare = mujoco.MjModel.from_xml_string("<mujoco><worldbody><camera/></worldbody></mujoco>")
    assert not is_still(bare, 0)
