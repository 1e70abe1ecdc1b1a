"""The interpreters of one pair: one a side and allocator, and a second of side A for the null case.

They are started before its first case and end with it: the process is the unit of noise.
"""

import dataclasses
import random
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.ab.interleave import Player, take_turns
from bench.ab.journal import Pair, SideFacts, pair_of
from bench.ab.variants import Side, SideError, unproven
from bench.core.records import Case, Entry
from bench.core.subject import parse
from bench.engine import policy, static_metrics
from bench.engine.session import ReplicateDied, Session, collect, killed, request
from bench.plan.config import RunOptions
from bench.results.run_directory import Folders
from bench.verdict.looks import Stage

AGAIN = "A-again"  # the second interpreter of side A


@dataclass(kw_only=True)
class Interpreters:
    """An arena of `bench.ab.scheduler`, made of processes."""

    sides: Mapping[str, Side]  # A and B
    cases: Mapping[str, Mapping[str, Case]]  # key → side → case
    run: RunOptions
    directory: Path
    stage: Stage
    number: int
    say: Callable[[str], None] = lambda _: None  # is told what `Session` says
    _open: dict[tuple[str, str | None], Session] = field(default_factory=dict)

    def __enter__(self) -> Self:
        """All at once, which takes half as long: nothing is timed yet.  Raises SessionError."""
        needed = {
            (name, case.allocator): case
            for one in self.cases.values()
            for name, case in (("A", one["A"]), ("B", one["B"]), (AGAIN, one["A"]))
        }
        try:
            with ThreadPoolExecutor(len(needed)) as starting:
                for started in [
                    starting.submit(self._session, name, case) for (name, _), case in needed.items()
                ]:
                    started.result()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def _close(self) -> None:
        for session in self._open.values():
            session.close()

    def compare(self, key: str, *, null: bool) -> Pair:
        """One case on both sides, or on side A twice.  Raises SideError.

        Again where something outside killed a side.
        """
        start_s = time.monotonic()
        pair, _ = policy.tried(lambda: self._played(key, null=null), killed=lambda one: one[1])
        return dataclasses.replace(pair, wall_s=time.monotonic() - start_s)

    def _played(self, key: str, *, null: bool) -> tuple[Pair, bool]:
        """The pair, and whether something outside killed a side of it."""
        draw = random.Random(f"{self.run.seed}:{self.stage}:{self.number}:{key}:{null}")
        a = self._player("A", key)
        b = self._player(AGAIN if null else "B", key)
        found = take_turns(a, b, draw)
        for player, name in ((a, "A"), (b, "A" if null else "B")):
            self._prove(player.proof, name)
        pair = pair_of(self.stage, self.number, key, *found, null=null)
        return pair, bool(pair.failed) and (a.killed or b.killed)

    def facts(self, key: str) -> list[SideFacts]:
        """What repeats exactly, of both sides, each held against a reference of its own code."""
        found = []
        for name, case in self.cases[key].items():
            folders = self._folders(name)

            def ask(job: str, case: Case, name: str = name) -> Entry:
                asked, folders = self._request(job, name, case)
                return collect(asked, self._ask(name, case, asked), folders)

            entry = static_metrics.facts(case, ask, folders)
            found.append(
                SideFacts(
                    key=key,
                    side=name,
                    facts=entry.facts,
                    problems=entry.problems,
                    invalid=entry.invalid,
                )
            )
        return found

    def _ask(self, name: str, case: Case, asked: Mapping[str, Any]) -> dict[str, Any]:
        def attempt() -> dict[str, Any]:
            _remove(asked)
            try:
                return self._session(name, case).ask(asked)
            except ReplicateDied as error:
                return {"end": "replicate", "why": str(error), "killed": error.killed}

        return policy.tried(attempt, killed)

    def _player(self, name: str, key: str) -> Player:
        case = self.cases[key]["B" if name == "B" else "A"]
        asked, folders = self._request("turns", name, case)
        kinds = {one.device.partition(":")[0] for one in self.cases[key].values()}
        # Between two kinds of device, the host's clock alone is the same on both.
        asked["host_clock"] = len(kinds) > 1
        return Player(self._session(name, case), asked, folders)

    def _folders(self, name: str) -> Folders:
        """Each interpreter has its own: a compiler's cache must not be shared."""
        return Folders(self.directory / ".scratch" / name, self.directory / "failures" / name)

    def _request(self, job: str, name: str, case: Case) -> tuple[dict[str, Any], Folders]:
        folders = self._folders(name)
        asked = request(job, case, self.number, None, self.run, folders)
        _remove(asked)
        return asked, folders

    def _session(self, name: str, case: Case) -> Session:
        session = self._open.get((name, case.allocator))
        if session is None or session.dead:
            side = self.sides["B" if name == "B" else "A"]
            own = [one[side.name] for one in self.cases.values()]
            session = Session(
                allocator=case.allocator,
                modules=sorted({parse(one.subject).module for one in own}),
                inductor=any(
                    one.compile != "off" and one.allocator == case.allocator for one in own
                ),
                log=self.directory / ".scratch" / f"{name}.log",
                timeout_s=self.run.timeout_s,
                place=side.place,
                say=self.say,
            )
            self._open[name, case.allocator] = session
        return session

    def _prove(self, proof: Mapping[str, Any], name: str) -> None:
        """Raises SideError where what ran is not the side's own code."""
        other = self.sides["A" if name == "B" else "B"]
        if proof and (why := unproven(self.sides[name], other, proof)):
            raise SideError(why)


def _remove(asked: Mapping[str, Any]) -> None:
    """What a child that was killed has left: it is not the answer of the next one."""
    for file in (Path(asked["out"]), Path(asked["log"])):
        file.parent.mkdir(parents=True, exist_ok=True)  # a subject may have removed it
        file.unlink(missing_ok=True)
