"""Checkpoints: one file each, written atomically, read without executing code."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from aef_worldmodel.utils.errors import UserError, reason, writing
from aef_worldmodel.utils.files import GIBI, atomic_path, check_regular, exists
from aef_worldmodel.utils.state_codec import flatten, unflatten

FORMAT_VERSION = 1
LARGEST = 256 * GIBI  # bytes of a file
FAULTS = (SafetensorError, OSError, KeyError, ValueError, TypeError, RecursionError, MemoryError)
STRUCTURE_FAULTS = (*FAULTS, AttributeError, StopIteration, RuntimeError)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read and verified."""

    path: Path
    """The file."""
    step: int
    """The step of the save, in the caller's unit (frames, updates or generations)."""
    state: dict[str, Any]
    """The nested state, with tensors on the CPU."""
    meta: dict[str, Any]
    """The description that was saved with the state."""
    skipped: tuple[str, ...] = ()
    """One sentence for each newer checkpoint that is damaged (`load_latest`)."""


def save_checkpoint(
    directory: str | Path,
    step: int,
    state: Mapping[str, Any],
    meta: Mapping[str, Any],
    keep: int = 2,
) -> Path:
    """Write `directory/step_<step>.safetensors` and delete all but the newest `keep`.

    The file is complete and on the disk under another name before it is renamed: a process that
    is killed at any instant leaves the earlier checkpoints as they were. Checkpoints of later
    steps are deleted, because a run that resumed from an earlier step has abandoned them.

    Args:
        directory: folder of a run's checkpoints; created if needed.
        step: number of at least 0 that orders the checkpoints.
        state: nested dicts, lists and tuples of tensors, arrays, numbers, strings and None.
        meta: description that JSON can hold, for instance kind, frame_shape and action_dim.
        keep: number of checkpoints that stay, at least 1.

    Returns:
        the path of the new checkpoint.

    Raises:
        UserError: the disk is full or cannot be written; older checkpoints are unchanged.
        TypeError: the state holds something that cannot be saved.
    """
    directory = Path(directory)
    path = directory / f"step_{step:012d}.safetensors"
    write_checkpoint(path, step, state, meta, then=_then_resume(path))
    _prune(directory, path, max(keep, 1))
    return path


def write_checkpoint(
    path: str | Path,
    step: int,
    state: Mapping[str, Any],
    meta: Mapping[str, Any],
    then: str = "",
) -> None:
    """Write one checkpoint file; it is complete and on the disk, or `path` is what it was.

    Args:
        path: the file, for `load_checkpoint`.
        step: see `save_checkpoint`, as `state` and `meta`.
        state: nested values.
        meta: description that JSON can hold.
        then: end of the sentence that a UserError has.

    Raises:
        UserError: the disk is full or cannot be written.
        TypeError: the state holds something that cannot be saved.
    """
    flat, structure = flatten(dict(state))
    header = _header(step, structure, dict(meta))
    header["sha256"] = _digest(flat, header)
    with atomic_path(path, then=then, sync=True) as temporary:
        try:
            save_file(_without_sharing(flat), temporary, metadata=header)
        except SafetensorError as error:  # a full disk, for instance
            raise OSError(str(error)) from error


def load_checkpoint(path: str | Path, kind: str | None = None) -> Checkpoint:
    """Read one checkpoint and verify it.

    Args:
        path: the file.
        kind: what `meta` must say of it, if it says anything ("train", "fit"); None for any.

    Raises:
        UserError: the file does not exist, is damaged, has a newer format or is of another kind.
    """
    path = Path(path)
    if not exists(path):
        raise UserError(f"checkpoint {path} does not exist: give a run that has saved one")
    try:
        flat, header = _read(path)
        whole = header.pop("sha256") == _digest(flat, header)
        version = int(header["format"])
    except FAULTS as error:
        raise UserError(f"checkpoint {path} is damaged ({reason(error)}){_advice(path)}") from error
    if not whole:
        raise UserError(f"checkpoint {path} is damaged (its content changed){_advice(path)}")
    if version > FORMAT_VERSION:
        raise UserError(
            f"checkpoint {path} has format {version}, this version reads up to "
            f"{FORMAT_VERSION}: install a newer aef-worldmodel"
        )
    try:
        state = unflatten(flat, json.loads(header["structure"]))
        meta = dict(json.loads(header["meta"]))
        found = Checkpoint(path, int(header["step"]), dict(state), meta)
    except STRUCTURE_FAULTS as error:
        raise UserError(f"checkpoint {path} is damaged ({reason(error)}){_advice(path)}") from error
    if kind is not None and meta.get("kind", kind) != kind:
        raise UserError(f"checkpoint {path} is of {meta['kind']}, not of {kind}: give another run")
    return found


def load_latest(directory: str | Path, kind: str | None = None) -> Checkpoint:
    """Read the checkpoint of the highest step that verifies; `skipped` names damaged ones.

    Raises:
        UserError: the folder has no checkpoint of that kind, or none that verifies.
    """
    skipped: list[str] = []
    for path in reversed(list_checkpoints(directory)):
        try:
            found = load_checkpoint(path, kind)
        except UserError as error:
            skipped.append(str(error))
        else:
            return dataclasses.replace(found, skipped=tuple(skipped))
    if skipped:
        raise UserError(f"no usable checkpoint is left: {skipped[0]}")
    raise UserError(
        f"{directory} holds no checkpoint: give a run that has saved one, or delete its folder and "
        "start again"
    )


@contextmanager
def restoring(source: str | Path) -> Iterator[None]:
    """Turn what a state lacks into a UserError, in a block that restores it from `source`."""
    try:
        yield
    except (KeyError, IndexError, TypeError, AttributeError, RuntimeError) as error:
        what = f"{type(error).__name__}: {reason(error)}"
        raise UserError(
            f"checkpoint {source} does not hold the state of such a run ({what}): give a run of "
            "this version with the settings it was trained with"
        ) from error


def list_checkpoints(directory: str | Path) -> list[Path]:
    """Return the checkpoints of a folder, lowest step first; [] if it does not exist."""
    return sorted(Path(directory).glob("step_*.safetensors"))


def load_weights(module: nn.Module, state: Mapping[str, Tensor], source: str | Path) -> None:
    """Load a module's state dict.

    Args:
        module: receives the weights; unchanged if they do not fit.
        state: the state dict.
        source: name of the weights in the message, for instance the checkpoint's path.

    Raises:
        UserError: names or shapes differ; the first three tensors are named.
    """
    own = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    differing = [name for name in {**own, **found} if own.get(name) != found.get(name)]
    if differing:
        shown = "; ".join(
            f"{name} is {found.get(name, 'absent')}, expected {own.get(name, 'absent')}"
            for name in differing[:3]
        )
        raise UserError(
            f"{source} was saved with another architecture ({len(differing)} tensors differ: "
            f"{shown}): use the settings of that run"
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
    """Return the SHA-256 of the header and of every tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(json.dumps(dict(sorted(header.items()))).encode())
    for name, tensor in sorted(flat.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _without_sharing(flat: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy all tensors but the first of each storage: safetensors refuses shared memory."""
    seen: set[int] = set()
    unshared = {}
    for name, tensor in flat.items():
        pointer = tensor.untyped_storage().data_ptr()
        unshared[name] = tensor.clone() if pointer in seen else tensor
        seen.add(pointer)
    return unshared


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    check_regular(path, LARGEST)
    with safe_open(path, framework="pt") as file:
        header = dict(file.metadata() or {})
        # clone: tensors in the file's memory have its alignment, on which the last bit of a
        # product can depend, and a resumed run repeats every bit
        return {name: file.get_tensor(name).clone() for name in file.keys()}, header  # noqa: SIM118


def _prune(directory: Path, newest: Path, keep: int) -> None:
    paths = list_checkpoints(directory)
    position = paths.index(newest)
    leftovers = directory.glob("unfinished*")  # of processes that were killed
    for path in [*paths[position + 1 :], *paths[: max(position + 1 - keep, 0)], *leftovers]:
        with writing(path):
            path.unlink(missing_ok=True)


def _verifies(path: Path) -> bool:
    try:
        flat, header = _read(path)
        return header.pop("sha256") == _digest(flat, header)
    except FAULTS:
        return False


def _advice(damaged: Path) -> str:
    others = [p for p in reversed(list_checkpoints(damaged.parent)) if p != damaged]
    good = next((path for path in others if _verifies(path)), None)
    return f": use the newest good one, {good}" if good else ", and no other good one exists"


def _then_resume(path: Path) -> str:
    earlier = [p for p in list_checkpoints(path.parent) if p != path]
    last = f"the last good one is {earlier[-1]}" if earlier else "no earlier one exists"
    return f", then resume the run ({last})"
