"""Help of a command: its groups with their presets, and its keys with defaults and meanings."""

from __future__ import annotations

import textwrap
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple, get_type_hints

from aef_worldmodel.utils.config.cli import CommandLine
from aef_worldmodel.utils.config.schema import default_of, field_docs, join, parts, shown

WIDTH = 100  # characters of a line


class Key(NamedTuple):
    """A key of a settings dataclass."""

    key: str
    """Dotted name."""
    default: str
    """Default value as it is written on a command line."""
    meaning: str
    """Its documentation."""


class Section(NamedTuple):
    """Keys that belong together."""

    title: str
    """"" for the keys of the command itself, "env", "agent=mpc", or "agent.plan (agent=mpc)"."""
    choice: str
    """"agent=mpc" for the keys of one alternative of a group, else ""."""
    meaning: str
    """Documentation of the section."""
    keys: list[Key]
    """Its keys."""


def sections(kind: type, path: str = "") -> list[Section]:
    """Return the keys of a settings dataclass by section, those of the dataclass itself first.

    A group with alternatives has a section for each of them, which may have no key. Keys that an
    alternative inherits from the same base as the default one are not repeated, unless their
    defaults differ.
    """
    hints, docs = get_type_hints(kind), field_docs(kind)
    own, others = Section(path, "", " ".join((kind.__doc__ or "").split()), []), []
    for field in fields(kind):
        here, value, known = join(path, field.name), default_of(field), parts(hints[field.name])
        meaning = docs.get(field.name, "")
        if not known and field.name != "kind":
            own.keys.append(Key(here, _written(value), meaning))
        for name, part in known.items():
            first, *rest = sections(part, here)
            keys = _added(first.keys, part, value, here)
            text, choice = (first.meaning, f"{here}={name}") if name else (meaning, "")
            if len(keys) < len(first.keys):
                text += f" It has the keys of {here}={value.kind}, too."
            others.append(Section(choice or here, choice, text, keys))
            others += [_chosen(section, choice) for section in rest]
    return [own, *others]


def key_table(kind: type) -> list[Key]:
    """Return (key, default, meaning) of every key; keys of one alternative say so."""
    table = []
    for _, choice, _, keys in sections(kind):
        where = f"({choice}) " if choice else ""
        table += [Key(key.key, key.default, where + key.meaning) for key in keys]
    return table


def usage(line: CommandLine, command: str) -> str:
    """Return the help text of `python -m command`."""
    text = [f"usage: python -m {command} [key=value ...]"]
    groups = {group: line.presets(group) for group in line.groups()}
    if any(groups.values()):
        text += ["", "presets (configs/) and names:"]
        text += [_wrapped(f"  {g}=", "|".join(names)) for g, names in groups.items() if names]
    for title, _, meaning, keys in sections(line.kind):
        text += ["", _wrapped(f"{title}: ", meaning) if title else "keys:"]
        text += [_wrapped(f"  {key}={default}  ", meaning) for key, default, meaning in keys]
    return "\n".join(text)


def _added(keys: list[Key], part: type, usual: Any, path: str) -> list[Key]:
    """Return the keys of an alternative without those it inherits as the default one does."""
    if usual is None or part is type(usual):
        return keys
    bases = [b for b in part.__mro__ if is_dataclass(b) and isinstance(usual, b)]
    inherited = {join(path, field.name) for base in bases for field in fields(base)}
    known = set(sections(type(usual), path)[0].keys)
    return [key for key in keys if key.key not in inherited or key not in known]


def _chosen(section: Section, choice: str) -> Section:
    """Return a section that belongs to an alternative of an outer group."""
    if section.choice or not choice:
        return section
    return section._replace(title=f"{section.title} ({choice})", choice=choice)


def _written(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{','.join(map(shown, value))}]"
    return shown(value)


def _wrapped(head: str, text: str) -> str:
    """Return lines of at most WIDTH characters, all but the first indented by six."""
    lines = textwrap.wrap(
        head + text.replace("|", "| "),
        WIDTH,
        subsequent_indent="      ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines).replace("| ", "|")
