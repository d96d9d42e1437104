"""A command line of `key=value` words over YAML presets over the defaults of a dataclass."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_origin, get_type_hints

from aef_worldmodel.utils.config.schema import (
    ConfigError,
    expected,
    leaves,
    options,
    parts,
    registry_of,
    shown,
)
from aef_worldmodel.utils.config.yaml_files import parse, read_values, saved_values
from aef_worldmodel.utils.registry import suggest

Words = Sequence[tuple[str, str]]
Values = dict[str, Any]
ONCE_EACH = "run the command once each"  # for several values of a key


@dataclass(frozen=True)
class Source:
    """The meaning of `group=NAME` where no preset file has that name."""

    names: Callable[[], Iterable[str]]
    """Names that help texts and error sentences list."""
    values: Callable[[str], Values | None]
    """Values of a group that a name stands for; None for an unknown name."""
    key: str = "kind"
    """Key of the group that holds the name; words give `group=NAME` instead of it."""


@dataclass(frozen=True)
class CommandLine:
    """Turns words into plain values, which `schema.build` makes into `kind`.

    A field of `kind` that is a dataclass is a group. `group=NAME` takes the values of the first
    file NAME.yaml in a folder `group`, else those of the group's source; a group typed as a
    `Selectable` has its registry as the source if no other is given. `group.key=value` changes
    one value, whatever the order of the words; the last of several counts.
    """

    kind: type
    """The settings dataclass."""
    folders: Sequence[Path] = ()
    """Folders of preset files, the most important one first."""
    sources: Mapping[str, Source] = field(default_factory=dict)
    """Group -> its source."""
    explain: Callable[[str, str], str | None] = lambda key, value: None
    """Returns the sentence about a key or a group of another version or library, if it is one."""
    several: str = ONCE_EACH
    """What to do for several values of a key: the end of a sentence."""

    def groups(self) -> dict[str, Any]:
        """Return group -> its type."""
        hints = get_type_hints(self.kind)
        return {f.name: hints[f.name] for f in fields(self.kind) if parts(hints[f.name])}

    def presets(self, group: str) -> list[str]:
        """Return all names that `group=NAME` knows, those of files first."""
        source = self._source(group)
        names = source.names() if source else ()
        return list(dict.fromkeys([*sorted(self._files(group)), *names]))

    def compose(self, words: Words) -> Values:
        """Return the values of a new run.

        Raises:
            ConfigError: a word is unknown, or a group has two presets.
        """
        values, groups = {}, self.groups()
        for group, name in words:
            if group not in groups:
                continue
            if group in values:
                raise ConfigError(f"{group} is given twice, the second time as {shown(name)!r}")
            values[group] = self._preset(group, name)
        return self.change(values, [word for word in words if word[0] not in groups])

    def saved(self, words: Words, fixed: Sequence[str] = ()) -> Values:
        """Return the saved values of the run in `resume=RUN`, for `change`.

        Args:
            words: all words of the command line, `resume` among them.
            fixed: keys that a run cannot change.

        Raises:
            ConfigError: there is no such run, or a word cannot change in it.
            UserError: its settings cannot be read.
        """
        run = Path(dict(words)["resume"])
        if not os.path.isfile(run / "config.yaml"):  # False for a name that no folder can have
            name = shown(run)
            raise ConfigError(f"resume={name} is not the folder of a run: it has no config.yaml")
        for key, value in words:
            word = f"{key}={shown(value)}"
            if key in self.groups():
                raise ConfigError(f"{word} cannot change when a run is resumed; keys can")
            if key in fixed:
                raise ConfigError(
                    f"{word} cannot change when a run is resumed: its replay, environments "
                    "and networks are made for the value it has; start a new run"
                )
        return saved_values(run / "config.yaml")

    def change(self, values: Values, words: Words) -> Values:
        """Put the values of `key=value` words into nested values, and return these."""
        known, sources = leaves(self.kind), {group: self._source(group) for group in self.groups()}
        chosen = {f"{group}.{source.key}": group for group, source in sources.items() if source}
        for key, text in words:
            if key in chosen:
                raise ConfigError(f"unknown key {key!r}: give {chosen[key]}={shown(text)}")
            if key not in known:
                raise ConfigError(self._unknown(key, text, known))
            *path, name = key.split(".")
            inner = values
            for part in path:
                if not isinstance(inner.get(part), dict):
                    inner[part] = {}
                inner = inner[part]
            inner[name] = self._single(key, text, known[key])
        return values

    def _single(self, key: str, text: str, hinted: Any) -> Any:
        """Return the value of a word. Raises ConfigError for several where one is expected."""
        value = typed(text, hinted)
        free = any(option is str or get_origin(option) is tuple for option in options(hinted))
        if not free and isinstance(value, str | list) and "," in text:
            raise ConfigError(
                f"{key}={shown(text)} is wrong: {expected(hinted, value)}; for several, "
                f"{self.several}"
            )
        return value

    def _preset(self, group: str, name: str) -> Values | None:
        if name == "null" and type(None) in options(self.groups()[group]):
            return None
        if path := self._files(group).get(name):
            return read_values(path)
        source = self._source(group)
        values = source.values(name) if source else None
        if values is not None:
            return values
        if sentence := self.explain(group, name):
            raise ConfigError(sentence)
        known = self.presets(group)
        if not known:
            keys = [key for key in leaves(self.kind) if key.startswith(f"{group}.")]
            raise ConfigError(f"{group}={shown(name)} has keys of its own: {', '.join(keys)}")
        several = f"; for several, {self.several}" if "," in name else ""
        raise ConfigError(f"unknown {group}={shown(name)}: {suggest(name, known)}{several}")

    def _files(self, group: str) -> dict[str, Path]:
        """Return preset name -> file; of several folders the first one counts."""
        found = [path for folder in self.folders for path in (folder / group).glob("*.yaml")]
        return {path.stem: path for path in reversed(found)}

    def _source(self, group: str) -> Source | None:
        if group in self.sources:
            return self.sources[group]
        known = registry_of(self.groups()[group])
        if known is None:
            return None
        return Source(known.names, lambda name: {"kind": name} if name in known else None)

    def _unknown(self, key: str, text: str, known: Mapping[str, Any]) -> str:
        bare = key.lstrip("+~-")
        if sentence := self.explain(bare, text):
            return sentence
        if bare in known:
            return f"unknown key {shown(key)!r}: give {bare}={shown(text)}"
        end = key.rpartition(".")[2]
        same = [other for other in known if other.rpartition(".")[2] == end]
        if same:
            return f"unknown key {shown(key)!r}: did you mean {' or '.join(same[:3])}?"
        names = [*known, *self.groups()] if "." in key else [*self.groups(), *known]
        return f"unknown key {shown(key)!r}: {suggest(key, names)}"


def split(argv: Sequence[str], several: str = ONCE_EACH) -> list[tuple[str, str]]:
    """Return the key and the value of each `key=value` word.

    Args:
        argv: the words.
        several: what to do for several values of a key: the end of a sentence.

    Raises:
        ConfigError: a word is something else.
    """
    words = []
    for word in argv:
        key, equals, value = word.partition("=")
        if key in ("-m", "--multirun"):
            raise ConfigError(f"{key} is not supported: for several settings, {several}")
        if not equals or not key:
            raise ConfigError(
                f"expected key=value, got {shown(word)!r}; for instance seed=1, or --help for all"
            )
        words.append((key, value))
    return words


def typed(text: str, hinted: Any) -> Any:
    """Return the value of a word for a field of this type.

    Where words are expected, the text is the value as it is, but `null` for None and a quoted text
    for what is inside the quotes; elsewhere it is read as YAML.
    """
    if text == "null" and type(None) in options(hinted):
        return None
    try:
        value = parse(text)
    except ValueError:
        return text  # the type check refuses it by name
    if str not in options(hinted):
        return value
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    return value if quoted and isinstance(value, str) else text
