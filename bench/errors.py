"""The base of the errors that the command line turns into one line and exit code 2."""

from bench.plain_text import printable

# How a reason begins that says nothing of the case: the run stops, and may be gone on with.
NO_SPACE = "no space left on the disk"


class UserError(Exception):
    """Its message says what, where, and what would be right, in one line."""


def one_line(error: BaseException) -> str:
    """The message without what a terminal would act on."""
    return printable(" ".join(str(error).split()))
