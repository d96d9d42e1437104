"""YAML as settings use it: numbers as in YAML 1.2 (1e-4), and no other implicit types.

`yes`, `017`, `12:30` and `2026-01-01` are words, not a bool, an octal number, a number of seconds
or a date as in YAML 1.1. Nothing is interpolated, and nothing refers to something else.

A file that `save` wrote begins with a checksum of its settings (the seal): one that was cut short
or changed is refused, where defaults would take the place of the keys that it lost.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from aef_worldmodel.utils.config.schema import ConfigError, build, to_dict
from aef_worldmodel.utils.errors import UserError, reason
from aef_worldmodel.utils.files import atomic_write, read_text

T = TypeVar("T")
WHOLE, POWER = r"(0|[1-9][0-9_]*)", r"[eE][-+]?[0-9]+"
SEAL = "# sha256 of the lines below: "
FAULTS = (  # of PyYAML, for texts that are not YAML or values that do not fit their tags
    yaml.YAMLError,
    ValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
    LookupError,
    RecursionError,
)
IMPLICIT = {  # tag -> pattern, first characters
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (rf"[-+]?{WHOLE}", list("-+0123456789")),
    "float": (
        rf"[-+]?({WHOLE}{POWER}|({WHOLE}\.[0-9]*|\.[0-9]+)({POWER})?|\.inf)|\.nan",
        list("-+.0123456789"),
    ),
}


class _Loader(yaml.SafeLoader):
    """Refuses aliases, of which a few lines can promise a billion values."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own declaration

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not supported")
        return super().compose_node(parent, index)


class _Dumper(yaml.SafeDumper):
    """Quotes a word that either version of YAML would read as something else."""


for _tag, (_pattern, _first) in IMPLICIT.items():
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(
            f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})$"), _first
        )


def parse(text: str) -> Any:
    """Return the value of a YAML text.

    Raises:
        ValueError: the text is not YAML.
    """
    try:
        return yaml.load(text, _Loader)
    except FAULTS as error:
        raise ValueError(reason(error)) from error


def read_values(path: str | Path) -> dict[str, Any]:
    """Return the keys and values of a YAML file; {} for an empty one.

    Raises:
        UserError: there is no such file, it holds something else, or it is not what `save` wrote.
    """
    try:
        text = read_text(path)
        values = parse(text)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the settings {path} ({reason(error)})") from error
    seal, _, rest = text.partition("\n")
    if seal.startswith(SEAL) and seal.rstrip() != SEAL + _digest(rest.replace("\r\n", "\n")):
        raise _changed(path)
    if values is not None and not isinstance(values, dict):
        raise UserError(f"the settings {path} are damaged: expected keys with values")
    return values or {}


def saved_values(path: str | Path) -> dict[str, Any]:
    """Return the values of a file that `save` wrote, which is not empty.

    Raises:
        UserError: there is no such file, it is empty, or it holds something else.
    """
    if values := read_values(path):
        return values
    raise UserError(f"the settings {path} are damaged: the file is empty")


def save(path: str | Path, config: Any) -> None:
    """Write a dataclass as YAML for `read`. Raises UserError if it cannot be written."""
    text = _text(config)
    with atomic_write(path) as file:
        file.write(f"{SEAL}{_digest(text)}\n{text}")


def digest(config: Any) -> str:
    """Return the checksum of settings, for a checkpoint that belongs to them."""
    return _digest(_text(config))


def check_sealed(path: str | Path) -> None:
    """Check that settings, where there are any, have their seal.

    For settings of a run whose checkpoint has their digest; `read_values` checks the seal itself.

    Raises:
        UserError: the file has no seal, so it has lost its beginning, or cannot be read.
    """
    try:
        sealed = read_text(path).startswith(SEAL)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the settings {path} ({reason(error)})") from error
    if not sealed:
        raise _changed(path)


def read(
    path: str | Path,
    kind: type[T],
    update: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
) -> T:
    """Return settings written by `save`; `update` translates values of earlier versions.

    Raises:
        UserError: there is no such file, or it does not hold such settings.
    """
    values = saved_values(path)
    try:
        return build(kind, update(values))
    except ConfigError as error:
        raise UserError(f"the settings {path} do not fit this version: {error}") from error


def _text(config: Any) -> str:
    return yaml.dump(to_dict(config), Dumper=_Dumper, sort_keys=False)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _changed(path: str | Path) -> UserError:
    return UserError(
        f"the settings {path} were cut short or changed after they were written: restore the file; "
        "keys change by words of the command line, with resume="
    )
