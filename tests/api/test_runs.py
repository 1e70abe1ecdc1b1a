"""`bench.load` and `bench.run`: results of isolated processes as objects of Python."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import bench
from bench.api import runs
from bench.api.pictures import PictureError
from bench.api.runs import RunError, name_of_subject
from bench.commands import run
from bench.core import exit_codes
from bench.core.errors import UserError
from bench.plan import config
from tests.support import synthetic
from tests.support.results import run_of


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "one"
    run_of(folder, synthetic.entries(), layers=synthetic.LISTED)
    return folder


def test_a_run_is_loaded_with_its_rows_and_samples(path: Path) -> None:
    run = bench.load(path)
    assert {"case_id", "latency_median_s", "images_per_s"} <= set(run.frame.columns)
    assert len(run.frame) == len(run.results.rows)
    assert (run.samples["seconds"] > 0).all()
    assert run.path == path
    assert run.failures == {}


def test_speedups_are_a_table_with_intervals_and_verdicts(path: Path) -> None:
    found = bench.load(path).speedups(by="memory_format")
    assert isinstance(found, pd.DataFrame)
    assert set(found["value"]) == {"channels_last"}
    steps = found[(found["phase"] == "forward") & (found["subject"] == "convnet")]
    assert steps["ratio"].between(1 / 0.86 * 0.9, 1 / 0.86 * 1.1).all()
    assert (steps["low"] < steps["ratio"]).all()
    assert set(found["verdict"]) <= {"faster", "slower", "faster if alone", "no difference found"}


def test_speedups_by_a_setting_with_one_value_are_refused_in_words(path: Path) -> None:
    with pytest.raises(UserError):
        bench.load(path).speedups(by="tf32")


def test_sentences_begin_with_the_headline(path: Path) -> None:
    first, *others = bench.load(path).sentences
    assert "channels_last" in first or "compile" in first
    assert len(others) > 2


@pytest.mark.parametrize("name", ["speedup", "latency"])
def test_a_plot_is_a_figure_that_a_notebook_shows(path: Path, name: str, tmp_path: Path) -> None:
    drawn = bench.load(path).plot(name)
    assert drawn.figure is next(iter(drawn.values()))
    assert drawn._repr_html_().count("<svg") == 1
    assert [one.name for one in drawn.save(tmp_path)] == [f"{name}.png"]
    assert repr(drawn) == f"<{name}: 1 figure>"


def test_a_plot_that_is_unknown_or_empty_says_why(path: Path) -> None:
    with pytest.raises(PictureError, match="did you mean 'speedup'"):
        bench.load(path).plot("speedups")
    with pytest.raises(PictureError, match="no plot roofline"):
        bench.load(path).plot("roofline")


def test_a_run_is_short_in_a_terminal_and_a_table_in_a_notebook(path: Path) -> None:
    run = bench.load(path)
    cases = run.frame["case_id"].nunique()
    assert repr(run) == f"<Run {path}: {cases} cases>"
    assert "<th>latency</th>" in run._repr_html_()


def test_a_folder_without_results_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give the directory of a finished run"):
        bench.load(tmp_path)


def maker() -> None:
    pass


def test_a_function_is_named_by_its_module() -> None:
    assert name_of_subject(maker) == "tests.api.test_runs:maker"
    assert name_of_subject("a.b:c") == "a.b:c"


def test_a_setting_of_none_is_not_given() -> None:
    assert runs._split({"batch": None, "device": "cpu", "budget": None, "seed": 3}) == (
        {"device": ["cpu"]},
        {"seed": 3},
    )
    with pytest.raises(RunError, match="'batchs' is not a setting"):
        runs._split({"batchs": None})


class Made:
    @classmethod
    def small(cls) -> "Made":
        return cls()


def test_a_class_method_is_named_by_its_class() -> None:
    assert name_of_subject(Made.small) == "tests.api.test_runs:Made.small"


def test_what_other_processes_cannot_find_is_refused_in_words() -> None:
    thing: Any = object()
    with pytest.raises(RunError, match=r"use bench\.measure"):
        name_of_subject(lambda: None)
    with pytest.raises(RunError, match="give the function or class that builds it"):
        name_of_subject(thing)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"batchs": 3}, "did you mean 'batch'"),
        ({"amp": ["off", "bf16"]}, "did you mean 'bfloat16'"),
        ({"replicates": 0}, "replicates"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_before_anything_starts(
    settings: Any, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        bench.run("convnet", **settings)


def test_settings_are_those_of_the_command(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    seen: list[run.Asked] = []

    def measured(asked: run.Asked, _console: Any) -> run.Ran:
        seen.append(asked)
        return run.Ran(path, 0)

    monkeypatch.setattr("bench.api.runs.measured", measured)
    bench.run(
        "a:b", input="3,8,8", batch=[1, 8], compile=True, tf32=False, replicates=3, budget_s=9.0
    )
    asked = seen[0]
    assert asked.subjects == ("a:b",)
    assert asked.axes == {
        "input": ["3,8,8"],
        "batch": ["1", "8"],
        "compile": ["default"],
        "tf32": ["off"],
    }
    assert asked.options == {"replicates": 3, "budget_s": 9.0}
    assert " ".join(asked.described) == (
        "bench run a:b --input 3,8,8 --batch 1 --batch 8 --compile default --tf32 off "
        "--replicates 3 --budget 9.0"
    )


def asked_by(monkeypatch: pytest.MonkeyPatch, path: Path, *given: Any, **more: Any) -> Any:
    """Return the request of `bench.run` to the command."""
    seen: list[run.Asked] = []

    def measured(asked: run.Asked, _console: Any) -> run.Ran:
        seen.append(asked)
        return run.Ran(path, 0)

    monkeypatch.setattr("bench.api.runs.measured", measured)
    bench.run(*given, **more)
    return seen[0]


def test_a_switch_is_a_flag_without_a_value(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    asked = asked_by(monkeypatch, path, "a:b", parallel_devices=True)
    assert asked.options == {"parallel_devices": True}
    assert " ".join(asked.described) == "bench run a:b --parallel-devices"


def test_a_network_of_ones_own_gets_the_sweep_that_the_command_has_for_it(
    monkeypatch: pytest.MonkeyPatch, path: Path, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # where there is no bench.toml
    asked = asked_by(monkeypatch, path, maker)
    assert asked.subjects == ("tests.api.test_runs:maker",)
    assert run._default_sweep(asked) == config.OWN
    flags = run.Asked(subjects=("tests.api.test_runs:maker",))
    assert run.config_of(asked) == run.config_of(flags)


def test_the_names_of_the_flags_are_those_of_the_parameters(
    monkeypatch: pytest.MonkeyPatch, path: Path
) -> None:
    asked = asked_by(
        monkeypatch, path, subject="a:b", case="c", budget=9.0, timeout=3.0, fresh_peaks=True
    )
    assert (asked.subjects, asked.cases, asked.fresh_peaks) == (("a:b",), ("c",), True)
    assert asked.options == {"budget_s": 9.0, "timeout_s": 3.0}
    assert " ".join(asked.described) == (
        "bench run a:b --case c --budget 9.0 --timeout 3.0 --fresh-peaks"
    )


def test_an_option_that_is_given_by_both_names_is_refused() -> None:
    with pytest.raises(RunError, match="budget_s is given twice"):
        bench.run("a:b", budget=9.0, budget_s=8.0)


def test_a_run_that_was_interrupted_interrupts_the_script(
    monkeypatch: pytest.MonkeyPatch, path: Path
) -> None:
    ended = run.Ran(path, exit_codes.INTERRUPTED)
    monkeypatch.setattr("bench.api.runs.measured", lambda *_: ended)
    with pytest.raises(KeyboardInterrupt, match="resume="):
        bench.run("a:b")
