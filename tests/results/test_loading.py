"""The files of a run: what is written comes back, what is none is refused in one line."""

import csv
import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.core.records import COLUMNS, STATUSES, Measurement, Row, Samples, to_line
from bench.results import aggregate, run_json
from bench.results.csv_files import SAMPLE_COLUMNS, write_measurements, write_samples
from bench.results.loading import ReadError, description, load
from bench.results.results import samples_of
from tests.support.cases import case
from tests.support.results import measurement, replicates, run_of

ROW = Row(case_id="c", phase="forward", status="ok", mode="inference", batch=8)
QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def written(folder: Path, *rows: Row) -> Path:
    path = folder / "measurements.csv"
    write_measurements(path, rows)
    return path


def with_cell(folder: Path, column: str, cell: str) -> Path:
    path = written(folder, ROW)
    with path.open(encoding="utf-8", newline="") as file:
        header, line = csv.reader(file)
    line[header.index(column)] = cell
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, line])
    return path


def outcome(path: Path) -> tuple[pd.DataFrame | None, str]:
    """The rows, or why they are refused."""
    try:
        return load(path).frame, ""
    except ReadError as error:
        return None, str(error)


def test_a_run_directory_comes_back_whole(tmp_path: Path) -> None:
    data = run_of(tmp_path / "one", replicates(case(), [0.01, 0.02]))
    assert tuple(data.frame.columns) == COLUMNS
    assert tuple(data.sample_frame.columns) == SAMPLE_COLUMNS
    assert data.description.devices["cpu"] == "AMD EPYC"
    assert list(data.sample_frame["seconds"]) == [0.01, 0.01, 0.02, 0.02]
    assert list(data.sample_frame["kind"]) == ["latency", "pipelined"] * 2
    assert data.frame["batch"].dtype == "Int64"
    assert data.frame["latency_median_s"].dtype == "float64"


def test_a_csv_alone_has_rows_and_nothing_else(tmp_path: Path) -> None:
    data = load(written(tmp_path, ROW))
    assert len(data.rows) == 1
    assert data.sample_frame.empty
    assert not data.description.is_known


def test_what_is_unknown_is_an_empty_cell_and_none(tmp_path: Path) -> None:
    path = written(tmp_path, ROW)
    assert path.read_text(encoding="utf-8").splitlines()[1].count(",") == len(COLUMNS) - 1
    (row,) = load(path).rows
    assert row == ROW
    assert pd.isna(load(path).frame["latency_median_s"][0])
    assert "None" not in path.read_text(encoding="utf-8")


def test_floats_come_back_to_the_last_bit(tmp_path: Path) -> None:
    value = 0.1 + 0.2
    row = Row(case_id="c", phase="forward", status="ok", batch=8, latency_median_s=value)
    assert load(written(tmp_path, row)).rows == (row,)


@pytest.mark.parametrize("text", ["=1+1", "+x", "-x", "@x", "\tx", "\rx", "'=x", "''-1", "'plain"])
def test_no_text_is_a_formula_and_every_text_comes_back(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, Row(case_id=text, phase="forward", status="ok", batch=8))
    with path.open(encoding="utf-8", newline="") as file:
        cell = list(csv.reader(file))[1][1]
    assert cell[0] not in "=+-@\t\r"
    assert load(path).rows[0].case_id == text


def test_a_file_of_an_earlier_version_lacks_an_axis_whose_default_held_there(
    tmp_path: Path,
) -> None:
    path = written(tmp_path, ROW)
    with path.open(encoding="utf-8", newline="") as file:
        header, line = csv.reader(file)
    at = header.index("grad_mode")
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header[:at] + header[at + 1 :], line[:at] + line[at + 1 :]])
    assert load(path).rows[0].grad_mode == "inference_mode"


@QUICK
@given(text=st.text(st.characters(codec="utf-8"), min_size=1))
def test_any_text_comes_back(tmp_path: Path, text: str) -> None:
    row = Row(case_id="c", status="crash", reason=text, subject=text)
    assert load(written(tmp_path, row)).rows == (row,)


@QUICK
@given(content=st.binary())
def test_arbitrary_bytes_are_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "measurements.csv"
    path.write_bytes(content)
    with pytest.raises(ReadError) as caught:
        load(path)
    assert "\n" not in str(caught.value)


@QUICK
@given(cells=st.lists(st.text(st.characters(codec="utf-8")), min_size=0, max_size=70))
def test_an_arbitrary_line_is_read_right_or_refused(tmp_path: Path, cells: list[str]) -> None:
    path = tmp_path / "measurements.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([COLUMNS, cells])
    rows, refused = outcome(path)
    assert "\n" not in refused
    assert rows is None or len(rows) == 0 or set(rows["status"]) <= set(STATUSES)


@QUICK
@given(column=st.sampled_from(COLUMNS), cell=st.text(st.characters(codec="utf-8")))
def test_an_arbitrary_cell_is_read_right_or_refused(tmp_path: Path, column: str, cell: str) -> None:
    try:
        value = load(with_cell(tmp_path, column, cell)).frame[column][0]
    except ReadError:
        return
    if not cell:
        assert pd.isna(value)
    elif isinstance(value, str):
        assert value in (cell, cell[1:])
    else:
        assert float(value) == float(cell)


@QUICK
@given(content=st.binary() | st.just(b"[" * 5000) | st.just(b"[1]"))
def test_arbitrary_bytes_as_run_json_are_refused_or_an_object(
    tmp_path: Path, content: bytes
) -> None:
    written(tmp_path, ROW)
    (tmp_path / "run.json").write_bytes(content)
    rows, refused = outcome(tmp_path)
    assert (rows is None) == ("run.json" in refused)


@pytest.mark.parametrize(
    ("column", "cell", "says"),
    [
        ("status", "great", "status is 'great'; expected one of ok, unsupported, invalid"),
        ("latency_median_s", "fast", "latency_median_s is 'fast'; expected a finite number"),
        ("latency_median_s", "nan", "expected a finite number"),
        ("latency_median_s", "1e999", "expected a finite number"),
        ("latency_median_s", "1_0", "expected a finite number"),
        ("latency_median_s", "0", "latency_median_s is '0'; expected a number above 0"),
        ("images_per_s", "-1", "expected a number above 0"),
        ("compile_cold_s", "-3", "compile_cold_s is '-3'; expected 0 or a number above 0"),
        ("tuning_s", "-0.1", "expected 0 or a number above 0"),
        ("batch", "1.5", "batch is '1.5'; expected a whole number"),
        ("batch", "", "batch is ''; expected a number where status is ok"),
        ("case_id", "", "case_id is ''; expected the case_id of the row"),
        ("phase", "", "phase is ''; expected a phase where status is ok"),
    ],
)
def test_a_wrong_cell_is_named(tmp_path: Path, column: str, cell: str, says: str) -> None:
    with pytest.raises(ReadError) as caught:
        load(with_cell(tmp_path, column, cell))
    assert str(caught.value).startswith(f"{tmp_path / 'measurements.csv'}, line 2: ")
    assert says in str(caught.value)


def test_what_is_spent_once_may_be_nothing(tmp_path: Path) -> None:
    assert load(with_cell(tmp_path, "tuning_s", "0")).rows[0].tuning_s == 0


def test_a_wrong_run_json_is_refused_with_its_file_its_key_and_what_was_expected(
    tmp_path: Path,
) -> None:
    written(tmp_path, ROW)
    (tmp_path / "run.json").write_text('{"machine": {"peaks": []}}')
    where = tmp_path / "run.json"
    assert outcome(tmp_path)[1] == f"{where}: machine.peaks is []; expected an object"


def samples_csv(folder: Path, *lines: str) -> Path:
    """A run of one row beside these samples."""
    written(folder, ROW)
    text = "\n".join([",".join(SAMPLE_COLUMNS), *lines, ""])
    (folder / "samples.csv").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("r,c,0,forward,latency,0,1,0", "seconds is '0'; expected a number above 0"),
        ("r,c,0,forward,latency,0,1,inf", "seconds is 'inf'; expected a finite number"),
        ("r,c,0,forward,latency,0,1,", "seconds is ''; expected a value in each line"),
        ("r,c,0.5,forward,latency,0,1,1", "replicate is '0.5'; expected a whole number"),
        ("r,,0,forward,latency,0,1,1", "case_id is ''; expected a value in each line"),
        ("r,c,0,forward,latency,0,1", "has 7 cells; there are 8 columns"),
    ],
)
def test_a_wrong_sample_is_named_with_its_line(tmp_path: Path, line: str, says: str) -> None:
    folder = samples_csv(tmp_path, "r,c,0,forward,latency,0,1,0.25", line)
    said = outcome(folder)[1]
    assert said.startswith(f"{tmp_path / 'samples.csv'}, line 3: ")
    assert says in said


def test_medians_are_those_of_each_replicate_under_the_name_of_its_run(tmp_path: Path) -> None:
    folder = samples_csv(
        tmp_path,
        *(
            f",c,{at % 2},forward,latency,{at // 2},1,{time}"
            for at, time in enumerate((1, 5, 2, 7))
        ),
    )
    run = load(folder)
    assert run.medians == {(None, "c", "forward", "latency"): {0: 1.5, 1: 6.0}}
    assert run.renamed("r").medians == {("r", "c", "forward", "latency"): {0: 1.5, 1: 6.0}}


def test_counts_are_whole_also_where_a_spreadsheet_or_an_earlier_version_wrote_others(
    tmp_path: Path,
) -> None:
    path = with_cell(tmp_path, "replicates", "5.0")
    assert repr(load(path).rows[0].replicates) == "5"
    assert load(with_cell(tmp_path, "peak_bytes", "1024.5")).rows[0].peak_bytes == 1024


def test_the_same_phase_of_a_case_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ReadError, match="line 3: case_id is 'c'; expected a single row for each phase"
    ):
        load(written(tmp_path, ROW, ROW))


def test_a_missing_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="nowhere: no such file or directory"):
        load(tmp_path / "nowhere")
    with pytest.raises(ReadError, match=r"has no measurements\.csv"):
        load(tmp_path)


def test_missing_columns_are_named(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("case_id,status\nc,ok\n", encoding="utf-8")
    with pytest.raises(ReadError, match="has no column run_id, subject, mode, phase and 5"):
        load(path)


def test_a_line_cut_short_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, ROW)
    path.write_bytes(path.read_bytes() + b"one,c\r\n")
    with pytest.raises(ReadError, match="line 3: has 2 cells"):
        load(path)


def test_what_a_spreadsheet_saved_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, ROW)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\r\n", b"\n"))
    assert load(path).rows[0].case_id == "c"


def test_columns_of_a_later_version_are_passed_over(tmp_path: Path) -> None:
    path = written(tmp_path, ROW)
    header, line = path.read_text(encoding="utf-8").splitlines()
    path.write_text(f"{header},later\n{line},1\n", encoding="utf-8")
    assert load(path).rows == (ROW,)


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = written(tmp_path, ROW)
    before = path.read_bytes()

    def broken() -> object:
        yield ROW
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_measurements(path, broken())  # type: ignore[arg-type]
    assert path.read_bytes() == before


def test_samples_left_out_to_save_space_are_read_from_the_journal(tmp_path: Path) -> None:
    times = Samples(phase="forward", kind="latency", calls_per_sample=1, times_s=(0.25, 0.5))
    entries = [
        Measurement(case=case(), replicate=replicate, samples=(times,)) for replicate in range(2)
    ]
    lines = "".join(to_line(entry) + "\n" for entry in entries)
    (tmp_path / "journal.jsonl").write_text(lines)
    run = {"run_id": "r", "config": {"replicates": 2}}
    (tmp_path / "run.json").write_text(json.dumps(run))
    write_measurements(tmp_path / "measurements.csv", aggregate.rows(entries, run=run_json.of(run)))
    from_journal = load(tmp_path).sample_frame
    write_samples(tmp_path / "samples.csv", samples_of(entries, "r"))
    pd.testing.assert_frame_equal(from_journal, load(tmp_path).sample_frame)
    assert list(from_journal["seconds"]) == [0.25, 0.5, 0.25, 0.5]


def test_samples_of_a_replicate_that_does_not_count_are_not_read_from_the_journal(
    tmp_path: Path,
) -> None:
    entries = [
        *replicates(case(), [0.25], flags=("contended",), metrics={"contention_ratio": 0.9}),
        *(measurement(case(), number, 0.5) for number in (1, 2)),
    ]
    lines = "".join(to_line(entry) + "\n" for entry in entries)
    (tmp_path / "journal.jsonl").write_text(lines)
    run = {"run_id": "r", "config": {"replicates": 2}}
    (tmp_path / "run.json").write_text(json.dumps(run))
    counted = aggregate.rows(entries[1:], run=run_json.of(run))
    write_measurements(tmp_path / "measurements.csv", counted)
    assert set(load(tmp_path).sample_frame["seconds"]) == {0.5}


def test_quotes_around_every_cell_change_nothing(tmp_path: Path) -> None:
    plain = run_of(tmp_path / "one", replicates(case(), [0.01, 0.02]))
    for name in ("measurements.csv", "samples.csv"):
        path = tmp_path / "one" / name
        with path.open(encoding="utf-8", newline="") as file:
            cells = list(csv.reader(file))
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, quoting=csv.QUOTE_ALL).writerows(cells)
    quoted = load(tmp_path / "one")
    assert quoted.rows == plain.rows
    assert quoted.sample_frame.equals(plain.sample_frame)


def test_a_wrong_cell_behind_a_text_of_two_lines_is_named_by_its_line_in_the_file(
    tmp_path: Path,
) -> None:
    failed = Row(case_id="a", status="crash", reason="one\ntwo")
    path = written(tmp_path, failed, ROW)
    path.write_bytes(path.read_bytes().replace(b",ok,", b",fine,"))
    with pytest.raises(ReadError, match="line 4: status is 'fine'"):
        load(path)


def test_parts_of_a_description_can_be_left_out(tmp_path: Path) -> None:
    run_of(tmp_path / "run", [])
    found = description(tmp_path / "run", without=("config", "machine.cpu_model", "nowhere.at"))
    assert not found.config.model_fields_set
    assert found.machine.written() == {"machine_id": "m1"}
