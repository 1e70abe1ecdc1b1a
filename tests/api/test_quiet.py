"""Standard error keeps every line but those of torch's profiler."""

import os

import pytest

from bench.api import quiet

OWN = b"USDT:2026-11-27 13:12:56 6293:6293 SyncActivityProfilerHandler.cpp:52] profiler_start\n"


def test_lines_of_the_profiler_are_left_out_and_all_others_come(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with quiet.profiler():
        os.write(2, b"before\n" + OWN + b"after\n")
        assert capfd.readouterr().err == ""
    assert capfd.readouterr().err == "before\nafter\n"


def test_an_error_inside_leaves_standard_error_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), quiet.profiler():
        raise KeyError
    os.write(2, OWN)
    assert capfd.readouterr().err == OWN.decode()
