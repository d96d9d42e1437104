"""From MJCF to a compiled model that the ray tracer can draw in full."""

import importlib.util
import warnings
from pathlib import Path

import mujoco
import numpy as np

STAR_FILTER_PIXELS = 9
STARS = mujoco.mjtMark.mjMARK_RANDOM
DRAWN_GROUPS = (0, 1, 2)  # MuJoCo's default for geoms and sites


def suite_spec(filename: str) -> mujoco.MjSpec:
    """Reads one of dm_control's suite files without importing dm_control.

    Args:
        filename: e.g. "cheetah.xml".

    Raises:
        ValueError: dm_control is not installed, or its suite has no such file.
    """
    found = importlib.util.find_spec("dm_control")
    if found is None or not found.submodule_search_locations:
        raise ValueError(f"{filename} is part of dm_control: run `pip install dm-control`.")
    path = Path(found.submodule_search_locations[0]) / "suite" / filename
    if not path.exists():
        raise ValueError(f"{path} does not exist: this dm_control has no suite file {filename}.")
    return mujoco.MjSpec.from_file(str(path))


def compile_model(spec: mujoco.MjSpec) -> mujoco.MjModel:
    """Compiles `spec` with its sites made visible and its stars smoothed.

    The physics is that of `spec` as given: what is added has no mass and touches nothing.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # on deprecated attributes of others' XML
        draw_sites(spec)
        model = spec.compile()
    smooth_stars(model, {texture.name for texture in spec.textures if texture.mark == STARS})
    return model


def draw_sites(spec: mujoco.MjSpec) -> None:
    """Adds a massless geom that collides with nothing for each site (sites are not ray-traced)."""
    if not spec.sites:
        return
    model = spec.compile()
    for i, site in enumerate(spec.sites):
        if model.site_group[i] not in DRAWN_GROUPS:
            continue
        material = model.site_matid[i]
        spec.bodies[model.site_bodyid[i]].add_geom(
            name=f"{site.name or i}_site",
            type=mujoco.mjtGeom(int(model.site_type[i])),
            pos=model.site_pos[i],
            quat=model.site_quat[i],
            size=model.site_size[i],
            rgba=model.site_rgba[i],
            material=model.material(material).name if material >= 0 else "",
            group=int(model.site_group[i]),
            mass=0,
            contype=0,
            conaffinity=0,
        )


def move_to_mocap(spec: mujoco.MjSpec, name: str) -> mujoco.MjsBody:
    """Hangs the world's site or geom `name` on a mocap body of the same name, at its origin.

    A world's fixed geoms are placed once, when the model is compiled; as mocap they can be
    placed differently in every world by writing `mocap_pos`.
    """
    element = spec.site(name) or spec.geom(name)
    body = spec.worldbody.add_body(name=name, pos=element.pos, mocap=True)
    add = body.add_site if isinstance(element, mujoco.MjsSite) else body.add_geom
    kept = {k: getattr(element, k) for k in ("name", "type", "size", "rgba", "material", "group")}
    if add == body.add_geom:
        kept |= {"contype": element.contype, "conaffinity": element.conaffinity, "mass": 0}
    spec.delete(element)
    add(**kept)
    return body


def smooth_stars(model: mujoco.MjModel, marked: set[str]) -> None:
    """Box-filters textures of the sky, and those of the names `marked`, in place.

    The ray tracer samples textures without mipmaps, so that their random dots, the sky's stars,
    would flicker as white pixels.
    """
    for i in range(model.ntex):
        sky = model.tex_type[i] == mujoco.mjtTexture.mjTEXTURE_SKYBOX
        if not sky and model.texture(i).name not in marked:
            continue
        start, width, height = model.tex_adr[i], model.tex_width[i], model.tex_height[i]
        channels, side = model.tex_nchannel[i], width if sky else height  # a sky has six faces
        pixels = model.tex_data[start : start + width * height * channels]
        faces = pixels.reshape(height // side, side, width, channels)  # (F, H, W, C)
        faces[:] = _box_filter(faces)


def _box_filter(images: np.ndarray) -> np.ndarray:
    """Means over squares of STAR_FILTER_PIXELS: uint8 (F, H, W, C) to the same."""
    width = STAR_FILTER_PIXELS
    sums = images.astype(np.int32)
    for axis in (1, 2):
        before, after = (width // 2 + 1, width // 2)
        padding = [(before, after) if a == axis else (0, 0) for a in range(4)]
        sums = np.pad(sums, padding, mode="edge").cumsum(axis)
        ends, starts = [slice(None)] * 4, [slice(None)] * 4
        ends[axis], starts[axis] = slice(width, None), slice(None, -width)
        sums = sums[tuple(ends)] - sums[tuple(starts)]
    return ((sums + width**2 // 2) // width**2).astype(np.uint8)
