"""How a child is ended and what its end is called."""

import signal
import subprocess

import pytest

from bench.worker.process import supervise


@pytest.mark.slow
def test_a_process_that_has_not_yet_made_its_session_is_ended_as_well() -> None:
    process = subprocess.Popen(["sleep", "3606"])
    supervise.end_session(process.pid)
    assert process.wait(timeout=60) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (None, {"end": "timeout"}),
        (0, {"end": "exit", "code": 0}),
        (74 << 8, {"end": "exit", "code": 74}),
        (signal.SIGSEGV, {"end": "signal", "signal": "SIGSEGV"}),
        (40, {"end": "signal", "signal": "signal 40"}),
    ],
)
def test_an_end_has_a_name(status: int | None, said: dict[str, object]) -> None:
    assert supervise.how(status) == said
