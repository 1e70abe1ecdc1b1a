from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.journal import Journal, JournalError, read
from bench.records import Entry, Facts, Failure, to_line
from tests.cases import PLAIN, case


def _failure(replicate: int, batch: int = 8) -> Failure:
    return Failure(case=case(batch=batch), replicate=replicate, status="error", reason="why")


def test_what_is_appended_is_read_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    entries: list[Entry] = [_failure(0), Facts(case=PLAIN, facts={"flops": 1.0}), _failure(1)]
    log = Journal(path)
    for entry in entries:
        log.append(entry)
    log.close()
    assert read(path) == entries


def test_an_entry_is_on_disk_when_append_returns(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path).append(_failure(0))  # not closed, as after a kill
    assert read(path) == [_failure(0)]


@given(torn=st.integers(1, 400))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_a_torn_last_line_is_cut_off_and_the_rest_goes_on(tmp_path: Path, torn: int) -> None:
    path = tmp_path / "journal.jsonl"
    whole, second = to_line(_failure(0)) + "\n", to_line(_failure(1)) + "\n"
    path.write_text(whole + second[: min(torn, len(second) - 1)])
    assert read(path) == [_failure(0)]
    log = Journal(path)
    log.append(_failure(2))
    log.close()
    assert read(path) == [_failure(0), _failure(2)]


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
