"""Registries: names that stand for classes, found in a package or registered by anyone."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")
E = TypeVar("E")


class Registry(Generic[T]):
    """Map names to classes or functions.

    Every module of `package` is imported on the first look-up, so that a new file which calls
    `register` is found by itself; anyone else registers before the first use of the name.

    Args:
        what: what the names stand for, in error sentences ("agent").
        package: dotted name of the package to search; None for no search.
    """

    def __init__(self, what: str, package: str | None = None) -> None:
        self.what, self.package = what, package
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[E], E]:
        """Return a decorator that registers a class or function as `name`.

        Raises ValueError if the name is taken by another one.
        """

        def add(entry: E) -> E:
            known = self._entries.get(name)
            if known is not None and _origin(known) != _origin(entry):
                raise ValueError(f"{self.what} {name!r} is registered already, by {known!r}")
            self._entries[name] = cast(Any, entry)
            return entry

        return add

    def __getitem__(self, name: str) -> T:
        """Return what `name` stands for. Raises ValueError with close matches if it is unknown."""
        if name not in self._entries:
            self.discover()
        if name not in self._entries:
            raise ValueError(f"unknown {self.what} {name!r}: {suggest(name, self.names())}")
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        """Return whether `name` is registered."""
        self.discover()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names in alphabetical order, whatever was imported first."""
        self.discover()
        return iter(sorted(self._entries))

    def names(self) -> list[str]:
        """Return all names."""
        return list(self)

    def items(self) -> Iterable[tuple[str, T]]:
        """Return all names with what they stand for, in alphabetical order."""
        return [(name, self._entries[name]) for name in self]

    def discover(self) -> None:
        """Import every module of the package, once."""
        if self.package is None:
            return
        package, self.package = self.package, None
        try:
            root = importlib.import_module(package)
            for module in pkgutil.walk_packages(root.__path__, package + "."):
                importlib.import_module(module.name)
        except BaseException:
            self.package = package  # the next look-up says what is wrong again
            raise


class Selectable:
    """Base of settings dataclasses that are chosen by their field `kind`.

    A family has a base dataclass with a `registry` of classes; each class of the registry carries
    its settings dataclass as `Config`, whose field `kind` defaults to the registered name.
    """

    registry: Registry[Any]

    @classmethod
    def members(cls) -> dict[str, type]:
        """Return name -> settings dataclass of every registered class."""
        return {name: entry.Config for name, entry in cls.registry.items()}

    @classmethod
    def select(cls, name: str, **values: Any) -> Any:
        """Return the settings of a registered class: defaults, except for `values`."""
        return cls.registry[name].Config(**values)


def suggest(given: object, known: Iterable[str], most: int = 3) -> str:
    """Return the end of a sentence about an unknown name: close matches, or some known names."""
    names, text = list(known), str(given)[:100]
    ratio = {name: difflib.SequenceMatcher(None, text, name).ratio() for name in names}
    best = max(ratio.values(), default=0.0)
    if best >= 0.6:
        close = sorted((n for n in names if ratio[n] > best - 0.1), key=ratio.__getitem__)
        return f"did you mean {' or '.join(close[::-1][:most])}?"
    shown = names[:12]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return f"choose one of {', '.join(shown)}{more}"


def _origin(entry: object) -> tuple[str, str]:
    """Return where an entry is defined: a module that is imported twice registers it again."""
    return getattr(entry, "__module__", ""), getattr(entry, "__qualname__", repr(entry))
