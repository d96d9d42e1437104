"""Errors whose message is the one sentence a person needs."""


class UserError(Exception):
    """Something outside the code is wrong, and the message says what to do about it.

    Entry points print the message alone and leave with a non-zero code; every other exception is
    a bug and keeps its traceback.
    """

    exit_code = 1
