"""The page of a report: what stands in it, in which order, and that names are text."""

import dataclasses
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from bench.commands import report
from bench.core.errors import UserError
from bench.core.records import TRAINING_PHASES, Entry, Failure, Row
from bench.html import findings, page, run_tables, svg, table_data
from bench.html.page import build, repeat
from bench.insights import collect
from bench.results import run_json
from bench.results.csv_files import write_measurements
from bench.results.loading import ReadError, load
from bench.results.results import Results
from tests.support import synthetic
from tests.support.cases import case
from tests.support.results import replicates, run_of

HOSTILE = "</script><img src=x onerror=alert(1)>\x1b[31m&amp;\u202e=1+1"


class Reader(HTMLParser):
    """Texts by tag, and every tag that was seen."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


def data_of(html: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)
    assert found is not None
    data = dict(json.loads(found[1]))
    data["columns"] = {name: unpacked(one, data["rows"]) for name, one in data["columns"].items()}
    return data


def unpacked(packed: dict[str, Any], rows: int) -> list[Any]:
    """As page.js does."""
    if "all" in packed:
        return [packed["all"]] * rows
    if "texts" in packed:
        return [packed["texts"][int(one)] if one else None for one in packed["at"].split(",")]
    return [float(one) if one else None for one in packed["numbers"].split(",")]


def few() -> list[Entry]:
    return [
        *replicates(case(), [0.010, 0.011, 0.012, 0.011, 0.010]),
        *replicates(case(memory_format="channels_last"), [0.005, 0.005, 0.006, 0.005, 0.005]),
        Failure(case=case(batch=64), replicate=0, status="oom", reason="too big for 24 GiB"),
    ]


def test_a_page_says_what_it_found_first_and_then_shows_it(tmp_path: Path) -> None:
    html = build([run_of(tmp_path / "run", few())]).html
    places = [html.index(f'id="{name}"') for name in ("says", "plots", "doubts", "all", "how")]
    assert places == sorted(places)
    assert "is the fastest setting for inference of convnet" in html
    assert "too big for 24 GiB" in html
    assert "git checkout 0123abc4567" in html


def test_a_page_needs_nothing_from_anywhere(tmp_path: Path) -> None:
    html = build([run_of(tmp_path / "run", few())]).html
    reader = Reader(html)
    sources = [value for name, value in reader.attributes if name in ("src", "href", "action")]
    assert sources
    assert all(value and value.startswith(("data:", "#")) for value in sources)
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    assert ("content", f"{policy}script-src 'unsafe-inline'") in reader.attributes


def test_names_are_text_whatever_they_hold(tmp_path: Path) -> None:
    nasty = case(subject=f"net{HOSTILE}")
    broken = Failure(case=case(subject="b"), replicate=0, status="error", reason=HOSTILE)
    run = run_of(
        tmp_path / "run", [*replicates(nasty, [0.01] * 5), broken], command=["bench", HOSTILE],
        config={"source": HOSTILE}, devices={"cpu": HOSTILE},
    )  # fmt: skip
    html = build([run]).html
    assert Reader(html).tags.count("script") == 2
    assert "onerror" not in [name for name, _ in Reader(html).attributes]
    assert not {"\x1b", "\u202e"} & set(html)
    assert data_of(html)["columns"]["subject"][0].startswith("net</script><img src=x")


def test_every_column_that_holds_anything_is_in_the_details_with_its_meaning(
    tmp_path: Path,
) -> None:
    data = data_of(build([run_of(tmp_path / "run", few())]).html)
    assert data["columns"]["latency_median_s"] == [0.01077, 0.005186, None]
    assert data["columns"]["status"] == ["ok", "ok", "oom"]
    assert "tuning_s" not in data["columns"]
    assert data["meaning"]["batch"] == "images per call"


def test_what_is_unknown_is_no_word_of_the_language_it_is_written_in(tmp_path: Path) -> None:
    failed = Row(case_id="c", subject="s", status="crash", mode="inference", reason="why")
    html = build([rows_of(tmp_path / "run", [failed])]).html
    assert "None" not in re.sub('src="data:[^"]*"', "", html)
    assert "<li>torch <b>unknown</b></li>" in html
    assert "<td>s<td>inference<td><td><td>plain<td>" in html
    assert "Configuration" not in html


def test_rows_of_one_subject_on_two_inputs_are_told_apart(tmp_path: Path) -> None:
    given = [case(input="3,32,32"), case(input="3,64,64"), case(subject="m:net")]
    run = run_of(tmp_path / "run", [one for each in given for one in replicates(each, [0.01] * 3)])
    html = build([run]).html
    assert ">convnet on 3,32,32<" in html
    assert ">convnet on 3,64,64<" in html
    assert "m:net on" not in html


def test_two_runs_are_before_and_after_and_more_are_a_history(tmp_path: Path) -> None:
    runs = [
        run_of(
            tmp_path / f"run{number}",
            replicates(case(), [0.01 * (1 + number)] * 5),
            started=f"2026-01-0{3 - number}T00:00:00+00:00",
        )
        for number in range(3)
    ]
    two = build(runs[:2])
    assert "run1 against run0, the largest change first" in two.html
    assert "slower" in two.html
    found = run_tables.history(runs)
    assert [one.full for one in found.runs] == ["run2", "run1", "run0"]
    assert found.rows[0].cells[0].startswith("30.0 ms")
    assert "History" in build(runs).html


def test_runs_of_two_machines_say_that_they_do_not_judge_the_code(tmp_path: Path) -> None:
    one = run_of(tmp_path / "one", replicates(case(), [0.01] * 5))
    machine = {"machine_id": "m2"}
    other = run_of(tmp_path / "two", replicates(case(), [0.02] * 5), machine=machine)
    assert (
        "different machines, so the differences say nothing about the code"
        in build([one, other]).html
    )


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (
            ["bench", "run", "--out", "/x y", "--batch", "8"],
            "git checkout abc && bench run --batch 8",
        ),
        (["bench", "run", "--resume=/x"], "git checkout abc && bench run"),
        (
            ["bench", "run", "--subject", "a:b('c')"],
            "git checkout abc && bench run --subject 'a:b(",
        ),
    ],
)
def test_the_command_to_repeat_it_is_fit_for_a_shell(command: list[str], line: str) -> None:
    assert repeat(
        run_json.of({"command": command, "environment": {"git_commit": "abc"}})
    ).startswith(line)


def test_plots_turn_dark_where_the_reader_wants_it() -> None:
    dark = svg.with_dark_colors(
        '<svg><defs></defs><path style="fill: #333333; stroke: #D55E00"/></svg>'
    )
    assert 'style="fill: var(--c333333,#333333); stroke: #D55E00"' in dark
    assert "--c333333:#d5dae0" in dark
    assert "prefers-color-scheme: dark" in dark


def test_too_many_rows_are_the_whole_cases_with_the_csv_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "MOST_LINES", 5)
    folder = tmp_path / "run"
    run_of(folder, synthetic.entries(layers=False))
    assert report.report([folder], tmp_path / "out") == 0
    html = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert len(data_of(html)["columns"]["case_id"]) == 5
    assert "5 of" in html
    assert "those of whole cases. All are in measurements.csv" in html
    copied = (tmp_path / "out/measurements.csv").read_bytes()
    assert copied == (folder / "measurements.csv").read_bytes()


@pytest.mark.parametrize(
    ("values", "packed"),
    [
        ([None, None], None),
        (["cpu", "cpu"], {"all": "cpu"}),
        ([0.01234567, None, 2.0], {"numbers": "0.01235,,2"}),
        ([math.inf, 1.79769e308, 1.0], {"numbers": ",,1"}),
        ([math.inf], None),
        ([2**53 - 1, 8], {"numbers": "9007199254740991,8"}),
        (["b", None, "a", "b"], {"texts": ["b", "a"], "at": "0,,1,0"}),
        (["x" * 1000, None], {"texts": ["x" * 199 + "…" + "x" * 100], "at": "0,"}),
    ],
)
def test_a_column_is_sent_in_its_shortest_shape(
    values: list[Any], packed: dict[str, Any] | None
) -> None:
    assert table_data.pack(values) == packed


def filled(cases: int) -> list[Row]:
    """Training steps on an accelerator of which every column is known and differs."""
    numbers = {column.name: column.type for column in dataclasses.fields(Row)}
    return [
        Row(**{name: value_of(kind, row) for name, kind in numbers.items()} | {
            "run_id": "one", "case_id": f"net{row // 4}:training:b32:3x224x224:cuda:0:float32",
            "subject": f"net{row // 4}", "mode": "training", "status": "ok", "batch": 32,
            "phase": TRAINING_PHASES[row % 4], "flags": ("contended;noisy", "unsteady")[row % 2],
            "latency_low_s": 1e-3, "latency_median_s": 2e-3 + 1e-7 * row, "latency_high_s": 3e-3,
        })
        for row in range(4 * cases)
    ]  # fmt: skip


def value_of(kind: Any, row: int) -> Any:
    if kind == str | None:
        return "a text"
    return 1_234_567 + row if kind == int | None else 1.2345e9 * (1 + row / 1000)


def rows_of(folder: Path, rows: list[Row]) -> Results:
    folder.mkdir()
    write_measurements(folder / "measurements.csv", rows)
    return load(folder)


def test_four_thousand_rows_of_which_every_column_is_filled_leave_room_for_the_plots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "_figures", lambda _: {})
    made = build([rows_of(tmp_path / "run", filled(1000))])
    assert made.whole
    assert made.html.count("<tr data-row") == 4000
    assert len(made.html.encode()) < page.PAGE_BYTES - page.PLOTS_BYTES


def test_names_of_thousands_of_signs_are_shortened_and_more_of_them_in_the_title(
    tmp_path: Path,
) -> None:
    long = [f"net{number}{'x' * 10_000}/end{number}" for number in range(200)]
    rows = [dataclasses.replace(one, subject=name, case_id=f"{name}:b32", reason=name)
            for name, one in zip(long, filled(200)[::4], strict=True)]  # fmt: skip
    failed = [
        dataclasses.replace(rows[0], phase=None, status="crash", case_id=f"{name}:b1")
        for name in long
    ]
    made = build([rows_of(tmp_path / "run", rows + failed)])
    assert made.whole
    assert len(made.html.encode()) < 2_500_000
    assert not re.search("x{400}", re.sub('src="data:[^"]*"', "", made.html))
    head = re.search("<h1>(.*)</h1>", made.html)
    assert head is not None
    assert len(head[1]) < 400
    assert re.search(r'<td title="net7x{190,}…x{80,}/end7">net7x+…x+/end7<', made.html)


def test_a_page_that_is_too_large_falls_back_to_whole_cases_and_then_to_no_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "_figures", lambda _: {})
    run = rows_of(tmp_path / "run", filled(25))
    whole = build([run])
    monkeypatch.setattr(page, "PAGE_BYTES", len(whole.html.encode()) - 1)
    fewer = build([run])
    assert not fewer.whole
    assert fewer.html.count("<tr data-row") == 25
    monkeypatch.setattr(page, "PAGE_BYTES", len(fewer.html.encode()) - 1)
    none = build([run])
    assert not none.whole
    assert "100 rows are too many for this page. All are in measurements.csv" in none.html
    assert '<table id="rows">' not in none.html
    assert "<h2>What it says</h2>" in none.html


def test_at_most_eight_findings_stand_open_and_the_others_are_folded(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", synthetic.entries(gpu=True), layers=synthetic.LISTED)
    told = findings.of_runs([("", run)])
    assert len(told.first) == 8
    folded = [one for _, own, _ in told.more for one in own]
    assert len(folded) == told.more_count
    assert len(folded) + 8 == len(collect.of_run(run))
    html = build([run]).html
    assert html.index("<h2>What it says</h2>") < html.index('<details id="more">')


def test_a_heading_has_so_many_sentences_and_says_how_many_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(findings, "MOST_SENTENCES", 3)
    html = build([run_of(tmp_path / "run", synthetic.entries())]).html
    told = re.search(r"<h3>Setting by setting</h3>(.*?)(?:<h[23]>|</section>)", html, re.S)
    assert told is not None
    assert told[1].count("<li") == 3
    assert re.search(r'<p class="soft">\d+ more\.</p>', told[1])


def test_a_history_of_many_runs_has_fewer_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_tables, "MOST_CELLS", 36)
    runs = [run_of(tmp_path / f"run{n}", synthetic.entries(layers=False)) for n in range(3)]
    found = run_tables.history(runs)
    assert len(found.rows) == 12
    assert found.left_out == "18 more cases are left out."


def test_the_page_of_one_run_lies_in_its_folder_beside_its_plots(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run_of(folder, few())
    assert report.report([folder], None) == 0
    assert (folder / "report.html").exists()
    assert list((folder / "plots").glob("*.png"))
    assert list((folder / "plots").glob("*.svg"))


@pytest.mark.parametrize(("left", "command"), [("ab.json", "ab"), ("case/profile.json", "profile")])
def test_what_another_command_left_is_no_run(tmp_path: Path, left: str, command: str) -> None:
    (tmp_path / left).parent.mkdir(exist_ok=True)
    (tmp_path / left).touch()
    with pytest.raises(UserError, match=f"was left by `bench {command}`"):
        report.report([tmp_path], None)


def test_a_run_that_is_not_finished_says_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ReadError, match="go on with: bench run --resume"):
        report.report([tmp_path], None)


def test_the_directory_of_another_run_is_not_written_to(tmp_path: Path) -> None:
    for name in ("one", "other"):
        run_of(tmp_path / name, synthetic.entries())
    before = sorted((tmp_path / "other").rglob("*"))
    with pytest.raises(report.ReportError, match="is the directory of a run"):
        report.report([tmp_path / "one"], tmp_path / "other")
    assert sorted((tmp_path / "other").rglob("*")) == before


def test_a_folder_without_results_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"has no measurements\.csv"):
        report.report([tmp_path], None)
