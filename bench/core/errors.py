"""The base of the errors that the command line turns into one line and exit code 2."""

import errno

from bench.core.text import printable

# A reason that begins so is no failure of the case: the run stops and can be resumed.
NO_SPACE = "no space left on the disk"

_HELPS = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there",
    errno.EMFILE: "raise the limit (ulimit -n)",
    errno.ENOMEM: "free some memory",
}


class UserError(Exception):
    """An error that the user can fix: one line says what happened, where, and what to do."""


def one_line(error: BaseException) -> str:
    """Return the message on one line, without control characters."""
    return printable(" ".join(str(error).split()))


def refused(error: OSError, where: object = None) -> str:
    """Return one line: the place, the reason of the system, and what to do.

    where: a folder or file, used if the error names none.
    """
    place = error.filename if error.filename is not None else where
    why = error.strerror or str(error)
    helps = _HELPS.get(error.errno or 0, "check that it exists and that you may read and write it")
    return f"{why}; {helps}" if place is None else f"{place}: {why}; {helps}"
