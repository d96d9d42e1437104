"""Plain values of a YAML file or a command line, checked and made into frozen dataclasses."""

from __future__ import annotations

import ast
import inspect
import itertools
import math
import textwrap
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.registry import Registry, Selectable, suggest

T = TypeVar("T")
LARGEST = 2**63  # whole numbers are below it: torch and NumPy count in 64 bits
LONGEST = 100  # characters of a value in an error sentence
NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}


class ConfigError(UserError):
    """The command line or a settings file is wrong."""

    exit_code = 2


# -- plain values to dataclasses and back ------------------------------------------------------


def build(kind: type[T], values: Mapping[str, Any], path: str = "") -> T:
    """Make a dataclass from plain values; a field without a value keeps its default.

    Args:
        kind: a dataclass whose fields are bool, int, float, str, Literal, tuples or unions of
            these, or dataclasses. A field typed as a `Selectable` holds the member that the value
            of `kind` names; the member of its default if there is none.
        values: field name -> value, nested as the dataclass is.
        path: dotted name of this part in the whole, for error sentences ("world_model").

    Returns:
        An instance. Whole floats become int where int is expected (1e6 -> 1000000).

    Raises:
        ConfigError: a key is unknown or missing, or a value has the wrong type or is refused by
            the dataclass (a ValueError that starts with the field's name).
    """
    _check_keys(kind, values, path)
    hints, given = get_type_hints(kind), {}
    every: Any = kind  # a dataclass, which type[T] does not say
    for field in fields(every):
        here = join(path, field.name)
        if field.name in values:
            given[field.name] = _convert(hints[field.name], values[field.name], here, field)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ConfigError(f"{here} is not set: give {here}=...")
    try:
        return kind(**given)
    except ValueError as error:
        raise ConfigError(join(path, str(error))) from error


def to_dict(config: Any) -> dict[str, Any]:
    """Return a dataclass as plain values that `build` takes back, tuples as lists."""
    return {key: _plain(value) for key, value in asdict(config).items()}


def check_bounds(config: Any, **bounds: tuple[float, float | None]) -> None:
    """Raise ValueError for a field outside its bounds.

    Args:
        config: a dataclass.
        bounds: field name -> smallest and largest allowed value, None for no limit. Fields that
            are None are not checked.
    """
    for name, (least, most) in bounds.items():
        value = getattr(config, name)
        if value is not None and value < least:
            raise ValueError(f"{name}={value} must be at least {least}")
        if value is not None and most is not None and value > most:
            raise ValueError(f"{name}={value} must be at most {most}")


def check_positive(config: Any, *names: str) -> None:
    """Raise ValueError for a field that is not above 0."""
    for name in names:
        if not getattr(config, name) > 0:
            raise ValueError(f"{name}={getattr(config, name)} must be above 0")


# -- what a dataclass holds --------------------------------------------------------------------


def registry_of(hinted: Any) -> Registry[Any] | None:
    """Return the registry that a field of this type chooses from, if it chooses."""
    for option in options(hinted):
        if isinstance(option, type) and issubclass(option, Selectable):
            return None if "kind" in _names(option) else option.registry
    return None


def parts(hinted: Any) -> dict[str, type]:
    """Return the dataclasses that a field of this type may hold, by `kind`; {} for plain values.

    A dataclass without alternatives has the name "".
    """
    registry = registry_of(hinted)
    if registry is not None:
        return {name: entry.Config for name, entry in registry.items()}
    found: list[Any] = [option for option in options(hinted) if is_dataclass(option)]
    return {"": found[0]} if found else {}


def leaves(kind: type, path: str = "") -> dict[str, Any]:
    """Return dotted key -> type of every plain value, those of all alternatives included."""
    found: dict[str, Any] = {}
    hints = get_type_hints(kind)
    for field in fields(kind):
        here, hinted = join(path, field.name), hints[field.name]
        inner = [leaves(part, here) for part in parts(hinted).values()] or [{here: hinted}]
        for key, value in itertools.chain.from_iterable(part.items() for part in inner):
            found[key] = Union[found[key], value] if key in found else value  # noqa: UP007
    return found


def field_docs(kind: type) -> dict[str, str]:
    """Return field -> the string below it in the source, on one line; inherited fields first."""
    docs: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if is_dataclass(base):
            docs |= _own_docs(base)
    return {field.name: docs[field.name] for field in fields(kind) if field.name in docs}


def options(hinted: Any) -> tuple[Any, ...]:
    """Return the members of a union type, or the type alone."""
    return get_args(hinted) if get_origin(hinted) in (Union, types.UnionType) else (hinted,)


def default_of(field: Field[Any]) -> Any:
    """Return the default of a field; None if it has none."""
    if field.default_factory is not MISSING:
        return field.default_factory()
    return None if field.default is MISSING else field.default


def shown(value: Any) -> str:
    """Return a value for an error sentence or a help text: one line, shortened if it is long."""
    names = {None: "null", True: "true", False: "false"}
    text = names[value] if value is None or isinstance(value, bool) else str(value)
    text = text if text.isprintable() else repr(text)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def join(path: str, key: Any) -> str:
    """Return the dotted name of a key below `path`."""
    return f"{path}.{key}" if path else str(key)


# -- private -----------------------------------------------------------------------------------


def _check_keys(kind: type, values: Mapping[str, Any], path: str) -> None:
    for key in values:
        if key not in _names(kind):
            name = shown(join(path, key))
            raise ConfigError(f"unknown key {name!r}: {suggest(key, _names(kind))}")


def _convert(hinted: Any, value: Any, path: str, field: Field[Any] | None = None) -> Any:
    """Return `value` as the type; `field` says which alternative is the default."""
    known = parts(hinted)
    if known and isinstance(value, Mapping):
        return build(_choose(known, value, path, field), value, path)
    for option in options(hinted):
        found = _match(option, value, path)
        if found is not MISSING:
            return found
    if known:
        key = join(path, _names(next(iter(known.values())))[0])
        raise ConfigError(f"{path}={shown(value)} has keys of its own, for instance {key}=...")
    raise ConfigError(f"{path}={shown(value)} is wrong: {expected(hinted, value)}")


def _choose(
    known: Mapping[str, type], values: Mapping[str, Any], path: str, field: Field[Any] | None
) -> type:
    """Return the alternative that the values are of."""
    if "" in known:
        return known[""]
    usual = getattr(default_of(field), "kind", None) if field else None
    name = values.get("kind", usual)
    if name is None:
        raise ConfigError(f"{path} is not chosen: give {path}=NAME; {suggest('', known)}")
    if not isinstance(name, str) or name not in known:
        raise ConfigError(f"unknown {path}={shown(name)}: {suggest(name, known)}")
    for key in values:
        owners = [other for other in known if key in _names(known[other])]
        if owners and name not in owners:
            raise ConfigError(
                f"{join(path, key)} is a key of {path}={' or '.join(owners[:3])}, not of "
                f"{path}={name}: leave it out, or give {path}={owners[0]}"
            )
    return known[name]


def _match(hinted: Any, value: Any, path: str) -> Any:
    """Return `value` as the type, or MISSING if it has another one."""
    if get_origin(hinted) is Literal:
        return next((v for v in get_args(hinted) if type(v) is type(value) and v == value), MISSING)
    if get_origin(hinted) is tuple:
        return _match_tuple(get_args(hinted), value, path)
    if hinted is type(None):
        return None if value is None else MISSING
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _match_number(hinted, value)
    return value if type(value) is hinted else MISSING


def _match_number(hinted: Any, value: int | float) -> Any:
    if hinted is str:
        return str(value)  # a folder called 17
    if hinted is int:
        whole = isinstance(value, int) or value.is_integer()
        return int(value) if whole and abs(value) < LARGEST else MISSING
    return float(value) if hinted is float and _finite(value) else MISSING


def _match_tuple(inner: tuple[Any, ...], value: Any, path: str) -> Any:
    if not isinstance(value, list | tuple):
        return MISSING
    if inner[-1] is Ellipsis:
        inner = (inner[0],) * len(value)
    if len(inner) != len(value):
        return MISSING
    pairs = enumerate(zip(inner, value, strict=True))
    return tuple(_convert(hinted, v, f"{path}[{i}]") for i, (hinted, v) in pairs)


def _finite(value: int | float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False


def expected(hinted: Any, value: Any) -> str:
    """Return what a value of another type should be, as the end of a sentence."""
    words = [str(v) for o in options(hinted) if get_origin(o) is Literal for v in get_args(o)]
    if words and isinstance(value, str):
        return suggest(value, words)
    wanted = " or ".join(_described(option) for option in options(hinted))
    if isinstance(value, int | float) and not (_finite(value) and abs(value) < LARGEST):
        return f"expected {wanted} of 64 bits"
    return f"expected {wanted}"


def _described(hinted: Any) -> str:
    if get_origin(hinted) is Literal:
        return " or ".join(map(str, get_args(hinted)))
    if get_origin(hinted) is tuple:
        inner = [_described(a) for a in get_args(hinted) if a is not Ellipsis]
        return f"a list [...] of {' and '.join(inner)}"
    return NAMES.get(hinted, "null" if hinted is type(None) else str(hinted))


def _own_docs(kind: type) -> dict[str, str]:
    try:
        tree: Any = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    except (OSError, TypeError):  # a class without a source file
        return {}
    docs = {}
    for field, text in itertools.pairwise(tree.body):
        documented = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
        if documented and isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            docs[field.target.id] = " ".join(str(ast.literal_eval(text.value)).split())
    return docs


def _names(kind: type) -> list[str]:
    return [field.name for field in fields(kind)] if is_dataclass(kind) else []


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value
