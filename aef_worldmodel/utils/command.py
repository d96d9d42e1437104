"""Start and end of every command."""

import shlex
import sys
from collections.abc import Callable, Sequence

from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.signals import INTERRUPTED, end_on_signals, interrupt_on_signals
from aef_worldmodel.utils.streams import make_output_lenient, open_standard_streams


def prepare(package: str) -> None:
    """Prepare the process if it starts a command of `package`: before the slow imports.

    Until `run_command`, a signal ends it at once and without a traceback.
    """
    if sys.argv[:1] == ["-m"] and _module().partition(".")[0] == package:
        open_standard_streams()
        end_on_signals()


def _module() -> str:
    """Return the module that `python -m` names."""
    words = sys.orig_argv
    return words[words.index("-m") + 1] if "-m" in words[:-1] else ""


def as_typed(module: str, *words: object) -> str:
    """Return a command as a shell takes it: `python -m module words`, quoted where needed."""
    return shlex.join(["python", "-m", module, *map(str, words)])


def run_command(main: Callable[[Sequence[str]], int | None]) -> None:
    """Call `main` with the command line and exit; a UserError becomes one sentence.

    A signal raises KeyboardInterrupt until `main` handles signals itself; output that cannot be
    written is dropped. The exit code is the value that `main` returns (None counts as 0), 130
    after a signal, or that of the error: 2 for a wrong command line, 1 for every other fault
    outside the code.
    """
    make_output_lenient()
    try:
        interrupt_on_signals()
        code = main(sys.argv[1:]) or 0
    except KeyboardInterrupt:
        code = INTERRUPTED
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    finally:
        end_on_signals()
    sys.exit(code)
