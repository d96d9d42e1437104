"""How every command starts and ends."""

import sys
from collections.abc import Callable, Sequence

from aef_worldmodel.errors import UserError


def run(main: Callable[[Sequence[str]], int | None]) -> None:
    """Call `main` with the command line; what a person can mend becomes one sentence.

    The exit code is what `main` returns (None counts as 0), or the error's: 2 for a wrong command
    line, 1 for everything else that went wrong outside the code.
    """
    try:
        sys.exit(main(sys.argv[1:]) or 0)
    except KeyboardInterrupt:
        sys.exit(130)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
