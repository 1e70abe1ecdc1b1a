"""Fork servers that start while the probe still looks: which ones, and who ends them."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.commands import early_start
from bench.commands.early_start import EarlyStart
from bench.commands.run import Asked, config_of
from bench.core.records import Case
from bench.engine.blocks import JOINS, Blocks
from bench.engine.run_estimate import rounds
from bench.engine.workers import WorkerPool
from bench.host import allocators
from bench.host.probed import Device, Layer, Probe, SubjectFound
from bench.plan import config, expand
from bench.results.run_directory import Folders

LAYERS = tuple(Layer(name=name, alias=None, type="Conv2d", work=1.0) for name in ("conv", "fc"))
QUESTIONS = [
    Asked(subjects=("convnet",)),
    Asked(subjects=("convnet",), quick=True),
    Asked(subjects=("models:net",), axes={"input": ["3,224,224"]}),
    Asked(subjects=("models:net", "convnet"), quick=True),
    Asked(subjects=("convnet/conv",)),
    Asked(subjects=("convnet",), options={"replicates": 1}),
    Asked(subjects=("convnet",), axes={"allocator": ["system"], "batch": ["max"]}),
]


class Started:
    """Stands for `Starting`."""

    every: Sequence["Started"] = ()

    def __init__(self, pool: WorkerPool) -> None:
        self.pool, self.begun, self.dropped = pool, False, False
        Started.every = [*Started.every, self]

    def begin(self) -> None:
        self.begun = True

    def drop(self) -> None:
        self.dropped = True


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process is started, and no accelerator is here."""
    Started.every = ()
    monkeypatch.setattr(early_start, "Starting", Started)
    monkeypatch.setattr(early_start, "DRIVERS", ())


def begun(asked: Asked) -> WorkerPool | None:
    settings = config_of(asked)
    with EarlyStart() as early:
        early.begin(settings, settings.run)
        found: Any = early.taken()
        return found.pool if found else None


def planned(asked: Asked) -> tuple[list[Case], config.RunOptions]:
    """The cases of the plan that the probe of a CPU gives."""
    settings = config_of(asked)
    wholes = [name.partition("/")[0] for name in settings.subjects()]
    probe = Probe(
        torch="2.13.0",
        torch_details={},
        devices={"cpu": Device(name="cpu", shown="a CPU", has_bfloat16=False)},
        subjects=dict.fromkeys(wholes, SubjectFound(has_inputs=True, layers=LAYERS)),
    )
    plan = expand.make(settings, probe, as_plain_process=True, finds_largest=True)
    return [*plan.cases, *plan.largest], settings.run


@pytest.mark.parametrize("asked", QUESTIONS)
def test_those_start_that_the_first_round_needs(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allocators, "can_be_chosen", lambda *_: True)
    cases, run = planned(asked)
    first = next(iter(rounds(cases, run)))
    blocks = Blocks.of(cases)
    nothing = {case.case_id: () for case in cases}

    class Nothing:
        def replicates(self, case: Case) -> Sequence[int]:
            return nothing[case.case_id]

        def given_up(self, case: Case) -> bool:  # noqa: ARG002
            return False

    served = blocks.asked_in(
        first, Nothing(), run.first_replicates, joined=dict.fromkeys(JOINS, True)
    )
    needed = WorkerPool(
        cases=served, folders=Folders(tmp_path, tmp_path), log=tmp_path / "log", timeout_s=9.0
    )
    pool = begun(asked)
    assert pool is not None
    assert pool.serves_as(needed)


def test_those_that_no_run_takes_end_and_leave_nothing() -> None:
    settings = config_of(Asked(subjects=("convnet",)))
    with contextlib.suppress(KeyboardInterrupt), EarlyStart() as early:
        early.begin(settings, settings.run)
        raise KeyboardInterrupt
    (one,) = Started.every
    assert one.begun
    assert one.dropped
    assert not one.pool.folders.scratch.exists()


def test_a_run_takes_them_once_and_modules_come_after_the_probe() -> None:
    settings = config_of(Asked(subjects=("convnet",)))
    with EarlyStart() as early:
        early.begin(settings, settings.run)
        (one,) = Started.every
        assert one.pool.modules_may_come is not None
        assert not one.pool.modules_may_come.is_set()
        early.go_on()
        assert one.pool.modules_may_come.is_set()
        assert early.taken() is not None
        assert early.taken() is None
    assert one.dropped  # it may have been interrupted before it took the servers over


def test_where_an_accelerator_may_be_only_a_sweep_of_the_cpu_starts_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(early_start, "DRIVERS", (str(tmp_path),))
    assert begun(Asked(subjects=("convnet",))) is None
    assert begun(Asked(subjects=("convnet",), axes={"device": ["cpu"]})) is not None


@pytest.mark.parametrize(
    "asked",
    [
        Asked(subjects=("convnet",), axes={"device": ["cuda"]}),
        Asked(subjects=("convnet",), cases=("no such case",)),
    ],
)
def test_a_plan_that_cannot_be_made_starts_nothing_and_is_refused_later(asked: Asked) -> None:
    assert begun(asked) is None
