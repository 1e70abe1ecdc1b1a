"""The base of the errors that the command line turns into one line and exit code 2."""

import errno

from bench.core.text import printable

# How a reason begins that says nothing of the case: the run stops, and may be gone on with.
NO_SPACE = "no space left on the disk"

_HELPS = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there",
    errno.EMFILE: "raise the limit (ulimit -n)",
    errno.ENOMEM: "make room in memory",
}


class UserError(Exception):
    """Its message says what, where, and what would be right, in one line."""


def one_line(error: BaseException) -> str:
    """The message without what a terminal would act on."""
    return printable(" ".join(str(error).split()))


def refused(error: OSError, where: object = None) -> str:
    """What the system refuses, where, and what would help.

    where: a folder or file, if the error names none itself.
    """
    place = error.filename if error.filename is not None else where
    why = error.strerror or str(error)
    helps = _HELPS.get(error.errno or 0, "see that it is there and may be read and written")
    return f"{why}; {helps}" if place is None else f"{place}: {why}; {helps}"
