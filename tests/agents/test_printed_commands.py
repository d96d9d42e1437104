"""Commands that programs print are what was typed, quoted as a shell needs it."""

import re
import shlex

from agents import doctor

COMMAND = re.compile(r"python -m (agents\.\w+) (.+)")


def printed(capsys):
    """Return the module and the words of the last command that was printed."""
    module, line = COMMAND.findall(capsys.readouterr().out)[-1]
    return module, shlex.split(line)


def test_the_doctor_prints_the_command_it_examined(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "examine", lambda words: [])
    line = ["env=gym:CarRacing-v3?continuous=False&crop=0,12,0,0", "log=[csv,terminal]"]
    assert doctor.main(line) == 0
    assert printed(capsys) == ("agents.train", line)
