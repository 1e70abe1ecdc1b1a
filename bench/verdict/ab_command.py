"""The `bench ab` command that measures one case of a check on both revisions, on this machine."""

import re
import shlex

from bench.core.axes import AXES
from bench.core.records import Row

_COMMIT = re.compile(r"[0-9a-f]{7,64}")
UNKNOWN_COMMIT = "BASELINE_REVISION"  # the user fills it in


def settling_command(row: Row, commit: object, threshold: float = 0.05) -> str:
    """Return the command, quoted for a shell.

    commit: the commit of the baseline from its run.json; a value that is not a commit is ignored.
    """
    known = isinstance(commit, str) and _COMMIT.fullmatch(commit)
    words = ["bench", "ab", str(commit) if known else UNKNOWN_COMMIT, "."]
    words += ["--subject", str(row.subject)]
    for axis in AXES:
        if (value := getattr(row, axis.name)) is not None:
            words += [axis.flag, str(value)]
    if threshold != 0.05:
        words += ["--threshold", repr(threshold)]
    return shlex.join(words)
