"""Errors whose message is the one sentence a person needs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(Exception):
    """Something outside the code is wrong, and the message says what to do about it.

    Entry points print the message alone and leave with a non-zero code; every other exception is
    a bug and keeps its traceback.
    """

    exit_code = 1


@contextmanager
def writing(what: str | Path, then: str = "") -> Iterator[None]:
    """Raises UserError where `what` cannot be written; `then` ends the sentence."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"could not write {what} ({error.strerror or error}): free some space or check the "
            f"folder's permissions{then}"
        ) from error
