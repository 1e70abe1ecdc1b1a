import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.core.records import Entry, Failure, StaticMetrics, to_line
from bench.results.journal import Journal, JournalError, read, without_repeats
from tests.support.cases import PLAIN, case
from tests.support.paths import ROOT
from tests.support.results import measurement


def _failure(replicate: int, batch: int = 8) -> Failure:
    return Failure(case=case(batch=batch), replicate=replicate, status="error", reason="why")


def test_what_is_appended_is_read_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    entries: list[Entry] = [
        _failure(0),
        StaticMetrics(case=PLAIN, metrics={"flops": 1.0}),
        _failure(1),
    ]
    log = Journal(path)
    for entry in entries:
        log.append(entry)
    log.close()
    assert read(path) == entries


def test_an_entry_is_on_disk_when_append_returns(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path).append(_failure(0))  # not closed, as after a kill
    assert read(path) == [_failure(0)]


def test_static_metrics_that_a_time_limit_ended_give_way_to_those_of_a_later_try() -> None:
    late, later, whole, again = (
        StaticMetrics(case=PLAIN, metrics={"flops": float(number)}, limit_s=limit_s)
        for number, limit_s in enumerate((15.0, 30.0, None, 60.0))
    )
    assert without_repeats([late, later]) == [later]
    assert without_repeats([late, later, whole, again]) == [whole]


ENTRIES: list[Entry] = [
    _failure(0),
    measurement(PLAIN, 1, 0.25, 0.5, controls={"copy": (0.1,)}, state={"threads": 2}),
    StaticMetrics(case=PLAIN, metrics={"flops": 1.0}, problems={"operators": "=why\n\x1b[2J"}),
    _failure(2, batch=1),
]
LINES = [(to_line(one) + "\n").encode() for one in ENTRIES]
QUICK = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)


@given(cut=st.integers(0, sum(map(len, LINES))))
@QUICK
def test_a_file_cut_at_any_byte_keeps_its_whole_lines_and_goes_on(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "journal.jsonl"
    content = b"".join(LINES)[:cut]
    path.write_bytes(content)
    whole = ENTRIES[: content.count(b"\n")]
    assert read(path) == whole
    log = Journal(path)
    log.append(_failure(9))
    log.close()
    assert read(path) == [*whole, _failure(9)]


@given(garbage=st.binary(min_size=1, max_size=200), place=st.integers(0, len(LINES)))
@QUICK
def test_garbage_in_the_middle_is_named_by_its_line(
    tmp_path: Path, garbage: bytes, place: int
) -> None:
    line = garbage.replace(b"\n", b"?") + b"\n"
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"".join([*LINES[:place], line, *LINES[place:]]))
    if not line.strip():
        assert read(path) == ENTRIES
        return
    with pytest.raises(JournalError, match=rf"line {place + 1}: not a journal line"):
        read(path)


def changed(entry: Entry, **fields: Any) -> str:
    return json.dumps(json.loads(to_line(entry)) | fields)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (changed(ENTRIES[0], replicate="0"), "replicate: "),
        (changed(ENTRIES[0], replicate=-1), "replicate: "),
        (changed(ENTRIES[0], replicate=True), "replicate: "),
        (changed(ENTRIES[0], status="great"), "status: "),
        (changed(ENTRIES[0], status="ok"), "status: "),
        (changed(ENTRIES[0], reason=None), "reason: "),
        (changed(ENTRIES[0], case={**PLAIN.as_dict(), "mode": 7}), "case"),
        (changed(ENTRIES[0], case={**PLAIN.as_dict(), "batch": 0}), "case"),
        (changed(ENTRIES[1], flags=["great"]), "flags: "),
        (changed(ENTRIES[1], flags=[[]]), "flags.0: "),
        (changed(ENTRIES[1], facts={"flops": "1"}), "facts.flops: "),
        (changed(ENTRIES[1], controls={"copy": ["x"]}), "controls.copy.0: "),
        (changed(ENTRIES[1], samples=[{"phase": "forward"}]), "samples.0.kind: "),
        (changed(ENTRIES[1], timed_s=None), "timed_s: "),
        (changed(ENTRIES[1], state=[]), "state: "),
        (changed(ENTRIES[1]).replace("0.25", "NaN"), "samples.0.times_s.0: "),
        (changed(ENTRIES[1]).replace("0.25", "1e999"), "samples.0.times_s.0: "),
        (changed(ENTRIES[1]).replace("0.25", "1" + "0" * 400), "samples.0.times_s.0: "),
        (changed(ENTRIES[2], problems={"operators": None}), "problems.operators: "),
        (changed(ENTRIES[2], invalid=1), "invalid: "),
        ("[" * 20_000, "recursion limit exceeded"),
    ],
)
def test_a_field_that_is_not_what_it_should_be_is_named(
    tmp_path: Path, line: str, says: str
) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(JournalError, match=r"journal\.jsonl, line 1: ") as caught:
        read(path)
    assert says in str(caught.value)


def test_two_journals_merge_by_concatenation(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    lines = [to_line(one) + "\n" for one in (_failure(0), _failure(1), _failure(0, batch=1))]
    path.write_text("".join([lines[0], lines[1], lines[1], lines[2], lines[0]]))
    assert read(path) == [_failure(0), _failure(1), _failure(0, batch=1)]


def test_a_whole_line_that_is_no_entry_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text(to_line(_failure(0)) + "\nnonsense\n")
    with pytest.raises(JournalError, match=r"journal\.jsonl, line 2: not a journal line"):
        read(path)


@given(st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_any_bytes_are_entries_or_a_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(content)
    try:
        assert read(path) == []
    except JournalError as error:
        assert "line" in str(error)


def test_a_full_disk_is_an_error_that_names_the_file() -> None:
    with pytest.raises(JournalError, match=r"/dev/full: cannot be written"):
        Journal(Path("/dev/full")).append(_failure(0))


@pytest.mark.parametrize("taken", [0, 1, 40])
def test_a_disk_that_fills_up_within_a_line_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: int
) -> None:
    path = tmp_path / "journal.jsonl"
    log = Journal(path)
    log.append(_failure(0))
    write, room = os.write, [taken]

    def fills_up(handle: int, line: Any) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = write(handle, line[: room[0]])
        room[0] -= written
        return written

    monkeypatch.setattr(os, "write", fills_up)
    with pytest.raises(JournalError, match="left on device; make room, then continue with"):
        log.append(_failure(1))
    monkeypatch.undo()
    assert read(path) == [_failure(0)]
    log.append(_failure(1))
    assert read(path) == [_failure(0), _failure(1)]


def test_a_journal_that_was_removed_is_told_and_not_written_to_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    log = Journal(path)
    path.unlink()
    with pytest.raises(JournalError, match="was removed while the run wrote to it"):
        log.append(_failure(0))


def test_the_journal_of_an_earlier_version_is_read_to_its_last_line() -> None:
    path = ROOT / "tests/data/earlier_run/journal.jsonl"
    found = read(path)
    assert len(found) == len(path.read_text().splitlines()) == 321
    modes = {(one.case.mode, one.case.grad_mode) for one in found}
    assert modes == {("training", None), ("inference", "inference_mode")}
