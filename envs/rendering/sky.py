"""The sky behind a scene, rendered once for a camera that never turns.

The colour of the sky that a ray meets depends only on the ray's direction.
"""

import mujoco
import numpy as np
import warp as wp

import envs.engines.quiet_warp  # noqa: F401  (before mujoco_warp, which initialises Warp)

import mujoco_warp as mjw  # isort: skip

FIXED_CAMERA = int(mujoco.mjtCamLight.mjCAMLIGHT_FIXED)  # relative to its body
TRACKING_CAMERAS = {  # follow a body, but do not turn with it
    int(mujoco.mjtCamLight.mjCAMLIGHT_TRACK),
    int(mujoco.mjtCamLight.mjCAMLIGHT_TRACKCOM),
}


def is_still(model: mujoco.MjModel, camera: int) -> bool:
    """Return whether the model has a sky and its camera never turns; the camera may move."""
    mode, body = int(model.cam_mode[camera]), model.cam_bodyid[camera]
    steady = mode in TRACKING_CAMERAS or (mode == FIXED_CAMERA and body == 0)
    return bool(steady and len(_sky_textures(model)))


def draw_sky(model: mujoco.MjModel, camera: int, rays: np.ndarray) -> wp.array:
    """Render the sky that the rays of a still camera meet where no geom is in their way.

    mujoco-warp renders it in a scene of only that sky: one small kernel for all models.

    Args:
        model: the compiled model.
        camera: index of its camera.
        rays: directions (R, 3) in the camera's frame.

    Returns:
        Packed pixels 0xAARRGGBB (R,), on Warp's current device.
    """
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    empty = _only_sky(model)
    warp_model, warp_data = mjw.put_model(empty), mjw.make_data(empty, nworld=1)
    warp_data.cam_xmat.assign(data.cam_xmat[camera].reshape(1, 1, 3, 3).astype(np.float32))
    context = mjw.create_render_context(
        empty,
        nworld=1,
        cam_res=(len(rays), 1),
        cam_active=[0],
        render_rgb=True,
        render_depth=False,
        render_seg=False,
        render_skybox=True,
        use_textures=False,
    )
    context.ray.assign(rays)
    mjw.refit_bvh(warp_model, warp_data, context)
    mjw.render(warp_model, warp_data, context)
    return context.rgb_data.flatten()


def _sky_textures(model: mujoco.MjModel) -> np.ndarray:
    """Return the indices of the model's skies: none or one."""
    return np.flatnonzero(model.tex_type == mujoco.mjtTexture.mjTEXTURE_SKYBOX)


def _only_sky(model: mujoco.MjModel) -> mujoco.MjModel:
    """Make a model with another model's sky, a camera and an invisible geom."""
    index = _sky_textures(model)[0]
    width, height, channels, start = (
        int(values[index])
        for values in (model.tex_width, model.tex_height, model.tex_nchannel, model.tex_adr)
    )
    spec = mujoco.MjSpec()
    sky = spec.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        width=width,
        height=height,
        nchannel=channels,
    )
    sky.data = model.tex_data[start : start + width * height * channels].tobytes()
    spec.worldbody.add_geom(
        type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[0.001, 0, 0], rgba=[0, 0, 0, 0]
    )
    spec.worldbody.add_camera()
    return spec.compile()
