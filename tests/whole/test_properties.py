"""Whatever comes in from outside is refused in one line or is all there; names do no harm.

The journal's own properties stand in test_journal, those of run.json in test_resume, of single
cells and files of a CSV in test_table.
"""

import contextlib
import csv
import io
import json
import math
import random
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from bench.compare import speedup
from bench.compare.match import COMPARABLE
from bench.core import decode
from bench.core.axes import AXES
from bench.core.errors import UserError, one_line
from bench.core.records import COLUMNS, Entry, Failure, StaticMetrics, to_line
from bench.core.text import plain
from bench.host.probed import Device, Layer, Probe, SubjectFound
from bench.html import page
from bench.plan.config import ConfigError, load
from bench.plan.expand import Plan, PlanError, make
from bench.results import aggregate, csv_files, journal, loading, run_json
from bench.results.results import NUMBERS as NUMBER_COLUMNS
from bench.results.results import Results
from bench.results.run_directory import Folders
from bench.terminal.progress import Bar
from bench.verdict import markdown, outputs, tables, two_runs
from tests.support import synthetic
from tests.support.cases import PLAIN, case
from tests.support.results import RUN, run_of

QUICK = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)
FEW = settings(QUICK, max_examples=25)  # of what takes a third of a second each
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
        torch_details={},
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
        assert decode.entry(to_line(told)) == told


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
    console.print(tables.safe(text))
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
    run = run_json.of({"run_id": "r", "config": {"replicates": 1}})
    rows = aggregate.rows(journal.read(path), run=run)
    csv_files.write_measurements(tmp_path / "measurements.csv", rows)
    with (tmp_path / "measurements.csv").open(encoding="utf-8", newline="") as file:
        cells = [cell for line in csv.reader(file) for cell in line]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    read = loading.load(tmp_path / "measurements.csv").rows
    assert sorted(int(row.batch or 0) for row in read) == [1, 8]
    assert {row.reason for row in read} == {reason}
    assert {row.subject for row in read} == {PLAIN.subject}


# --- results that someone else has written ------------------------------------------------------

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
LADDER = {
    "threads": "auto",
    "arithmetic": {"float32": [{"what": "m", "amount": 1e6, "per_s": 1e11}]},
    "traffic": [{"what": "copy", "amount": 1e6, "per_s": 1e10}],
    "disturbed": False,
}
DESCRIBED: dict[str, Any] = {
    **RUN,
    "command": ["bench", "run"],
    "started": "2026-01-02T03:04:05+00:00",
    "machine": {**RUN["machine"], "cpu_flags": ["avx2"], "peaks": {"cpu": [LADDER]}},
    "layers": {"convnet": [{"name": "model.0", "alias": "conv1", "same_as": ["a"], "calls": 2}]},
}
# Each is right in some column and wrong, or extreme, in others.
NUMBERS = (
    *("", "None", "0", "-1", "1", "8", "0.5", "1e-300", "1e300", "5e-324", "1.7e308", "1e15"),
    *("9007199254740991", "nan"),
)
WORDS = (
    *("ok", "oom", "crash", "inference", "training", "forward", "backward", "step", "input_pinned"),
    *("cpu", "cuda:0", "float32", "bfloat16", "off", "on", "channels_last", "noisy;;x", "=1+1"),
    *("convnet", "convnet/conv1", "convnet/conv1#2", "convnet/", "/", "a:b("),
)
ANY_CELL = st.sampled_from((*NUMBERS, *WORDS)) | TEXT
CHANGES = st.tuples(
    st.integers(0, 99),
    st.sampled_from(sorted(NUMBER_COLUMNS)),
    st.sampled_from(NUMBERS) | st.floats(min_value=0, allow_infinity=False).map(repr) | ANY_CELL,
) | st.tuples(st.integers(0, 99), st.sampled_from(COLUMNS), ANY_CELL)


def results() -> list[Entry]:
    """Both modes, two layouts, three batch sizes, a layer, a GPU, a failure; replicates few."""
    cases = [
        case(mode=mode, batch=batch, memory_format=layout)
        for mode in ("inference", "training")
        for layout in ("contiguous", "channels_last")
        for batch in (1, 8)
    ]
    cases += [case(subject="convnet/conv1", mode=mode) for mode in ("inference", "training")]
    cases += [case(device="cuda:0", threads=None, allocator=None)]
    found: list[Entry] = [Failure(case=case(batch=64), replicate=0, status="oom", reason="why")]
    rng = random.Random(0)
    for one in cases:
        found += synthetic.measured(one, 1e-3 * one.batch, 3, rng)
        figures = {"peak_bytes": 1e6, "flops": 1e8, "bytes_moved": 1e6, "relative_error": 1e-6}
        found.append(StaticMetrics(case=one, metrics={**figures, "compile_cold_s": 1.0}))
    return found


def replaced(value: Any, path: Sequence[int], new: Any) -> Any:
    """The value with another at one place of it; path: which of the parts, level by level."""
    if not path or not isinstance(value, dict | list) or not value:
        return new
    here, rest = path[0], path[1:]
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = keys[here % len(keys)]
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[key] = replaced(value[key], rest, new)
    return copy


def all_read(folder: Path, other: Results) -> None:
    """All that reads results, of this run, alone and beside another.  Raises UserError."""
    run = loading.load(folder)
    for runs in ([run], [run, other], [other, run, other]):
        assert "</html>" in page.build(runs).html
    for axis in COMPARABLE:
        with contextlib.suppress(UserError):
            speedup.within(run, axis)
    speedup.between(other, run)
    speedup.between(run, other)
    for judged in (
        two_runs.check(run, other),
        two_runs.check(other, run),
        two_runs.check(run, None),
    ):
        text = outputs.markdown(judged)
        assert all(one.verdict in text for one in judged.findings)


def refusal(folder: Path, other: Results) -> str | None:
    """The message of a refusal; None where everything is read."""
    try:
        all_read(folder, other)
    except UserError as error:
        assert one_line(error).isprintable()
        return str(error)
    return None


def is_one_line_about(folder: Path, refused: str | None) -> bool:
    """Return whether a refusal, if there is one, is one line that names the file."""
    return refused is None or ("\n" not in refused and str(folder) in refused)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A run as this suite writes it."""
    return run_of(tmp_path_factory.mktemp("whole") / "one", results(), **DESCRIBED)


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """A figure takes a second."""
    monkeypatch.setattr(page, "_figures", lambda _: {})


@pytest.mark.usefixtures("no_plots")
@FEW
@given(path=st.lists(st.integers(0, 9), max_size=7), new=ANY_JSON)
@example(path=[], new={"machine": {"peaks": []}})
@example(path=[], new={"machine": {"peaks": {"cpu": [{"arithmetic": {}, "traffic": []}]}}})
@example(path=[], new={"command": 5})
@example(path=[], new={"layers": {"convnet": [{"name": "a", "calls": "two"}]}})
@example(path=[], new={"environment": {"git_commit": [1]}})
def test_a_run_json_of_any_shape_is_read_or_refused_in_one_line(
    tmp_path: Path, whole: Results, path: list[int], new: Any
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole.path, folder, dirs_exist_ok=True)
    changed = replaced(DESCRIBED, path, new)
    (folder / "run.json").write_text(json.dumps(changed), encoding="utf-8")
    assert is_one_line_about(folder, refusal(folder, whole))


@pytest.mark.usefixtures("no_plots")
@FEW
@given(changes=st.lists(CHANGES, min_size=1, max_size=4), samples=st.booleans())
@example(changes=[(1, "batch", "")], samples=True)
def test_measurements_with_any_cells_changed_are_read_or_refused_in_one_line(
    tmp_path: Path, whole: Results, changes: list[tuple[int, str, str]], samples: bool
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole.path, folder, dirs_exist_ok=True)
    if not samples:
        (folder / "samples.csv").unlink()
    with (folder / "measurements.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    for number, column, cell in changes:
        rows[number % len(rows)][header.index(column)] = cell
    with (folder / "measurements.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    assert is_one_line_about(folder, refusal(folder, whole))
