"""The page of a report: what stands in it, in which order, and that names are text."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from bench import report
from bench.read import page, page_plots, page_runs
from bench.read.page import build, repeat
from bench.read.table import ReadError
from bench.records import Entry, Failure
from tests import synthetic
from tests.cases import case
from tests.results import replicates, run_of

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
    return dict(json.loads(found[1]))


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
    assert "Fastest for inference of convnet" in html
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
    assert data["columns"]["latency_median_s"] == [0.011, 0.005, None]
    assert data["columns"]["status"] == ["ok", "ok", "oom"]
    assert "tuning_s" not in data["columns"]
    assert data["meaning"]["batch"] == "images per call"


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
    found = page_runs.history(runs)
    assert [one.full for one in found.runs] == ["run2", "run1", "run0"]
    assert found.rows[0].cells[0].startswith("30.0 ms")
    assert "History" in build(runs).html


def test_runs_of_two_machines_say_that_they_do_not_judge_the_code(tmp_path: Path) -> None:
    one = run_of(tmp_path / "one", replicates(case(), [0.01] * 5))
    machine = {"machine_id": "m2"}
    other = run_of(tmp_path / "two", replicates(case(), [0.02] * 5), machine=machine)
    assert "different machines: what differs says nothing of the code" in build([one, other]).html


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
    assert repeat({"command": command, "environment": {"git_commit": "abc"}}).startswith(line)


def test_plots_turn_dark_where_the_reader_wants_it() -> None:
    svg = page_plots.both_papers(
        '<svg><defs></defs><path style="fill: #333333; stroke: #D55E00"/></svg>'
    )
    assert 'style="fill: var(--c333333,#333333); stroke: #D55E00"' in svg
    assert "--c333333:#d5dae0" in svg
    assert "prefers-color-scheme: dark" in svg


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
    with pytest.raises(report.ReportError, match=f"was left by `bench {command}`"):
        report.report([tmp_path], None)


def test_a_run_that_is_not_finished_says_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(report.ReportError, match="go on with: bench run --resume"):
        report.report([tmp_path], None)


def test_the_directory_of_another_run_is_not_written_to(tmp_path: Path) -> None:
    for name in ("one", "other"):
        run_of(tmp_path / name, synthetic.entries())
    before = sorted((tmp_path / "other").rglob("*"))
    with pytest.raises(report.ReportError, match="is the directory of a run"):
        report.report([tmp_path / "one"], tmp_path / "other")
    assert sorted((tmp_path / "other").rglob("*")) == before


def test_a_folder_without_results_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"holds no measurements\.csv"):
        report.report([tmp_path], None)
