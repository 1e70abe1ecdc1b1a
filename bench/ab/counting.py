"""Count the instructions of both sides of a comparison, in processes that nothing disturbs.

Three processes a side, which differ in their hash seed alone.  Counts do not depend on other work,
so as many processes run at a time as there are processors.
"""

import dataclasses
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench.ab import callgrind
from bench.ab.ab_plan import AbError, Planned
from bench.ab.variants import Side, SideError, unproven
from bench.core.counted import CANARY, CaseCounted, Counted, Engine, name_of
from bench.core.decode import Decoder
from bench.core.records import Case
from bench.engine.requests import request
from bench.host import counters, environment, helper
from bench.results.run_directory import Folders
from bench.verdict import counted as verdicts
from bench.verdict.counted import CaseCount, CountError

SEEDS = ("0", "1", "2")  # of PYTHONHASHSEED
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# Under callgrind the import of torch alone takes minutes on a busy machine.
SLOWER = {"perf": 1.0, "callgrind": 60.0}
_COUNTED: Decoder[Counted] = Decoder(Counted, "answer of a count")


@dataclass(frozen=True, slots=True)
class Counter:
    """The instrument that counts here.

    engine: None if there is no instrument.  why: the reason for this choice, for messages.
    """

    engine: Engine | None
    why: str


@dataclass(frozen=True, slots=True)
class Process:
    """The counts of one process: instructions by number of calls, and by function of one call."""

    side: str
    seed: str
    canary: float
    counts: Mapping[str, Mapping[int, float]]  # by key
    functions: Mapping[str, Mapping[str, float]]  # by key
    answers: Mapping[str, CaseCounted]  # by key


def find() -> Counter:
    """Return the processor's counters, else callgrind, else nothing."""
    try:
        counters.opened(("instructions",)).close()
    except counters.CountersError as error:
        why = str(error)
    else:
        return Counter("perf", "the processor's counters")
    if platform.machine() != "x86_64":
        return Counter(None, f"{why}; callgrind is too slow on {platform.machine()}")
    if shutil.which("valgrind") is None:
        return Counter(None, f"{why}; valgrind is not installed (Debian: apt install valgrind)")
    return Counter("callgrind", f"callgrind, since {why}")


def refused(sides: Mapping[str, Case]) -> str | None:
    """Return why a case is not counted, or None.

    sides: the case by side.  One side that cannot be counted is enough.
    """
    whys = {name: why for name, one in sides.items() if (why := _refused(one))}
    if whys:
        name, why = next(iter(whys.items()))
        return why if len(whys) == len(sides) else f"side {name}: {why}"
    threads = {name: str(one.threads) for name, one in sides.items()}
    if len({*threads.values()}) > 1:
        asked = " and ".join(f"{one} ({name})" for name, one in threads.items())
        return f"its sides differ in threads, {asked}, and both are counted with one thread"
    return None


def _refused(case: Case) -> str | None:
    """Return why one side of a case is not counted, or None."""
    if case.device != "cpu":
        return f"it runs on {case.device}, whose work no counter of the processor sees"
    if case.compile != "off":
        return "compiled code is not counted; compare it by time"
    if case.threads not in (None, "auto", "1"):
        return f"it asks for {case.threads} threads; threads that wait execute instructions, too"
    return None


def compared(
    planned: Planned, engine: Engine, folder: Path, tell: Callable[[str], None]
) -> tuple[list[CaseCount], dict[str, list[float]]]:
    """Return the verdict on each case, and the canaries by side.

    Raises AbError, SideError.
    """
    refusals = {key: why for key, one in planned.cases.items() if (why := refused(one))}
    keys = [key for key in planned.cases if key not in refusals]
    found = [CaseCount(key=key, verdict="UNSUPPORTED", note=why) for key, why in refusals.items()]
    if not keys:
        return found, {}
    jobs = [(side, seed) for seed in SEEDS for side in planned.sides]
    workers = min(len(jobs), environment.affinity() or 1)
    tell(f"{len(jobs)} processes count {len(keys)} cases, {workers} at a time")
    with ThreadPoolExecutor(workers) as pool:
        asked = [pool.submit(_process, planned, keys, engine, *job, folder) for job in jobs]
        processes = [one.result() for one in asked]
    canaries = {name: [one.canary for one in processes if one.side == name] for name in ("A", "B")}
    trusted = verdicts.same_canary(canaries["A"], canaries["B"], engine)
    return [*(_case(key, processes, trusted=trusted) for key in keys), *found], canaries


def _process(
    planned: Planned, keys: Sequence[str], engine: Engine, side: Side, seed: str, folder: Path
) -> Process:
    """Count all cases in one process.  Raises AbError, SideError."""
    with tempfile.TemporaryDirectory(prefix=f"count-{side.name}{seed}-", dir=folder) as scratch:
        dumps = Path(scratch) / "dumps"
        dumps.mkdir()
        answer = _asked(planned, keys, engine, side, seed, Path(scratch))
        other = next(one for one in planned.sides if one is not side)
        if answer.proof and (why := unproven(side, other, answer.proof)):
            raise SideError(why)
        read = callgrind.read(dumps) if engine == "callgrind" else {}
    answers = dict(zip(keys, answer.cases, strict=True))
    if engine == "perf":
        return Process(
            side.name,
            seed,
            answer.canary[CANARY],
            {key: {int(n): one for n, one in got.counts.items()} for key, got in answers.items()},
            {},
            answers,
        )
    by_key = {
        key: {n: read[name] for n in answers[key].lengths if (name := name_of(at, n)) in read}
        for at, key in enumerate(keys)
    }
    return Process(
        side.name,
        seed,
        float(read[CANARY].total),
        {key: {n: float(one.total) for n, one in got.items()} for key, got in by_key.items()},
        {key: _of_one_call(got) for key, got in by_key.items() if len(got) > 1},
        answers,
    )


def _of_one_call(got: Mapping[int, callgrind.Counts]) -> dict[str, float]:
    first, last = got[min(got)].by_function, got[max(got)].by_function
    calls = max(got) - min(got)
    return {name: (last.get(name, 0) - first.get(name, 0)) / calls for name in first.keys() | last}


def _asked(
    planned: Planned, keys: Sequence[str], engine: Engine, side: Side, seed: str, scratch: Path
) -> Counted:
    folders = Folders(scratch / "work", scratch / "failures")
    requests = [
        request("measure", _one_thread(planned.cases[key][side.name]), 0, planned.run, folders)
        for key in keys
    ]
    place = side.place
    if engine == "callgrind":
        own = {one.name: getattr(place, one.name) for one in dataclasses.fields(place)}
        place = callgrind.Under(**own, dumps=str(scratch / "dumps" / "count"))
    try:
        return helper.ask(
            "bench.worker.count",
            {"engine": engine, "requests": [dataclasses.asdict(one) for one in requests]},
            _COUNTED,
            (60.0 + planned.run.timeout_s * len(keys)) * max(1.0, SLOWER[engine] / 10),
            place=place,
            environment={**os.environ, **ONE_THREAD, "PYTHONHASHSEED": seed},
        )
    except helper.HelperError as error:
        raise AbError(f"side {side.name} ({side.shown}): counting failed: {error}") from None


def _one_thread(case: Case) -> Case:
    return dataclasses.replace(case, threads="1")


def _case(key: str, processes: Sequence[Process], *, trusted: bool) -> CaseCount:
    """Return the verdict on one case."""
    sides: dict[str, list[float]] = {"A": [], "B": []}
    for one in processes:
        if error := one.answers[key].error:
            return CaseCount(key=key, verdict="FAILED", note=f"side {one.side}: {error}")
        try:
            sides[one.side].append(verdicts.per_call(one.counts[key]))
        except CountError as error:
            return CaseCount(key=key, verdict="UNTRUSTED", note=f"side {one.side}: {error}")
    found = verdicts.decided(key, sides["A"], sides["B"])
    if not trusted:
        return dataclasses.replace(
            found,
            verdict="UNTRUSTED",
            note="the canary, work that is the same everywhere, took another number of "
            "instructions: the processes ran on different machines or libraries",
        )
    if found.verdict == "SAME":
        return found
    a, b = (next(one for one in processes if one.side == name) for name in ("A", "B"))
    return dataclasses.replace(
        found,
        causes=verdicts.causes(a.functions.get(key, {}), b.functions.get(key, {})),
        calls=verdicts.more_calls(a.answers[key].calls, b.answers[key].calls),
    )
