"""The last lines of `bench run` and `bench ab`, and a second run into a directory."""

import dataclasses
import errno
import io
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from bench.ab import decision, scheduler
from bench.commands import ab, profile, provenance, report, run
from bench.core.errors import UserError
from bench.engine.spent import Spent
from bench.host import preflight
from bench.host.probed import Device, Probe, SubjectFound
from bench.plan import config, expand
from bench.results import run_directory
from bench.verdict import outputs
from bench.verdict.comparison import PairComparison
from bench.verdict.report import Report
from tests.support.cases import PLAIN

EXAMPLE = Path(__file__).parents[2] / "results" / "example"

FOLDERS = (
    ("run", "run"),
    ("a[/bold]", "'a[/bold]'"),
    ("run[old]", "'run[old]'"),
    ("my run; touch owned", "'my run; touch owned'"),
    ("x\x1b[2Jy", "'x?[2Jy'"),
    ("long" * 40, "long" * 40),
)


class Ending:
    """A runner that is ended, or whose budget is spent, before it measures anything."""

    interrupted = False

    def __init__(self, *, spent: Spent, **_: object) -> None:
        self.spent = spent

    def measure(self) -> bool:
        if self.interrupted:
            raise KeyboardInterrupt
        return False


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "Runner", Ending)
    monkeypatch.setattr(run, "_derive", lambda *_: 0)
    monkeypatch.setattr(Ending, "interrupted", False)
    return tmp_path


def begun(directory: run_directory.RunDir, **more: Any) -> Any:
    empty = expand.Plan((), ())
    return run._Begun(directory, empty, config.RunOptions(), "2.13.0", {}, {}, **more)


def said(act: Any) -> list[str]:
    """The lines that a narrow terminal is sent."""
    out = io.StringIO()
    act(Console(file=out, force_terminal=True, width=40, color_system="truecolor"))
    return out.getvalue().splitlines()


@pytest.mark.parametrize(("name", "word"), FOLDERS)
@pytest.mark.parametrize(
    ("interrupted", "begins"), [(True, "interrupted; to resume"), (False, "to measure the rest")]
)
def test_the_command_to_go_on_with_is_one_line_that_a_shell_takes_as_it_is(
    monkeypatch: pytest.MonkeyPatch, name: str, word: str, interrupted: bool, begins: str
) -> None:
    monkeypatch.setattr(Ending, "interrupted", interrupted)
    directory = run_directory.create(Path(name), {})
    lines = said(lambda console: run._measure(begun(directory), console))
    assert lines[-1] == f"{begins}: bench run --resume {word}"


@pytest.mark.parametrize(("name", "word"), FOLDERS)
@pytest.mark.parametrize("interrupted", [True, False])
def test_so_is_that_of_a_comparison(
    monkeypatch: pytest.MonkeyPatch, name: str, word: str, interrupted: bool
) -> None:
    monkeypatch.setattr(scheduler.Pairs, "measure", Ending.measure)
    monkeypatch.setattr(scheduler.Pairs, "interrupted", interrupted, raising=False)
    nothing = Report(comparison=PairComparison(), base="A", value="B", threshold=0.05, findings=())
    for module, function in ((decision, "decided"), (decision, "write"), (outputs, "tell")):
        monkeypatch.setattr(module, function, lambda *_, **__: nothing)
    path = Path(name)
    (path / ".scratch").mkdir(parents=True)
    planned: Any = SimpleNamespace(
        sides=(), cases={"a": {"A": PLAIN, "B": PLAIN}}, machine_id="m", thresholds={},
        run=config.RunOptions(), threshold=0.05, pairs=40,
    )  # fmt: skip
    lines = said(lambda console: ab._measure(path, planned, console, strict=False))
    begins = "interrupted; to resume" if interrupted else "to measure the rest"
    assert lines == [f"{begins}: bench ab --resume {word}"]


@pytest.mark.parametrize("name", [name for name, _ in FOLDERS])
def test_where_a_profile_that_was_interrupted_lies_is_said_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    def interrupt(*_: object) -> Any:
        raise KeyboardInterrupt

    found = SimpleNamespace(torch="2.13.0")
    monkeypatch.setattr(provenance, "look", lambda _: found)
    monkeypatch.setattr(expand, "make", lambda *_: expand.Plan((), ()))
    monkeypatch.setattr(profile, "_begin", lambda *_: run_directory.RunDir(Path(name)))
    monkeypatch.setattr(profile, "_profiles", interrupt)
    assert profile.run(profile.Asked()) == 130
    shown = name.replace("\x1b", "?")
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"interrupted; the results so far are in {shown}"


def test_a_run_that_is_not_finished_is_no_report_but_a_command_that_is_safe() -> None:
    path = Path("my run; touch owned")
    run_directory.create(path, {})
    with pytest.raises(UserError, match=r"to resume: bench run --resume 'my run; touch owned'$"):
        report.report([path], None)


def test_a_resume_that_is_refused_for_another_run_changes_nothing() -> None:
    directory = run_directory.create(Path("run"), {"config": {"replicates": 5}})
    before = directory.description.read_bytes()
    holder = run_directory.lock(directory)
    second = begun(directory, description={"config": {"replicates": 2}})
    with pytest.raises(UserError, match="another `bench run` is writing here"):
        said(lambda console: run._measure(second, console))
    assert directory.description.read_bytes() == before
    run_directory.release(holder)
    said(lambda console: run._measure(second, console))
    assert json.loads(directory.description.read_text())["config"] == {"replicates": 2}


def test_a_search_is_no_run_to_report(tmp_path: Path) -> None:
    search = run_directory.create(tmp_path / "search", {"tune": {}})
    with pytest.raises(UserError, match="was left by `bench tune`"):
        report.report([search.path], None)


def test_a_run_from_before_an_option_was_there_can_be_resumed(tmp_path: Path) -> None:
    stored = json.loads((EXAMPLE / "run.json").read_text(encoding="utf-8"))
    for name in run.NEWER_OPTIONS:
        stored["config"].pop(name, None)
    *_, cases, options = run._stored_plan(tmp_path, stored)
    assert len(cases) == len(stored["cases"])
    assert (options.replicates, options.first_replicates) == (5, 5)
    del stored["config"]["replicates"]
    with pytest.raises(run.MeasureError, match=r"its run\.json is damaged"):
        run._stored_plan(tmp_path, stored)


def test_every_option_is_in_a_stored_run_or_known_to_be_newer() -> None:
    stored = json.loads((EXAMPLE / "run.json").read_text(encoding="utf-8"))
    assert set(config.RunOptions.model_fields) - set(stored["config"]) <= run.NEWER_OPTIONS


def test_a_search_is_not_resumed_as_a_run(tmp_path: Path) -> None:
    search = run_directory.create(tmp_path / "search", {"tune": {}})
    with pytest.raises(UserError, match="to resume: bench tune --resume"):
        run._resume(run.Asked(resume=search.path))


def test_the_link_latest_names_the_last_run_and_no_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        made = run_directory.create(Path("results") / name, {})
        run_directory.finish(made, complete=True)
        if name == "one":
            run_directory.link_latest(made)
    assert Path("results/latest").resolve().name == "one"


@pytest.mark.parametrize(
    ("asked", "sweep"),
    [
        (run.Asked(), config.DEFAULT),
        (run.Asked(subjects=("convnet/conv1",)), config.DEFAULT),
        (run.Asked(subjects=("my.models:net",)), config.OWN),
        (run.Asked(quick=True), config.QUICK),
        (run.Asked(subjects=("my.models:net",), quick=True), config.QUICK),
        (run.Asked(cases=("convnet/fc:x",), quick=True), config.DEFAULT),
    ],
)
def test_a_run_without_a_file_has_the_sweep_of_what_it_is_asked_for(
    asked: run.Asked, sweep: Path
) -> None:
    assert run._default_sweep(asked) == sweep


def test_a_quick_run_with_a_budget_of_its_own_has_no_other_limit() -> None:
    quick = run.config_of(run.Asked(quick=True)).run
    assert (quick.replicates, quick.extras_s, quick.budget_s) == (3, 50.0, 80.0)
    own = run.config_of(run.Asked(quick=True, options={"budget_s": 20.0})).run
    assert (own.extras_s, own.budget_s) == (None, 20.0)


@pytest.mark.parametrize(
    ("busy", "variables", "given", "policy"),
    [
        (0, {}, {}, "default"),
        (1, {}, {}, "passive"),
        (2, {"OMP_WAIT_POLICY": "active"}, {}, "default"),
        (2, {"GOMP_SPINCOUNT": "100"}, {}, "default"),
        (2, {}, {"wait_policy": "default"}, "default"),
    ],
)
def test_waiting_threads_sleep_in_a_quick_run_beside_busy_processes_unless_the_user_decided(
    monkeypatch: pytest.MonkeyPatch,
    busy: int,
    variables: dict[str, str],
    given: dict[str, str],
    policy: str,
) -> None:
    for name in ("OMP_WAIT_POLICY", "KMP_BLOCKTIME", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    others = [preflight.Other(str(pid), "python", 0.9) for pid in range(busy)]
    others.append(preflight.Other("4711", "idle", 0.1))
    settings = run.config_of(run.Asked(quick=True, options=given))
    console = Console(record=True, width=200)
    assert run.for_a_busy_machine(settings, others, console).run.wait_policy == policy
    said = "threads that wait for each other sleep" in console.export_text()
    assert said is (policy == "passive")


def test_imports_count_as_time_of_the_budget_up_to_its_half(tmp_path: Path) -> None:
    def began(began_s: float | None, budget_s: float | None) -> float:
        one = begun(run_directory.RunDir(tmp_path), began_s=began_s, budget_has_imports=True)
        options = config.RunOptions(budget_s=budget_s)
        return run._budget_began_s(dataclasses.replace(one, options=options), 100.0)

    assert began(95.0, 60.0) == 95.0
    assert began(20.0, 60.0) == 70.0
    assert began(None, 60.0) == 100.0
    assert began(20.0, None) == 100.0


def test_the_time_of_every_session_is_added_up_in_the_description(tmp_path: Path) -> None:
    directory = run_directory.create(tmp_path / "run", {"machine": {}})
    for _ in range(2):
        run._keep_spent(directory, Spent(imports_s=2.0, samples_s=1.5))
    spent = json.loads(directory.description.read_text())["spent"]
    assert (spent["imports_s"], spent["samples_s"], spent["waiting_s"]) == (4.0, 3.0, 0.0)


def test_an_error_of_a_run_leaves_its_directory_free_for_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The process of a notebook goes on, and would keep the lock."""

    def broken(_: Ending) -> bool:
        raise RuntimeError("a mistake")

    directory = run_directory.create(Path("run"), {})
    monkeypatch.setattr(Ending, "measure", broken)
    with pytest.raises(RuntimeError, match="a mistake"):
        said(lambda console: run._measure(begun(directory), console))
    directory.journal.write_text("no journal\n", encoding="utf-8")
    with pytest.raises(UserError, match="line 1"):
        said(lambda console: run._measure(begun(directory), console))
    run_directory.release(run_directory.lock(directory))


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ENOSPC, "No space left on device; make room, then continue with --resume"),
        (errno.EACCES, "Permission denied"),
    ],
)
def test_what_the_system_refuses_while_a_run_measures_is_told_with_what_helps(
    monkeypatch: pytest.MonkeyPatch, number: int, told: str
) -> None:
    def refuse(_: Ending) -> bool:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Ending, "measure", refuse)
    one = begun(run_directory.create(Path("run"), {}))
    with pytest.raises(UserError) as raised:
        said(lambda console: run._measure(one, console))
    assert str(raised.value) == f"run: {told}"


def test_the_list_of_a_machine_with_eight_gpus_names_the_time_of_each_device(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    devices = [Device(name="cpu", shown="a CPU")] + [
        Device(name=f"cuda:{index}", shown="NVIDIA H100", has_cudnn=True, has_tf32=True)
        for index in range(8)
    ]
    probe = Probe(
        torch="2.13.0",
        torch_details={},
        devices={one.name: one for one in devices},
        subjects={"convnet": SubjectFound(has_inputs=True)},
    )
    monkeypatch.setattr(provenance, "look", lambda _: probe)
    assert run.run(run.Asked(list_only=True)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  cuda:7: it is like cuda:0; --device cuda:7 or --device all measures it" in lines
    assert lines[-1] == (
        "50 cases, about 11:12 (min:s): 24 cases on cpu (a CPU), 2:35; 26 cases on cuda:0 "
        "(NVIDIA H100), 8:09"
    )
