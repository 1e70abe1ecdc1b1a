"""A resume is refused where the figures would not belong together; damage is one line."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.commands.run import Asked, _resume
from bench.core.errors import UserError
from bench.core.records import SCHEMA_VERSION
from bench.host import environment, probe
from bench.host.probed import Device, GpuDetails, Probe, Source
from bench.plan import config
from tests.support.cases import PLAIN

TORCH_DETAILS = {"torch": "2.13.0", "threads": 2}
HERE: dict[str, Any] = {
    "python": "3.11.7",
    "kernel": "6.1",
    "variables": {"OMP_NUM_THREADS": "2"},
    "git_commit": "0123",
    "git_dirty": False,
    "git_changes": None,
}
SOURCES = {"convnet.network": "0123", "convnet": "4567"}
MACHINE: dict[str, Any] = {"machine_id": "m1", "affinity": 2, "quota_cores": None}
GPU: dict[str, Any] = {"driver": "580.159", "memory_bytes": 2**36}
QUICK = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80, deadline=None
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run directory of this machine, as these tests see it."""
    found = Probe(
        torch="2.13.0",
        torch_details=TORCH_DETAILS,
        devices={
            "cpu": Device(name="cpu", shown="AMD EPYC"),
            "cuda:0": Device(name="cuda:0", shown="a GPU", gpu=GpuDetails(**GPU)),
        },
        subjects={},
        sources={name: Source(file=name, digest=one) for name, one in SOURCES.items()},
    )
    monkeypatch.setattr(probe, "look", lambda *_, **__: found)
    monkeypatch.setattr(environment, "environment", lambda: HERE)
    monkeypatch.setattr(environment, "machine", lambda _: MACHINE)
    store(tmp_path, lambda document: document)
    return tmp_path


def store(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document: dict[str, Any] = {
        "schema": SCHEMA_VERSION,
        "config": config.RunOptions().model_dump(),
        "machine": {**MACHINE, "gpus": {"cuda:0": GPU}},
        "environment": {**TORCH_DETAILS, **HERE, "sources": SOURCES},
        "cases": [PLAIN.as_dict()],
    }
    change(document)
    (folder / "run.json").write_text(json.dumps(document))


def resume(path: Path, **options: Any) -> Any:
    return _resume(Asked(resume=path, options=options))


def test_the_plan_and_the_options_are_those_that_were_stored(run: Path) -> None:
    begun = resume(run)
    assert begun.plan.cases == (PLAIN,)
    assert begun.options == config.RunOptions()
    assert resume(run, replicates=9).options.replicates == 9


def test_a_longer_limit_holds_for_the_look_at_the_subjects_as_well(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits_s: list[float] = []
    found = probe.look((), {}, 1.0)

    def look(_: object, __: object, timeout_s: float, **___: object) -> Probe:
        limits_s.append(timeout_s)
        return found

    monkeypatch.setattr(probe, "look", look)
    resume(run, timeout_s=600.0)
    assert limits_s == [600.0]


def test_a_new_budget_of_a_quick_run_is_for_everything_that_is_left(run: Path) -> None:
    """The peaks and the counted figures would have only the 50 s that they have in a quick run."""
    quick = config.RunOptions(budget_s=80.0, extras_s=50.0).model_dump()
    store(run, lambda document: document.update(config=quick))
    assert resume(run).options.extras_s == 50.0
    begun = resume(run, budget_s=600.0)
    assert (begun.options.budget_s, begun.options.extras_s) == (600.0, None)
    assert begun.description["config"]["extras_s"] is None


def test_an_option_that_makes_no_sense_is_one_line(run: Path) -> None:
    with pytest.raises(UserError, match="--replicates: replicates = 0; expected greater"):
        resume(run, replicates=0)


@pytest.mark.parametrize(
    ("part", "key", "value", "says"),
    [
        ("machine", "machine_id", "m2", "another machine: it was m2, this is m1"),
        ("machine", "affinity", 8, "another number of processors allowed: it was 8, this is 2"),
        ("machine", "quota_cores", 1.5, "another quota of processors: it was 1.5, this is None"),
        (
            "machine",
            "gpus",
            {"cuda:0": {"driver": "575.57", "memory_bytes": 2**36}},
            "another driver of cuda:0: it was 575.57, this is 580.159",
        ),
        (
            "machine",
            "gpus",
            {"cuda:0": {"driver": "580.159", "memory_bytes": 2**35}},
            "another memory of cuda:0: it was 34359738368, this is 68719476736",
        ),
        ("environment", "torch", "2.11.0", "another torch: it was 2.11.0, this is 2.13.0"),
        ("environment", "python", "3.12.1", "another Python: it was 3.12.1, this is 3.11.7"),
        ("environment", "git_commit", "4567", "another commit: it was 4567, this is 0123"),
        (
            "environment",
            "git_changes",
            "89ab",
            "another state of the working tree: it was 89ab, this is None",
        ),
        ("environment", "threads", 4, "another number of threads: it was 4, this is 2"),
        (
            "environment",
            "variables",
            {"OMP_NUM_THREADS": "2", "MALLOC_ARENA_MAX": "1"},
            "another environment variable MALLOC_ARENA_MAX: it was 1, this is None",
        ),
        (
            "environment",
            "variables",
            {},
            "another environment variable OMP_NUM_THREADS: it was None, this is 2",
        ),
        (
            "environment",
            "sources",
            {"convnet": "89ab", "of.old": "cdef"},
            "another convnet: its file has changed since",
        ),
    ],
)
def test_what_differs_is_refused_by_name(
    run: Path, part: str, key: str, value: Any, says: str
) -> None:
    store(run, lambda document: document[part].update({key: value}))
    with pytest.raises(UserError) as caught:
        resume(run)
    assert str(caught.value) == (f"--resume {run}: {says}; start a new run and compare the two")


def test_all_that_differs_is_said_at_once(run: Path) -> None:
    store(run, lambda document: document["environment"].update(threads=1, torch="2.12.0"))
    with pytest.raises(UserError, match=r"another torch: .*; another number of threads: "):
        resume(run)


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.pop("cases"),
        lambda document: document.update(cases=[{"subject": "convnet"}]),
        lambda document: document.update(cases=[{**PLAIN.as_dict(), "mode": []}]),
        lambda document: document.update(cases=[{**PLAIN.as_dict(), "subject": "rm -rf /"}]),
        lambda document: document.update(config={}),
        lambda document: document.update(config=None),
        lambda document: document["config"].update(replicates="many"),
        lambda document: document.update(machine="m1"),
        lambda document: document["environment"].update(variables=3),
    ],
)
def test_a_damaged_description_is_one_line(
    run: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    store(run, change)
    with pytest.raises(UserError, match=r"its run\.json is damaged"):
        resume(run)


@given(content=st.binary() | st.just(b"[" * 20_000) | st.just(b"[1]") | st.just(b'{"schema": 1}'))
@QUICK
def test_any_bytes_for_a_description_are_one_line(run: Path, content: bytes) -> None:
    (run / "run.json").write_bytes(content)
    with pytest.raises(UserError, match=r"run\.json is damaged|another version"):
        resume(run)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@given(
    place=st.sampled_from(["config", "machine", "environment", "cases"]),
    key=st.sampled_from(["replicates", "machine_id", "variables", "torch", "subject", "batch"]),
    value=JSON,
)
@QUICK
def test_any_value_in_a_description_is_right_or_one_line(
    run: Path, place: str, key: str, value: Any
) -> None:
    def change(document: dict[str, Any]) -> None:
        where: Any = document[place]
        if isinstance(where, Mapping):
            document[place] = {**where, key: value}
        else:
            document[place] = [{**where[0], key: value}]

    for one in (change, lambda document: document.update({place: value})):
        store(run, one)
        try:
            begun = resume(run)
        except UserError as error:
            assert str(error).startswith(f"--resume {run}: ")
        else:
            assert all(case.case_id for case in begun.plan.cases)
