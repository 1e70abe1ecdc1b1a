"""The end of a child, and the name of that end."""

import signal
import subprocess

import pytest

from bench.core.protocol import Ending, Exited, Signalled, TimedOut
from bench.worker.process import supervise


@pytest.mark.slow
def test_a_process_that_has_not_yet_made_its_session_is_ended_as_well() -> None:
    process = subprocess.Popen(["sleep", "3606"])
    supervise.end_session(process.pid)
    assert process.wait(timeout=60) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("code", "ending"),
    [
        (None, TimedOut()),
        (0, Exited(0)),
        (74, Exited(74)),
        (-signal.SIGSEGV, Signalled("SIGSEGV")),
        (-40, Signalled("signal 40")),
    ],
)
def test_an_end_has_a_name(code: int | None, ending: Ending) -> None:
    assert supervise.ending(code) == ending
