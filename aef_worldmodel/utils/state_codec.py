"""Nested state (state dicts of models, optimisers, RNGs) as flat tensors and a JSON structure."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

Flat = dict[str, Tensor]


def flatten(state: Any) -> tuple[Flat, Any]:
    """Split a nested state into tensors by name and a JSON structure.

    A state consists of dicts (string or integer keys), lists, tuples, tensors, numpy arrays,
    numbers, strings and None. Reading the result back executes no code.

    Args:
        state: the nested state.

    Returns:
        tensors by name ("model/encoder.weight"), and a structure for `json.dumps`.

    Raises:
        TypeError: the state contains something else; the message names the place.
    """
    flat: Flat = {}
    return flat, _pack(state, "", flat)


def unflatten(flat: Flat, structure: Any) -> Any:
    """Invert `flatten`: return the same containers, keys, dtypes and memory formats."""
    if not isinstance(structure, dict):
        return structure
    kind, content = next(iter(structure.items()))
    if kind == "tensor":
        return flat[content]
    if kind == "channels_last":
        return flat[content].contiguous(memory_format=torch.channels_last)
    if kind == "array":
        return flat[content].numpy()
    if kind == "dict":
        return {key: unflatten(flat, value) for key, value in content}
    values = [unflatten(flat, value) for value in content]
    return tuple(values) if kind == "tuple" else values


def _pack(state: Any, name: str, flat: Flat) -> Any:
    if isinstance(state, Tensor | np.ndarray):
        return _pack_tensor(state, name or "tensor", flat)
    if isinstance(state, dict):
        return {"dict": [[_key(k, name), _pack(v, _join(name, k), flat)] for k, v in state.items()]}
    if isinstance(state, list | tuple):
        kind = "tuple" if isinstance(state, tuple) else "list"
        return {kind: [_pack(v, _join(name, i), flat) for i, v in enumerate(state)]}
    if state is None or type(state) in (bool, int, float, str):
        return state
    raise TypeError(f"the state has a {type(state).__name__} at {name!r}, which cannot be saved")


def _pack_tensor(tensor: Tensor | np.ndarray, name: str, flat: Flat) -> dict[str, str]:
    while name in flat:  # a key that contains "/" may spell another's path
        name += "'"
    if isinstance(tensor, np.ndarray):
        flat[name] = torch.from_numpy(np.ascontiguousarray(tensor)).reshape(tensor.shape)
        return {"array": name}
    flat[name] = tensor.detach().cpu().contiguous()
    # Adam's fused kernel reads parameter and moments in memory order: keep the memory format
    last = tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return {"channels_last" if last and not tensor.is_contiguous() else "tensor": name}


def _key(key: Any, name: str) -> str | int:
    if type(key) not in (str, int):
        raise TypeError(f"the state has the key {key!r} at {name!r}: only str and int can be saved")
    return key


def _join(name: str, key: Any) -> str:
    return f"{name}/{key}" if name else str(key)
