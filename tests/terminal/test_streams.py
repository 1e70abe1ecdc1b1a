import io
import os
import sys
from pathlib import Path

import pytest

from bench.terminal.progress import wide_console
from bench.terminal.streams import Output, steady


def _pipe_that_nobody_reads() -> Output:
    reader, writer = os.pipe()
    os.close(reader)
    return Output(os.fdopen(writer, "wb"), encoding="utf-8")


def test_a_full_disk_silences_it_and_is_remembered() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no device that is always full")
    output = Output(os.fdopen(os.open("/dev/full", os.O_WRONLY), "wb"), encoding="utf-8")
    print("one", file=output, flush=True)
    assert output.problem
    assert output.problem.strerror == "No space left on device"
    print("two" * 100_000, file=output, flush=True)
    output.close()  # and nothing is left that could not be written


def test_a_reader_that_has_enough_silences_it_and_is_no_problem() -> None:
    output = _pipe_that_nobody_reads()
    print("one" * 100_000, file=output)
    print("two", file=output, flush=True)
    assert output.lost
    assert output.problem is None


def test_a_console_on_it_goes_on_where_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    output = _pipe_that_nobody_reads()
    monkeypatch.setattr(sys, "stdout", output)
    console = wide_console()
    for _ in range(3):
        console.print("measured")
    assert output.lost


def test_a_stream_that_was_closed_is_nowhere() -> None:
    output = steady(None)
    print("one", file=output, flush=True)
    assert not output.isatty()
    assert output.lost is None


def test_what_the_stream_cannot_spell_is_a_question_mark() -> None:
    seen = io.BytesIO()
    given = io.TextIOWrapper(seen, encoding="ascii")
    output = steady(given)
    print("1.5 µs", file=output, flush=True)
    assert seen.getvalue() == b"1.5 ?s\n"
