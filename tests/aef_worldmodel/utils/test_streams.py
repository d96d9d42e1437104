"""Output that cannot be written is dropped, and never ends a command."""

import io
import os
import subprocess
import sys

import pytest

from aef_worldmodel.utils.streams import LenientStream, make_output_lenient

SPEAKER = """
import contextlib, os, sys
from aef_worldmodel.utils import command
command.open_standard_streams()
path = sys.argv[1]
def main(words):
    with open(path, "w") as file:
        for _ in range(3000):
            print("one line of a log, \\u00fc, of a command that has much to say", flush=True)
        with contextlib.suppress(OSError):
            os.write(1, b"noise of a library")
        print("a warning", file=sys.stderr)
    with open(path, "a") as file:
        file.write("done")
command.run_command(main)
"""


def speak(tmp_path, shell, **environment):
    """Run a command that says much, by a line of the shell; return what it wrote to its file."""
    script, path = tmp_path / "speaker.py", tmp_path / "a file, ü"
    script.write_text(SPEAKER, encoding="utf-8")
    line = shell.format(f'"{sys.executable}" "{script}" "{path}"')
    env = {**os.environ, "PYTHONPATH": os.getcwd(), **environment}
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {line}"], env=env, capture_output=True)
    return done.returncode, done.stderr.decode(), path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "shell",
    ["{} | head -1", "{} >/dev/full", "{} >&-", "{} >&- 2>&-", "{} 2>/dev/full >/dev/null"],
)
def test_a_command_ends_well_wherever_its_output_goes(tmp_path, shell):
    code, errors, written = speak(tmp_path, shell)
    assert (code, written) == (0, "done")
    assert errors in ("", "a warning\n")


def test_what_ascii_cannot_spell_is_escaped(tmp_path):
    code, errors, written = speak(tmp_path, "{} | tail -1", PYTHONIOENCODING="ascii")
    assert (code, errors, written) == (0, "a warning\n", "done")


def test_a_stream_that_is_closed_or_lost():
    for failure in (OSError(5, "Input/output error"), ValueError("closed"), RuntimeError("busy")):

        class Lost(io.StringIO):
            def _fail(self, *_, failure=failure):
                raise failure

            write = flush = isatty = _fail

        stream = LenientStream(Lost())
        assert stream.write("word") == 4 and stream.flush() is None and stream.isatty() is False
        stream.writelines(["a", "b"])


def test_a_stream_without_failures_is_as_it_was(monkeypatch):
    inside = io.StringIO()
    monkeypatch.setattr(sys, "stdout", inside)
    make_output_lenient(), make_output_lenient()
    print("one")
    assert sys.stdout._stream is inside and inside.getvalue() == "one\n"
