"""Whether the renderer draws what it drew before: the hash of a reference frame.

mujoco-warp's images may change between versions, and a model that was trained on the old ones then
sees strange frames.
"""

import hashlib
import importlib.metadata
from typing import Any

import torch


def renderer(env: Any) -> str:
    """Return what draws the images of `BatchedEnv`, in words."""
    version = importlib.metadata.version("mujoco-warp")
    return f"mujoco-warp {version} on {env.device.type} with {env.samples_per_pixel} rays a pixel"


def fingerprint(env: Any) -> dict[str, str]:
    """Return what identifies the images of a `BatchedEnv`, which stays as it was.

    Returns:
        "of": the task and the size; "frame": SHA-256 of the first frame of the episode with seed
        0; "drawn_by": the renderer.
    """
    state = env.state()
    frame = env.reset(seed=0)[0][0]  # (3, H, W)
    env.set_state(state)
    pixels = torch.as_tensor(frame).cpu().contiguous().numpy()
    return {
        "of": f"{type(env.task).__name__} {env.state()['model']} {tuple(frame.shape)}",
        "frame": hashlib.sha256(pixels.tobytes()).hexdigest(),
        "drawn_by": renderer(env),
    }
