"""MJCF to a compiled model of which the ray tracer renders everything."""

import importlib.util
import warnings
from pathlib import Path

import mujoco
import numpy as np

STAR_FILTER_PIXELS = 9
STARS = mujoco.mjtMark.mjMARK_RANDOM
RENDERED_GROUPS = (0, 1, 2)  # MuJoCo's default for geoms and sites


def suite_spec(filename: str) -> mujoco.MjSpec:
    """Read one of dm_control's suite files without importing dm_control.

    Args:
        filename: e.g. "cheetah.xml".

    Raises:
        ValueError: dm_control is not installed, or its suite has no such file.
    """
    package = importlib.util.find_spec("dm_control")
    if package is None or not package.submodule_search_locations:
        how = "run `pip install --no-deps dm-control`"
        raise ValueError(f"{filename} is part of dm_control: {how}.")
    path = Path(package.submodule_search_locations[0]) / "suite" / filename
    if not path.exists():
        raise ValueError(f"{path} does not exist: this dm_control has no suite file {filename}.")
    return mujoco.MjSpec.from_file(str(path))


def compile_model(spec: mujoco.MjSpec) -> mujoco.MjModel:
    """Compile `spec` with its sites made visible and its stars smoothed.

    The physics is that of `spec`: the added geoms have no mass and no contacts.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about deprecated attributes in the XML
        show_sites(spec)
        model = spec.compile()
    smooth_stars(model, {texture.name for texture in spec.textures if texture.mark == STARS})
    return model


def show_sites(spec: mujoco.MjSpec) -> None:
    """Add a massless geom without contacts for each site (sites are not ray-traced)."""
    if not spec.sites:
        return
    model = spec.compile()
    for i, site in enumerate(spec.sites):
        if model.site_group[i] not in RENDERED_GROUPS:
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
    """Move the world's site or geom `name` onto a mocap body of the same name, at its origin.

    Fixed geoms are placed once, when the model is compiled; as mocap they can be placed
    differently in every environment by writing `mocap_pos`.
    """
    element = spec.site(name) or spec.geom(name)
    body = spec.worldbody.add_body(name=name, pos=element.pos, mocap=True)
    add = body.add_site if isinstance(element, mujoco.MjsSite) else body.add_geom
    copied = {k: getattr(element, k) for k in ("name", "type", "size", "rgba", "material", "group")}
    if add == body.add_geom:
        copied |= {"contype": element.contype, "conaffinity": element.conaffinity, "mass": 0}
    spec.delete(element)
    add(**copied)
    return body


def smooth_stars(model: mujoco.MjModel, marked: set[str]) -> None:
    """Box-filter the textures of the sky, and those named in `marked`, in place.

    The ray tracer samples textures without mipmaps: their random dots, the sky's stars, would
    flicker as white pixels.
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
    """Average over squares of STAR_FILTER_PIXELS: uint8 (F, H, W, C) to the same."""
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
