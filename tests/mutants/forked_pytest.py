"""pytest in forks of one interpreter that has torch already: its import is most of a run's time.

A line of JSON in, the names of test files; a line out, pytest's exit code, or minus the signal
that ended it.  What the tests print goes to the file that is given.  Nothing of this project is
imported before the fork, and no tensor computed.
"""

import gc
import json
import os
import signal
import sys

import matplotlib.pyplot  # noqa: F401 - for the children, as are the others
import pandas  # noqa: F401
import pytest
import scipy.special  # noqa: F401
import torch._dynamo  # noqa: F401

LIMIT_S = 120  # what was broken may never end
OPTIONS = ("-x", "-q", "--tb=short", "-m", "not slow", "-p", "no:cacheprovider")


def serve(log: str) -> None:
    """Until the requests end."""
    gc.collect()
    gc.freeze()  # a collection in a child would go through all that was imported here
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _run(json.loads(line), log)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n")
        sys.stdout.flush()


def _run(tests: list[str], log: str) -> None:
    code: int = pytest.ExitCode.INTERNAL_ERROR
    try:
        signal.alarm(LIMIT_S)
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for target in (1, 2):
            os.dup2(file, target)
        code = int(pytest.main([*OPTIONS, *tests]))
        sys.stdout.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
