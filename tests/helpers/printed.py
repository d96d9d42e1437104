"""Commands within printed text: found, made small, and executed."""

import importlib
import re
import shlex
from pathlib import Path

from small_run import SMALL

from aef_worldmodel.utils.errors import UserError

COMMAND = re.compile(
    r"python -m ([a-z_]\w*(?:\.\w+)*)((?: (?!\()[^`\n]+?)?)(?=`|,? \(|, |$)", re.MULTILINE
)
NEW = {  # words of a training and a recording that a text suggests, to make them small
    "agents.train": [word for word in SMALL if not word.startswith("env")],
    "agents.collect": [
        "env=cartpole-swingup",
        "env.action_repeat=20",
        "env.image_size=16",
        "episodes=2",
        "hardware.num_envs=2",
    ],
}
CODES = (0, 130)  # 130: it was stopped, and says how to go on


def commands(text):
    """Return the module and the words of each command in a text, as a shell reads them."""
    return [(module, shlex.split(words)) for module, words in COMMAND.findall(text)]


def follow(text, capsys):
    """Execute every command of a text, and those that these print; return their modules."""
    done, left = [], commands(text)
    while left:
        module, words = left.pop(0)
        assert (module, words) not in done, "a command that tells to do it again"
        code = main_of(module)(small(module, expanded(words)))
        assert (code or 0) in CODES, f"{module} {words} ended with {code}"
        done.append((module, words))
        left += commands(capsys.readouterr().out)
    return [module for module, _ in done]


def said(module, words, capsys):
    """Return what a command prints, or the sentence with which it ends."""
    capsys.readouterr()
    try:
        main_of(module)(words)
    except UserError as error:
        return str(error)
    return capsys.readouterr().out


def main_of(module):
    """Return the function that `python -m module` calls."""
    found = importlib.import_module(module)
    if not hasattr(found, "main"):
        found = importlib.import_module(f"{module}.__main__")
    return found.main


def expanded(words):
    """Return the words with what a shell makes of patterns."""
    return [p for w in words for p in (sorted(map(str, Path().glob(w))) if "*" in w else [w])]


def small(module, words):
    """Return the words with small sizes where they ask for the defaults."""
    given = {word.partition("=")[0] for word in words}
    more = [] if given & {"resume", "frames"} else NEW.get(module, [])
    return [*words, *(word for word in more if word.partition("=")[0] not in given)]
