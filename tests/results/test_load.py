"""The files of a run: what is written comes back, what is none is refused in one line."""

import csv
import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.core.records import COLUMNS, STATUSES, Measurement, Row, Samples, to_line
from bench.results import aggregate
from bench.results.csv_files import SAMPLE_COLUMNS, write_measurements, write_samples
from bench.results.load import ReadError, load
from tests.support.cases import case
from tests.support.results import replicates, run_of

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
        return load(path).rows, ""
    except ReadError as error:
        return None, str(error)


def test_a_run_directory_comes_back_whole(tmp_path: Path) -> None:
    data = run_of(tmp_path / "one", replicates(case(), [0.01, 0.02]))
    assert tuple(data.rows.columns) == COLUMNS
    assert tuple(data.samples.columns) == SAMPLE_COLUMNS
    assert data.run["devices"]["cpu"] == "AMD EPYC"
    assert list(data.samples["seconds"]) == [0.01, 0.01, 0.02, 0.02]
    assert list(data.samples["kind"]) == ["latency", "pipelined"] * 2
    assert data.rows["batch"].dtype == "Int64"
    assert data.rows["latency_median_s"].dtype == "float64"


def test_a_csv_alone_has_rows_and_nothing_else(tmp_path: Path) -> None:
    data = load(written(tmp_path, ROW))
    assert len(data.rows) == 1
    assert data.samples.empty
    assert data.run == {}


def test_what_is_unknown_is_an_empty_cell_and_none(tmp_path: Path) -> None:
    path = written(tmp_path, ROW)
    assert path.read_text(encoding="utf-8").splitlines()[1].count(",") == len(COLUMNS) - 1
    rows = load(path).rows
    assert rows["tf32"][0] is None
    assert pd.isna(rows["latency_median_s"][0])
    assert "None" not in path.read_text(encoding="utf-8")


def test_floats_come_back_to_the_last_bit(tmp_path: Path) -> None:
    value = 0.1 + 0.2
    row = Row(case_id="c", phase="forward", status="ok", batch=8, latency_median_s=value)
    assert load(written(tmp_path, row)).rows["latency_median_s"][0] == value


@pytest.mark.parametrize("text", ["=1+1", "+x", "-x", "@x", "\tx", "\rx", "'=x", "''-1", "'plain"])
def test_no_text_is_a_formula_and_every_text_comes_back(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, Row(case_id=text, phase="forward", status="ok", batch=8))
    with path.open(encoding="utf-8", newline="") as file:
        cell = list(csv.reader(file))[1][1]
    assert cell[0] not in "=+-@\t\r"
    assert load(path).rows["case_id"][0] == text


def test_a_file_of_an_earlier_version_lacks_an_axis_whose_default_held_there(
    tmp_path: Path,
) -> None:
    path = written(tmp_path, ROW)
    with path.open(encoding="utf-8", newline="") as file:
        header, line = csv.reader(file)
    at = header.index("grad_mode")
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header[:at] + header[at + 1 :], line[:at] + line[at + 1 :]])
    assert list(load(path).rows["grad_mode"]) == ["inference_mode"]


@QUICK
@given(text=st.text(st.characters(codec="utf-8"), min_size=1))
def test_any_text_comes_back(tmp_path: Path, text: str) -> None:
    row = Row(case_id="c", status="crash", reason=text, subject=text)
    rows = load(written(tmp_path, row)).rows
    assert (rows["reason"][0], rows["subject"][0]) == (text, text)


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
        value = load(with_cell(tmp_path, column, cell)).rows[column][0]
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
        ("status", "great", "status 'great' is none; it is one of ok, unsupported"),
        ("latency_median_s", "fast", "latency_median_s 'fast' is no finite number"),
        ("latency_median_s", "nan", "is no finite number"),
        ("latency_median_s", "1e999", "is no finite number"),
        ("latency_median_s", "1_0", "is no finite number"),
        ("latency_median_s", "0", "is not above 0"),
        ("images_per_s", "-1", "is not above 0"),
        ("compile_cold_s", "-3", "compile_cold_s '-3' is below 0"),
        ("tuning_s", "-0.1", "is below 0"),
        ("batch", "1.5", "is no whole number"),
        ("batch", "", "batch '' is empty; rows that are ok have one"),
        ("case_id", "", "case_id '' is empty"),
        ("phase", "", "rows that are ok have one"),
    ],
)
def test_a_wrong_cell_is_named(tmp_path: Path, column: str, cell: str, says: str) -> None:
    with pytest.raises(ReadError) as caught:
        load(with_cell(tmp_path, column, cell))
    assert str(caught.value).startswith(f"{tmp_path / 'measurements.csv'}, line 2: ")
    assert says in str(caught.value)


def test_what_is_spent_once_may_be_nothing(tmp_path: Path) -> None:
    assert load(with_cell(tmp_path, "tuning_s", "0")).rows["tuning_s"][0] == 0


def test_a_run_json_that_is_nested_without_end_is_refused(tmp_path: Path) -> None:
    written(tmp_path, ROW)
    (tmp_path / "run.json").write_text('{"config": ' + "[" * 50 + "]" * 50 + "}")
    assert (
        outcome(tmp_path)[1] == f"{tmp_path / 'run.json'}: is nested too deep; no run's facts are"
    )


def test_what_is_broken_in_run_json_is_unknown(tmp_path: Path) -> None:
    written(tmp_path, ROW)
    (tmp_path / "run.json").write_text('{"schema": 1, "machine": {"cores": 2, "peaks": []}}')
    assert load(tmp_path).run == {"schema": 1, "machine": {"cores": 2}}


def test_the_same_phase_of_a_case_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="line 3: case_id 'c' stands twice"):
        load(written(tmp_path, ROW, ROW))


def test_a_missing_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="nowhere: no such file or directory"):
        load(tmp_path / "nowhere")
    with pytest.raises(ReadError, match=r"holds no measurements\.csv"):
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
    assert load(path).rows["case_id"][0] == "c"


def test_columns_of_a_later_version_are_passed_over(tmp_path: Path) -> None:
    path = written(tmp_path, ROW)
    header, line = path.read_text(encoding="utf-8").splitlines()
    path.write_text(f"{header},later\n{line},1\n", encoding="utf-8")
    assert tuple(load(path).rows.columns) == COLUMNS


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
    write_measurements(tmp_path / "measurements.csv", aggregate.rows(entries, run=run))
    from_journal = load(tmp_path).samples
    write_samples(tmp_path / "samples.csv", entries, "r")
    pd.testing.assert_frame_equal(from_journal, load(tmp_path).samples)
    assert list(from_journal["seconds"]) == [0.25, 0.5, 0.25, 0.5]
