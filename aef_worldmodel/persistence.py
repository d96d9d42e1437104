"""Checkpoints: one file each, written atomically, read without executing code."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from aef_worldmodel.errors import UserError
from aef_worldmodel.nested import flatten, unflatten

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Checkpoint:
    """What `load_checkpoint` found."""

    path: Path
    """The file it came from."""
    step: int
    """The step it was saved at, in whatever unit the caller counts."""
    state: dict[str, Any]
    """The nested state, tensors on the CPU."""
    meta: dict[str, Any]
    """The JSON-able description saved with it."""
    skipped: tuple[str, ...] = ()
    """One sentence for each newer checkpoint that was damaged (`load_latest`)."""


def save_checkpoint(
    directory: str | Path,
    step: int,
    state: Mapping[str, Any],
    meta: Mapping[str, Any],
    keep: int = 2,
) -> Path:
    """Write `directory/step_<step>.safetensors` and delete all but the newest `keep`.

    The file is complete under another name, and on the disk, before it gets its own: a process
    killed at any instant leaves the earlier checkpoints as they were. Checkpoints of a later
    step, which belong to a future that was abandoned by resuming, are deleted.

    Args:
        directory: folder of a run's checkpoints; created if needed.
        step: non-negative number that orders the checkpoints.
        state: nested dicts, lists and tuples of tensors, arrays, numbers, strings and None.
        meta: description that JSON can hold.
        keep: how many checkpoints stay, at least one.

    Returns:
        the path of the new checkpoint.

    Raises:
        UserError: the disk is full or cannot be written; older checkpoints are untouched.
        TypeError: the state holds something that cannot be saved.
    """
    directory = Path(directory)
    path = directory / f"step_{step:012d}.safetensors"
    flat, structure = flatten(dict(state))
    header = _header(step, structure, dict(meta))
    header["sha256"] = _digest(flat, header)
    temporary = directory / "unfinished.tmp"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        save_file(_without_sharing(flat), temporary, metadata=header)
        _sync(temporary)
        os.replace(temporary, path)
        _sync(directory)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise UserError(_write_failure(path, error)) from error
    _prune(directory, path, max(keep, 1))
    return path


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read one checkpoint and verify it.

    Raises:
        UserError: there is no such file, or it is damaged, or of a newer format.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}")
    try:
        flat, header = _read(path)
        whole = header.pop("sha256") == _digest(flat, header)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise UserError(f"checkpoint {path} is damaged ({error}){_advice(path)}") from error
    if not whole:
        raise UserError(f"checkpoint {path} is damaged (its content changed){_advice(path)}")
    if int(header["format"]) > FORMAT_VERSION:
        raise UserError(
            f"checkpoint {path} has format {header['format']}, this version reads up to "
            f"{FORMAT_VERSION}: install a newer aef-worldmodel"
        )
    state = unflatten(flat, json.loads(header["structure"]))
    return Checkpoint(path, int(header["step"]), state, json.loads(header["meta"]))


def load_latest(directory: str | Path) -> Checkpoint:
    """Read the checkpoint of the highest step that verifies; `skipped` tells of damaged ones.

    Raises:
        UserError: there is none, or none that verifies.
    """
    skipped: list[str] = []
    for path in reversed(list_checkpoints(directory)):
        try:
            found = load_checkpoint(path)
        except UserError as error:
            skipped.append(str(error))
        else:
            return Checkpoint(found.path, found.step, found.state, found.meta, tuple(skipped))
    if skipped:
        raise UserError(f"no usable checkpoint is left: {skipped[0]}")
    raise UserError(
        f"{directory} holds no checkpoint: name a run that has saved one, or delete its folder and "
        "start again"
    )


def list_checkpoints(directory: str | Path) -> list[Path]:
    """Paths of the checkpoints in a folder, oldest step first; empty if it does not exist."""
    return sorted(Path(directory).glob("step_*.safetensors"))


def load_weights(module: nn.Module, state: Mapping[str, Tensor], source: str | Path) -> None:
    """Load a module's state dict, or say in one sentence how the architectures differ.

    Args:
        module: receives the weights; untouched if they do not fit.
        state: its state dict.
        source: what to name in the message, for instance the checkpoint's path.

    Raises:
        UserError: names or shapes differ.
    """
    own = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    differing = [name for name in {**own, **found} if own.get(name) != found.get(name)]
    if differing:
        shown = "; ".join(
            f"{name} is {found.get(name, 'absent')} there, {own.get(name, 'absent')} here"
            for name in differing[:3]
        )
        raise UserError(
            f"{source} was made with another architecture ({len(differing)} tensors differ, "
            f"first {shown}): use the settings it was trained with"
        )
    module.load_state_dict(dict(state))


def _header(step: int, structure: Any, meta: dict[str, Any]) -> dict[str, str]:
    return {
        "format": str(FORMAT_VERSION),
        "step": str(step),
        "structure": json.dumps(structure),
        "meta": json.dumps(meta),
    }


def _digest(flat: Mapping[str, Tensor], header: Mapping[str, str]) -> str:
    """SHA-256 over the header and every tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(json.dumps(dict(sorted(header.items()))).encode())
    for name, tensor in sorted(flat.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _without_sharing(flat: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Safetensors refuses tensors that share memory: copy all but the first of each storage."""
    seen: set[int] = set()
    unshared = {}
    for name, tensor in flat.items():
        pointer = tensor.untyped_storage().data_ptr()
        unshared[name] = tensor.clone() if pointer in seen else tensor
        seen.add(pointer)
    return unshared


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(path, framework="pt") as file:
        header = dict(file.metadata() or {})
        # copied out of the file's own memory, where they lie anyhow: the last bit of a product can
        # depend on how its factors are aligned, and a resumed run repeats every bit
        return {name: file.get_tensor(name).clone() for name in file.keys()}, header  # noqa: SIM118


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _prune(directory: Path, newest: Path, keep: int) -> None:
    paths = list_checkpoints(directory)
    position = paths.index(newest)
    for path in [*paths[position + 1 :], *paths[: max(position + 1 - keep, 0)]]:
        path.unlink(missing_ok=True)


def _verifies(path: Path) -> bool:
    try:
        flat, header = _read(path)
        return header.pop("sha256") == _digest(flat, header)
    except (SafetensorError, OSError, KeyError, ValueError):
        return False


def _advice(damaged: Path) -> str:
    others = [p for p in reversed(list_checkpoints(damaged.parent)) if p != damaged]
    good = next((path for path in others if _verifies(path)), None)
    return f"; the newest good one is {good}" if good else " and there is no other good one"


def _write_failure(path: Path, error: Exception) -> str:
    earlier = [p for p in list_checkpoints(path.parent) if p != path]
    last = f"the last good one is {earlier[-1]}" if earlier else "there is no earlier one"
    reason = getattr(error, "strerror", None) or str(error)
    return (
        f"could not write checkpoint {path} ({reason}); {last}: free some space or check the "
        "folder's permissions, then resume the run"
    )
