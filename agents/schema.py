"""Plain values from a command line or a YAML file, checked and made into frozen dataclasses."""

from __future__ import annotations

import ast
import difflib
import inspect
import itertools
import math
import textwrap
import types
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from aef_worldmodel.errors import UserError

T = TypeVar("T")


class ConfigError(UserError):
    """The command line or a settings file is wrong."""

    exit_code = 2


def build(kind: type[T], values: Mapping[str, Any], path: str = "") -> T:
    """Make a dataclass from plain values; what is not given keeps its default.

    Args:
        kind: a dataclass whose fields are bool, int, float, str, Literal, tuples or unions of
            these, or dataclasses again. A union of dataclasses holds the one whose default of
            `kind` the values give; the first where they give none.
        values: field name -> value, nested as the dataclass is.
        path: where this part sits in the whole, for messages ("world_model").

    Returns:
        an instance; whole floats given for int fields are converted (1e6 -> 1000000).

    Raises:
        ConfigError: an unknown key, a missing one, a value of the wrong type or one that the
            dataclass refuses.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path}={values!r} must have keys: {', '.join(_names(kind))}")
    for key in values:
        if key not in _names(kind):
            raise ConfigError(f"unknown key {_join(path, key)!r}: {hint(key, _names(kind))}")
    hints = get_type_hints(kind)
    missing = [f.name for f in fields(kind) if f.name not in values and _required(f)]
    if missing:
        raise ConfigError(f"{_join(path, missing[0])} is not set: give {_join(path, missing[0])}=…")
    given = {key: _convert(hints[key], value, _join(path, key)) for key, value in values.items()}
    try:
        return kind(**given)
    except ValueError as error:  # it begins with the name of the field
        raise ConfigError(_join(path, str(error))) from error


def to_dict(config: Any) -> dict[str, Any]:
    """A dataclass as plain values that `build` takes back, tuples as lists."""
    return {key: _plain(value) for key, value in asdict(config).items()}


def hint(given: Any, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: what is close to it, or all there is."""
    known = list(known)
    ratio = {name: difflib.SequenceMatcher(None, str(given), name).ratio() for name in known}
    best = max(ratio.values(), default=0)
    if best >= 0.6:
        close = sorted((n for n in known if ratio[n] > best - 0.1), key=ratio.get, reverse=True)
        return f"did you mean {' or '.join(close[:3])}?"
    return f"there are {', '.join(known)}"


def leaves(kind: type, path: str = "") -> dict[str, Any]:
    """Dotted name -> type of every value a dataclass holds, those of its parts included."""
    found: dict[str, Any] = {}
    for name, hinted in get_type_hints(kind).items():
        here = _join(path, name)
        inner = [leaves(member, here) for member in members(hinted)] or [{here: hinted}]
        for key, value in (pair for part in inner for pair in part.items()):
            found[key] = Union[found[key], value] if key in found else value  # noqa: UP007
    return found


def members(hinted: Any) -> list[type]:
    """The dataclasses a field of this type may hold; none if it holds plain values."""
    return [option for option in _options(hinted) if is_dataclass(option)]


def kind_of(kind: type) -> str | None:
    """What its values call a member of a union of dataclasses: the default of its `kind`."""
    return next((f.default for f in fields(kind) if f.name == "kind"), None)


def takes(hinted: Any, kind: type) -> bool:
    """Whether a field of this type may hold values of `kind`: `str | None` takes str."""
    return kind in _options(hinted)


def field_docs(kind: type) -> dict[str, str]:
    """The string below each field of a dataclass: its documentation, on one line."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0].body
    docs = {}
    for field, text in itertools.pairwise(body):
        documented = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
        if isinstance(field, ast.AnnAssign) and documented:
            docs[field.target.id] = " ".join(text.value.value.split())
    return docs


def _convert(hinted: Any, value: Any, path: str) -> Any:
    if members(hinted) and not (value is None and takes(hinted, type(None))):
        return build(_member(members(hinted), value, path), value, path)
    for option in _options(hinted):
        found = _match(option, value, path)
        if found is not MISSING:
            return found
    raise ConfigError(f"{path}={_shown(value)} is wrong: {_expected(hinted, value)}")


def _member(kinds: list[type], value: Any, path: str) -> type:
    """The member of a union that the values are of."""
    if len(kinds) == 1 or not isinstance(value, Mapping) or "kind" not in value:
        return kinds[0]
    known = {kind_of(kind): kind for kind in kinds if kind_of(kind)}
    if value["kind"] not in known:
        raise ConfigError(f"{path}.kind={value['kind']} is wrong: {hint(value['kind'], known)}")
    return known[value["kind"]]


def _match(hinted: Any, value: Any, path: str) -> Any:
    """`value` as the type, or MISSING where it is none."""
    if get_origin(hinted) is Literal:
        return next((v for v in get_args(hinted) if type(v) is type(value) and v == value), MISSING)
    if get_origin(hinted) is tuple:
        return _match_tuple(hinted, value, path)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if hinted is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if hinted is float and number:
        return float(value) if math.isfinite(value) else MISSING
    if hinted is str and number:
        return str(value)  # a folder called 17
    if hinted is type(None):
        return None if value is None else MISSING
    return value if type(value) is hinted else MISSING


def _match_tuple(hinted: Any, value: Any, path: str) -> Any:
    inner = get_args(hinted)
    if not isinstance(value, list | tuple):
        return MISSING
    if inner[-1] is Ellipsis:
        inner = (inner[0],) * len(value)
    if len(inner) != len(value):
        return MISSING
    return tuple(_convert(h, v, f"{path}[{i}]") for i, (h, v) in enumerate(zip(inner, value)))


def _options(hinted: Any) -> tuple[Any, ...]:
    return get_args(hinted) if get_origin(hinted) in (Union, types.UnionType) else (hinted,)


def _expected(hinted: Any, value: Any) -> str:
    literals = [str(v) for o in _options(hinted) if get_origin(o) is Literal for v in get_args(o)]
    if literals and isinstance(value, str):
        return hint(value, literals)
    return f"expected {' or '.join(_described(option) for option in _options(hinted))}"


def _described(hinted: Any) -> str:
    if get_origin(hinted) is Literal:
        return " or ".join(map(str, get_args(hinted)))
    if get_origin(hinted) is tuple:
        inner = [a for a in get_args(hinted) if a is not Ellipsis]
        return f"a list of {' and '.join(_described(a) for a in inner)}"
    known = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
    return known.get(hinted, "null" if hinted is type(None) else str(hinted))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)


def _required(field: Any) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _names(kind: type) -> list[str]:
    return [field.name for field in fields(kind)]


def _join(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)
