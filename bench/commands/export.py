"""The command `bench export RUN --to FORMAT`: results for other tools."""

import sys
from pathlib import Path

from bench.core.errors import UserError
from bench.core.near import did_you_mean
from bench.results import export_files
from bench.results.loading import load

OK = 0


class FormatError(UserError):
    """A format that is unknown, or a file that cannot be written."""


def run(path: Path, to: str, out: Path | None) -> int:
    """Write the results of a run in the format of another tool.  Return the exit code.

    out: a file; standard output if it is not given.
    """
    if to not in export_files.FORMATS:
        known = ", ".join(export_files.FORMATS)
        near = did_you_mean(to, export_files.FORMATS)
        raise FormatError(f"--to is {to!r}; expected one of {known}{near}")
    text = export_files.FORMATS[to](load(path))
    if out is None:
        sys.stdout.write(text)
        return OK
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise FormatError(f"{out}: cannot be written: {error.strerror or error}") from None
    return OK
