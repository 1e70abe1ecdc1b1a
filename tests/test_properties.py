"""Whatever comes in from outside is refused in one line or is all there; names do no harm.

The journal's own properties stand in test_journal, those of run.json in test_resume, of single
cells and files of a CSV in test_table.
"""

import csv
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from bench import journal
from bench.axes import AXES
from bench.config import ConfigError, load
from bench.errors import UserError, one_line
from bench.plan import Plan, PlanError, make
from bench.probe import Device, Layer, Probe, SubjectFound
from bench.progress import Bar
from bench.read import aggregate, markdown, show, table, write
from bench.read.plot_style import plain
from bench.records import Failure, to_line
from bench.session import Folders
from tests.cases import PLAIN, case

QUICK = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)
TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
HOSTILE = (
    "=cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "\t=1+1",
    "\x1b]0;owned\x07\x1b[2J\x9b31m",
    "$(touch owned); `touch owned` && ../../owned\n",
    "<script>alert(1)</script> | **bold** [x](javascript:alert(1)) ![i](http://x/y.png)",
    "[red]markup[/red] [link=file:///etc/passwd]x[/link]",
    "\u202eltr\u2066 \ud800".encode("utf-8", "replace").decode(),
)


class Written(str):
    """A value of TOML as it is written there."""

    __slots__ = ()


HUGE = st.sampled_from(
    [
        Written(text)
        for text in (
            "9" * 5000,
            "9" * 4000,
            "-" + "9" * 4000,
            "0x" + "f" * 5000,
            "0x8000000000000000",
            "-9223372036854775809",
            "[" * 400 + "]" * 400,
            "[0x" + "f" * 5000 + "]",
            "{a = 0x" + "f" * 5000 + "}",
            "0000-00-00",
            '"\\u0000"',
        )
    ]
)
SCALARS = st.none() | st.booleans() | st.integers(-10, 10) | st.floats() | TEXT
VALUES = SCALARS | HUGE | st.lists(SCALARS, max_size=3)
KEYS = st.sampled_from([axis.name for axis in AXES] + ["subject", "layers", "what"])
OPTIONS = st.sampled_from(["replicates", "precision", "budget_s", "timeout_s", "seed", "what"])


def toml(value: Any) -> str:
    """As TOML writes it, near enough: what it has no word for makes the file none."""
    if isinstance(value, Written):
        return value
    return str(value) if isinstance(value, float) else json.dumps(value)


@QUICK
@given(
    run=st.dictionaries(OPTIONS, VALUES, max_size=3),
    sweeps=st.lists(st.dictionaries(KEYS, VALUES, max_size=3), max_size=2),
)
def test_a_configuration_of_any_values_is_taken_or_refused_in_one_line(
    tmp_path: Path, run: dict[str, Any], sweeps: list[dict[str, Any]]
) -> None:
    path = tmp_path / "bench.toml"
    tables = [("[run]", run), *(("[[sweep]]", sweep) for sweep in sweeps)]
    lines = [
        line
        for head, fields in tables
        for line in (head, *(f"{key} = {toml(value)}" for key, value in fields.items()))
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    try:
        config = load(path)
    except ConfigError as error:
        assert "\n" not in one_line(error)
        assert one_line(error).isprintable()
        return
    assert len(config.sweeps) == max(1, len(sweeps))
    assert json.loads(json.dumps(config.as_dict()))["replicates"] == config.run.replicates


@QUICK
@given(
    table=st.tuples(st.just("[run]"), OPTIONS) | st.tuples(st.just("[[sweep]]"), KEYS), value=HUGE
)
def test_a_value_that_python_itself_refuses_to_show_is_refused_in_one_line(
    tmp_path: Path, table: tuple[str, str], value: Written
) -> None:
    head, key = table
    path = tmp_path / "bench.toml"
    path.write_text(f"{head}\n{key} = {value}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert one_line(caught.value).isprintable()
    assert len(one_line(caught.value)) < 1000


DEVICES = (
    Device(name="cpu", shown="a CPU"),
    Device(name="cuda:0", shown="a GPU", has_cudnn=True, has_tf32=True),
    Device(name="cuda:1", shown="an old GPU", has_cudnn=True),
    Device(name="xpu:0", shown="another"),
)
OPEN = {
    "batch": ("1", "8", "32"),
    "input": ("3,8,8", "4", "3,8,8; 2:int64<9"),
    "device": tuple(device.name for device in DEVICES),
    "threads": ("auto", "2"),
}
LAYERS = (
    Layer(name="conv", alias=None, type="Conv2d"),
    Layer(name="f", alias=None, type="Flatten"),
)


@QUICK
@given(
    flags=st.fixed_dictionaries(
        {
            axis.name: st.lists(
                st.sampled_from(axis.values or OPEN[axis.name]), min_size=1, max_size=3, unique=True
            )
            for axis in AXES
        }
    ),
    subject=st.sampled_from(["torch.nn:ReLU", "torch.nn:ReLU/conv", "torch.nn:ReLU/f"]),
    devices=st.lists(st.sampled_from(DEVICES), min_size=1, unique=True),
)
def test_every_combination_is_a_case_or_is_left_out_with_its_reason(
    tmp_path: Path, flags: dict[str, list[str]], subject: str, devices: list[Device]
) -> None:
    probe = Probe(
        torch="2.13.0",
        facts={},
        devices={device.name: device for device in devices},
        subjects={"torch.nn:ReLU": SubjectFound(layers=LAYERS)},
    )
    plan: Plan
    one_sweep = tmp_path / "bench.toml"
    one_sweep.write_text("[[sweep]]\n")
    try:
        plan = make(load(one_sweep, flags=flags, subjects=[subject]), probe)
    except PlanError as error:
        missing = set(flags["device"]) - set(probe.devices)
        assert missing or str(error).startswith("nothing to measure: ")
        return
    asked = math.prod(len(values) for values in flags.values())
    assert len(plan.cases) + len(plan.left_out) == asked
    assert len({case.case_id for case in plan.cases}) == len(plan.cases)
    assert all(one.reason for one in plan.left_out)
    for one in plan.cases:
        told = Failure(case=one, replicate=0, status="error", reason="why")
        assert journal.entry_of(to_line(told)) == told


def every_hostile(test: Any) -> Any:
    """The same test for each of HOSTILE, beside what hypothesis finds."""
    for text in HOSTILE:
        test = example(text=text)(test)
    return test


@every_hostile
@QUICK
@given(text=TEXT)
def test_a_name_makes_a_file_name_that_a_shell_takes_as_it_is(text: str) -> None:
    name = Folders(Path("s"), Path("f")).of(case(subject=f"m:f({text!r})"))
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._=-]{0,120}", name)


@every_hostile
@QUICK
@given(text=TEXT)
def test_nothing_that_a_terminal_acts_on_reaches_it(text: str) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=False, width=100)
    failure = Failure(case=case(subject=text), replicate=0, status="error", reason=text)
    bar = Bar(console)
    bar.begin(1)
    bar.done(failure, 0)
    console.print(show.safe(text))
    shown = out.getvalue() + one_line(UserError(text)) + plain(text)
    assert all(sign.isprintable() or sign == "\n" for sign in shown)


def test_no_markup_of_the_terminals_library_is_taken_for_its_own() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=200, color_system="truecolor")
    bar = Bar(console)
    text = "[red]markup[/red] [link=file:///etc/passwd]x[/link]"
    bar.done(Failure(case=case(subject=text), replicate=0, status="error", reason=text), 0)
    assert "\x1b" not in out.getvalue()
    assert text in out.getvalue()


@every_hostile
@QUICK
@given(text=TEXT)
def test_no_name_is_html_or_markdown_in_a_report(text: str) -> None:
    safe = markdown.escape(text)
    assert not set(safe) & set("<>|`*_[]~@$\\\n")
    assert "://" not in safe


@every_hostile
@QUICK
@given(text=TEXT)
def test_no_failure_is_lost_between_the_journal_and_the_csv(tmp_path: Path, text: str) -> None:
    path = tmp_path / "journal.jsonl"
    path.unlink(missing_ok=True)
    reason = text or "why"
    kept = [
        Failure(case=case(batch=batch), replicate=0, status="crash", reason=reason)
        for batch in (1, 8)
    ]
    log = journal.Journal(path)
    for one in kept:
        log.append(one)
    log.close()
    rows = aggregate.rows(journal.read(path), run={"run_id": "r", "config": {"replicates": 1}})
    write.write_measurements(tmp_path / "measurements.csv", rows)
    with (tmp_path / "measurements.csv").open(encoding="utf-8", newline="") as file:
        cells = [cell for line in csv.reader(file) for cell in line]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    read = table.load(tmp_path / "measurements.csv").rows
    assert sorted(read["batch"]) == [1, 8]
    assert set(read["reason"]) == {reason}
    assert set(read["subject"]) == {PLAIN.subject}
