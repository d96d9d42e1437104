"""The folder of a backbone: `config.json`, `model.safetensors`, `README.md`; where one is found.

A name of `shipped()`, a local folder or a repository of the Hugging Face Hub. Nothing that is read
here is executed: a file of weights is safetensors or refused.
"""

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from aef_worldmodel.utils.checkpoint import FAULTS
from aef_worldmodel.utils.errors import UserError, reason, writing
from aef_worldmodel.utils.files import GIBI, atomic_path, atomic_write, check_regular, read_text
from aef_worldmodel.utils.registry import suggest

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
FORMAT = 1  # of config.json
ARCHITECTURE = "AEFBackbone"
SHIPPED = Path(__file__).parents[1] / "pretrained"
LARGEST = 16 * GIBI  # bytes of weights


def shipped() -> list[str]:
    """Return the names of the backbones that this package holds."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{CONFIG}"))


def find(name: str | Path, **options: Any) -> Path:
    """Return the folder of a backbone.

    Args:
        name: one of `shipped()`, a local folder, or OWNER/NAME of the Hub.
        options: of `huggingface_hub.snapshot_download`: revision, cache_dir, token, ...

    Raises:
        UserError: there is no such backbone, or it cannot be fetched.
    """
    if str(name) in shipped():
        return SHIPPED / str(name)
    if Path(name).exists():
        return Path(name)
    if isinstance(name, str) and name.count("/") == 1 and name[0] not in "./~":
        return _fetch(name, options)
    raise UserError(
        f"there is no backbone {str(name)!r} and no such folder: {suggest(name, shipped())}"
    )


def _fetch(repository: str, options: dict[str, Any]) -> Path:
    """Return the local copy of a repository, downloaded where it is not there yet."""
    hub = hub_module(f"{repository!r} is no local folder, and fetching it from the Hub")
    try:
        files = [CONFIG, WEIGHTS, CARD]
        return Path(hub.snapshot_download(repository, allow_patterns=files, **options))
    except PermissionError as error:
        raise UserError(
            f"{repository} cannot be kept in the cache folder ({reason(error)}): set HF_HOME, or "
            "cache_dir, to a folder that can be written"
        ) from error
    except Exception as error:  # a repository that does not exist, no network, a full disk, ...
        raise UserError(
            f"{repository} is no local folder and cannot be fetched from the Hub "
            f"({type(error).__name__}: {reason(error)}): check the name and the network"
        ) from error


def hub_module(why: str) -> Any:
    """Return the package huggingface_hub. Raises UserError if it is not installed."""
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise UserError(
            f"{why} needs huggingface_hub: pip install 'aef-worldmodel[hub]'"
        ) from error


def read_config(folder: Path) -> dict[str, Any]:
    """Return the content of a folder's config.json.

    Raises UserError if the folder is no backbone, or one of another kind or a newer version.
    """
    path = folder / CONFIG
    try:
        config = dict(json.loads(read_text(path)))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        what = "has no config.json" if not path.exists() else f"config.json: {reason(error)}"
        raise UserError(
            f"{folder} is not the folder of a backbone ({what}): give one of save_pretrained"
        ) from error
    if config.get("architecture") != ARCHITECTURE:
        raise UserError(
            f"{folder} holds a model of architecture {config.get('architecture')!r}, not "
            f"{ARCHITECTURE}: load it with the library it was made by"
        )
    version = config.get("format")
    if not isinstance(version, int) or version > FORMAT:
        raise UserError(
            f"{folder} has format {version}, this version reads up to {FORMAT}: install a newer "
            "aef-worldmodel"
        )
    return config


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Return the weights of a folder as float32. Raises UserError for anything but safetensors."""
    path = folder / WEIGHTS
    try:
        check_regular(path, LARGEST)
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FAULTS as error:
        raise UserError(
            f"{path} cannot be read as safetensors ({reason(error)}), and nothing else is opened: "
            "a pickle can execute code; fetch the file again or convert it"
        ) from error
    return {name: as_type(value, torch.float32) for name, value in tensors.items()}


def write(
    folder: Path, config: Mapping[str, Any], weights: Mapping[str, Tensor], card: str
) -> None:
    """Write the three files into a folder, which is made if needed.

    Raises UserError if it cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / WEIGHTS) as temporary:
        save_file({name: value.contiguous() for name, value in weights.items()}, temporary)
    with atomic_write(folder / CONFIG) as file:
        file.write(json.dumps(config, indent=1) + "\n")
    with atomic_write(folder / CARD) as file:
        file.write(card)


def as_type(value: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a tensor on the CPU, of another type where it is floating-point."""
    return value.detach().to("cpu", dtype if value.is_floating_point() else value.dtype)
