"""Errors whose message is one sentence for the person who runs a command."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LONGEST = 300  # characters of a word in a sentence, and of another error's text


class UserError(Exception):
    """A fault outside the code; the message says what is wrong and what to do.

    Commands print the message alone and exit with `exit_code`. Every other exception is a bug and
    keeps its traceback.
    """

    exit_code = 1

    def __init__(self, message: str) -> None:
        """Take the sentence; what a file or a word put into it stays on one printable line."""
        line = " ".join(_shortened(word) for word in message.split(" "))
        super().__init__("".join(c if c.isprintable() else _escaped(c) for c in line))


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST] + "..."


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def reason(error: BaseException) -> str:
    """Return why something failed as a clause: the first line of an error's text."""
    text = str(getattr(error, "strerror", None) or error).strip()
    line = text.splitlines()[0].rstrip(".") if text else type(error).__name__
    return _shortened(line)


@contextmanager
def writing(what: str | Path, then: str = "") -> Iterator[None]:
    """Turn an OSError of the block into a UserError.

    Args:
        what: the file or record that the block writes, for the message.
        then: end of the sentence, for instance ", then resume the run".
    """
    try:
        yield
    except OSError as error:
        raise UserError(
            f"could not write {what} ({reason(error)}): free some space or check the "
            f"folder's permissions{then}"
        ) from error
