"""The plan of `bench ab`: its cases, those that one side lacks, and its duration."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from bench.ab import ab_directory
from bench.ab.ab_plan import AbError, Asked, Planned, begins, estimate_s, make, refuse_pairs
from bench.ab.variants import Side
from bench.host import environment, probe
from bench.host.interpreter import Place
from bench.host.probed import Device, Layer, Probe, SubjectFound

SIDES = (
    Side(name="A", asked="amp=off", kind="settings", place=Place(python="a")),
    Side(name="B", asked="amp=off", kind="settings", place=Place(python="b")),
)
NET = "pkg.net:Net"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outside = {"git_commit": None, "git_dirty": None, "git_changes": None}
    monkeypatch.setattr(environment, "git_state", lambda _: outside)


def layers(*names: str) -> SubjectFound:
    found = tuple(Layer(name=name, alias=None, type="Conv2d") for name in names)
    return SubjectFound(has_inputs=True, parameters=1, layers=found)


def found(monkeypatch: pytest.MonkeyPatch, **by_side: SubjectFound) -> None:
    """Let the probe of each side find this of NET, and of the ConvNet only that it exists."""

    def look(*asked: Any) -> Probe:
        place: Place = asked[3]
        convnet = SubjectFound(has_inputs=True, parameters=1)
        return Probe(
            torch="2.13.0",
            torch_details={"torch": "2.13.0", "threads": 2},
            devices={"cpu": Device(name="cpu", shown="a CPU")},
            subjects={"convnet": convnet, NET: by_side.get(place.python, convnet)},
        )

    monkeypatch.setattr(probe, "look", look)


def asked_for(planned: Planned) -> set[tuple[str, int]]:
    return {(one["A"].subject, one["A"].batch) for one in planned.cases.values()}


def test_a_bench_toml_says_which_cases_and_a_config_goes_before_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found(monkeypatch)
    planned = make(Asked(), *SIDES)
    assert asked_for(planned) == {("convnet", 8)}
    assert planned.source == "the default sweep"
    (tmp_path / "bench.toml").write_text(f'[[sweep]]\nsubject = "{NET}"\nbatch = [2, 4]\n')
    planned = make(Asked(), *SIDES)
    assert asked_for(planned) == {
        (NET, 2),
        (NET, 4),
    }
    assert planned.source == "bench.toml"
    (tmp_path / "ci.toml").write_text("[[sweep]]\nbatch = 3\n")
    planned = make(Asked(config=Path("ci.toml")), *SIDES)
    assert asked_for(planned) == {("convnet", 3)}


def test_the_budget_of_a_bench_toml_is_that_of_a_run_and_ends_no_comparison(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found(monkeypatch)
    text = "[run]\nbudget_s = 120\ntimeout_s = 60\n"
    for name in ("bench.toml", "ci.toml"):
        (tmp_path / name).write_text(text)
    run = make(Asked(), *SIDES).run
    assert (run.budget_s, run.timeout_s) == (None, 60.0)
    assert make(Asked(options={"budget_s": 9.0}), *SIDES).run.budget_s == 9.0
    assert make(Asked(config=Path("ci.toml")), *SIDES).run.budget_s == 120.0


def test_a_bench_toml_that_came_to_be_is_not_what_a_resumed_comparison_was_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found(monkeypatch)
    path = ab_directory.create(Asked(out=tmp_path / "out"), make(Asked(), *SIDES))
    (tmp_path / "bench.toml").write_text("[[sweep]]\nbatch = 3\n")
    again, stored = ab_directory.stored(Asked(resume=path))
    assert ab_directory.reopen(again, make(again, *SIDES), stored) == path
    other = ab_directory.create(Asked(out=tmp_path / "other"), make(Asked(), *SIDES))
    again, _ = ab_directory.stored(Asked(resume=other))
    assert again.config == Path("bench.toml")


def test_a_threshold_for_all_is_that_of_a_sweep_with_its_own_and_stays_so_in_a_resume(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found(monkeypatch)
    (tmp_path / "ci.toml").write_text("[[sweep]]\nthreshold = 0.2\n")
    asked = Asked(config=Path("ci.toml"), threshold=0.01)
    assert list(make(asked, *SIDES).thresholds.values()) == [0.2]
    whole = dataclasses.replace(asked, for_all=True, out=tmp_path / "out")
    planned = make(whole, *SIDES)
    assert (planned.threshold, planned.thresholds) == (0.01, {})
    path = ab_directory.create(whole, planned)
    again, stored = ab_directory.stored(Asked(resume=path))
    assert ab_directory.reopen(again, make(again, *SIDES), stored) == path


def test_a_resume_may_add_pairs_and_not_take_them_away(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found(monkeypatch)
    path = ab_directory.create(Asked(out=tmp_path / "out"), make(Asked(pairs=56), *SIDES))
    again, stored = ab_directory.stored(Asked(resume=path))
    assert make(again, *SIDES).pairs == 56
    more, stored = ab_directory.stored(Asked(resume=path, pairs=112))
    ab_directory.reopen(more, make(more, *SIDES), stored)
    again, _ = ab_directory.stored(Asked(resume=path))
    assert again.pairs == 112
    with pytest.raises(AbError, match="--pairs 56 is less than the 112 that the comparison has"):
        ab_directory.stored(Asked(resume=path, pairs=56))


@pytest.mark.parametrize("pairs", [-1, 0, 7, 10_001])
def test_so_few_pairs_that_they_decide_nothing_are_refused(pairs: int) -> None:
    with pytest.raises(AbError, match=f"--pairs {pairs}: expected 8 to 10000 fresh pairs"):
        refuse_pairs(pairs)


def test_more_pairs_take_a_longer_first_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    found(monkeypatch)
    few, many = (make(Asked(pairs=pairs), *SIDES) for pairs in (8, 80))
    assert estimate_s(many) == 2 * estimate_s(few)


def test_what_begins_says_how_many_cases_of_what_and_about_how_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found(monkeypatch)
    planned = make(Asked(axes={"mode": ("inference",), "batch": ("1", "2", "4", "8")}), *SIDES)
    assert begins(planned) == (
        "A: amp=off; B: amp=off; 4 cases from flags, about 1:12 (min:s) if none is "
        "slower; torch 2.13.0"
    )
    short = dataclasses.replace(planned, run=planned.run.model_copy(update={"budget_s": 30.0}))
    assert estimate_s(short) == 30.0
    compiled = make(Asked(axes={"mode": ("inference",), "compile": ("default",)}), *SIDES)
    assert estimate_s(compiled) == 18.0 + 2 * (20.0 + 5 * 4.0)


def test_a_layer_that_one_side_lacks_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    found(monkeypatch, a=layers("conv1", "conv2"), b=layers("conv1", "second"))
    subjects = (f"{NET}/conv1", f"{NET}/conv2")
    planned = make(Asked(subjects=subjects, axes={"mode": ("inference",)}), *SIDES)
    assert [one["B"].subject for one in planned.cases.values()] == [f"{NET}/conv1"]
    ((case_id, why),) = planned.missing.items()
    assert case_id.startswith(f"{NET}/conv2:inference:b8:")
    assert why == (
        f"side B (amp=off): {NET} calls no layer 'conv2'; it calls conv1, second; did you mean "
        "'conv1'?"
    )


@pytest.mark.parametrize("name", ["conv2", "conv9"])
def test_where_no_case_is_left_or_neither_side_has_the_layer_it_is_wrong_use(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    found(monkeypatch, a=layers("conv1", "conv2"), b=layers("conv1"))
    with pytest.raises(AbError, match=f"calls no layer '{name}'"):
        make(Asked(subjects=(f"{NET}/{name}",)), *SIDES)
    with pytest.raises(AbError, match="calls no layer 'conv9'"):
        make(Asked(subjects=(f"{NET}/conv1", f"{NET}/conv9")), *SIDES)
