"""What the settings of somebody else's run may import: installed packages, unless trusted.

`env.task=gym:MODULE:ID` and `env.task=MODULE:Class` import MODULE. On the command line that
is the wish of the user. In a saved file it is data: the folder of a shared run may hold a module.
"""

from __future__ import annotations

import importlib.util
import re
import site
import sysconfig
from pathlib import Path

from aef_worldmodel.utils.config.schema import shown
from aef_worldmodel.utils.errors import UserError


def check_trusted(task: str, source: str | Path, trust: bool) -> None:
    """Check that a task of saved settings imports nothing but installed packages.

    Args:
        task: `env.task` of the settings.
        source: their file, for the message.
        trust: the command line says `trust=true`.

    Raises:
        UserError: a module is not an installed package, and is not trusted.
    """
    module = None if trust else untrusted_module(task)
    if module is not None:
        raise UserError(
            f"{source} names env.task={shown(task)}, whose module {shown(module)} is not an "
            "installed package: give trust=true to execute its code, if you trust it"
        )


def untrusted_module(task: str) -> str | None:
    """Return the module outside the installed packages that a task imports; None for none."""
    kind, _, rest = task.partition(":")
    name = rest if kind in ("gym", "dm_control") else task  # or a task of one's own, module:Class
    # a module comes before a colon, in the name and in the settings after the question mark
    modules = [module for part in re.split("[?&=]", name) for module in part.split(":")[:-1]]
    return next((module for module in modules if not is_installed(module)), None)


def is_installed(module: str) -> bool:
    """Return whether a module lies in the folders of installed packages; nothing is imported."""
    package = module.partition(".")[0]
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return False
    if spec is None:
        return False
    places = list(spec.submodule_search_locations or []) or [spec.origin or ""]
    return all(_in_site(Path(place)) for place in places)


def trust_word(task: str) -> str:
    """Return what a command that reads a run of this task needs besides its folder."""
    return " trust=true" if untrusted_module(task) is not None else ""


def _in_site(place: Path) -> bool:
    paths = sysconfig.get_paths()
    folders = {paths["purelib"], paths["platlib"], *site.getsitepackages()}
    if site.ENABLE_USER_SITE:
        folders.add(site.getusersitepackages())
    return any(place.resolve().is_relative_to(Path(folder).resolve()) for folder in folders)
