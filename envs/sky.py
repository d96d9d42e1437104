"""The sky behind a scene. Which of its colours a ray meets depends only on where it points, so
for a camera that never turns it is drawn once and not again in every picture."""

import mujoco
import numpy as np
import warp as wp

import envs.quiet_warp  # noqa: F401  (before mujoco_warp, which initialises Warp)

import mujoco_warp as mjw  # isort: skip

FIXED = int(mujoco.mjtCamLight.mjCAMLIGHT_FIXED)  # to its body
STEADY = {  # follow a body, but do not turn with it
    int(mujoco.mjtCamLight.mjCAMLIGHT_TRACK), int(mujoco.mjtCamLight.mjCAMLIGHT_TRACKCOM)
}  # fmt: skip


def is_still(model: mujoco.MjModel, camera: int) -> bool:
    """Whether the camera of the model never turns and has a sky to see. It may move."""
    mode, body = int(model.cam_mode[camera]), model.cam_bodyid[camera]
    steady = mode in STEADY or (mode == FIXED and body == 0)
    return bool(steady and len(_textures(model)))


def draw_sky(model: mujoco.MjModel, camera: int, rays: np.ndarray) -> wp.array:
    """What the rays of a still camera meet where no geom is in their way.

    It is drawn by mujoco-warp in a scene that has no more than that sky: one small program for
    the skies of all models.

    Args:
        rays: directions (R, 3) in the camera's frame.

    Returns:
        packed pixels 0xAARRGGBB (R,), on Warp's current device.
    """
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    empty = _only_sky(model)
    warp_model, warp_data = mjw.put_model(empty), mjw.make_data(empty, nworld=1)
    warp_data.cam_xmat.assign(data.cam_xmat[camera].reshape(1, 1, 3, 3).astype(np.float32))
    context = mjw.create_render_context(
        empty, nworld=1, cam_res=(len(rays), 1), cam_active=[0], render_rgb=True,
        render_depth=False, render_seg=False, render_skybox=True, use_textures=False,
    )  # fmt: skip
    context.ray.assign(rays)
    mjw.refit_bvh(warp_model, warp_data, context)
    mjw.render(warp_model, warp_data, context)
    return context.rgb_data.flatten()


def _textures(model: mujoco.MjModel) -> np.ndarray:
    """Numbers of the model's skies: none or one."""
    return np.flatnonzero(model.tex_type == mujoco.mjtTexture.mjTEXTURE_SKYBOX)


def _only_sky(model: mujoco.MjModel) -> mujoco.MjModel:
    """A model with the sky of another, a camera, and a geom that cannot be seen."""
    number = _textures(model)[0]
    width, height, channels, start = (
        int(values[number])
        for values in (model.tex_width, model.tex_height, model.tex_nchannel, model.tex_adr)
    )
    spec = mujoco.MjSpec()
    sky = spec.add_texture(
        name="sky", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, width=width, height=height,
        nchannel=channels,
    )  # fmt: skip
    sky.data = model.tex_data[start : start + width * height * channels].tobytes()
    spec.worldbody.add_geom(
        type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[0.001, 0, 0], rgba=[0, 0, 0, 0]
    )
    spec.worldbody.add_camera()
    return spec.compile()
