"""The worker pool: fork servers by allocator, which ask children for records.

All commands measure through it, so that one rule decides what is shared, started again and retried.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from bench.core.protocol import Ended, Request, WorkerLost
from bench.core.records import HOST_TIMES, MISSED_BY_EVENTS, Case, Entry, Measurement
from bench.core.subject import parse
from bench.engine import policy
from bench.engine.collect import collect
from bench.engine.fork_server import ForkServer
from bench.engine.requests import make_room
from bench.host.interpreter import COMPILER, HERE, Place
from bench.results.run_directory import Folders


@dataclass(kw_only=True)
class Experience:
    """Observations of the worker pools of one command, one after the other."""

    tell: Callable[[str], None] = lambda _: None
    # Modules whose import changes a process, by place: each child imports them for itself.
    unshared: dict[Place, set[str]] = field(default_factory=dict)
    said: set[str] = field(default_factory=set)

    def tell_new(self, text: str, about: str | None = None) -> None:
        """Print a note once: each fork server of a command says the same.

        about: identifies the note, where its text has figures of the child that says it.
        """
        if (about or text) not in self.said:
            self.said.add(about or text)
            self.tell(text)

    def tell_host_times(self, entry: Entry) -> None:
        """Print, once, why a device or a case has host times alone, if it has."""
        if not isinstance(entry, Measurement):
            return
        device, case_id = entry.case.device, entry.case.case_id
        for key, whose in ((HOST_TIMES, device), (MISSED_BY_EVENTS, case_id)):
            if key in entry.state:
                self.tell_new(
                    f"{whose} has host times alone; its events are not used: {entry.state[key]}",
                    about=f"{key} of {whose}",
                )


@dataclass(kw_only=True)
class WorkerPool:
    """The fork servers of one place for these cases, one for each allocator.

    They start when they are first needed, or all together in `opened`.  One that ended is replaced.
    """

    cases: Sequence[Case]
    folders: Folders
    log: Path  # of the fork servers; the name of the allocator is added
    timeout_s: float = 180.0
    place: Place = HERE
    experience: Experience = field(default_factory=Experience)
    start: Callable[..., ForkServer] = ForkServer
    _open: dict[str | None, ForkServer] = field(default_factory=dict)

    @property
    def allocators(self) -> list[str | None]:
        return list(dict.fromkeys(case.allocator for case in self.cases))

    def ask(self, request: Request) -> Entry:
        """Return the record of one child.  Raises StartError, DiskFull."""
        ended = policy.tried(lambda: self._ended(request), lambda one: one.killed)
        entry = collect(request, ended, self.folders)
        self.experience.tell_host_times(entry)
        return entry

    def _ended(self, request: Request) -> Ended:
        make_room(request)
        server = self.server(request.case.allocator)
        ended = server.ask(request)
        if isinstance(ended.how, WorkerLost):
            case_id = request.case.case_id
            self.experience.tell(f"{case_id}: {ended.how.why}; a new one is started")
        return ended

    def server(self, allocator: str | None) -> ForkServer:
        """Return the fork server for an allocator.  Raises StartError."""
        server = self._open.get(allocator)
        if server is None or server.dead:
            unshared = self.experience.unshared.setdefault(self.place, set())
            devices = {one.device for one in self.cases if one.allocator == allocator}
            server = self._open[allocator] = self.start(
                allocator=allocator,
                modules=sorted({parse(one.subject).module for one in self.cases} - unshared),
                inductor=COMPILER not in unshared
                and any(one.compile != "off" and one.allocator == allocator for one in self.cases),
                log=self.log.with_stem(f"{self.log.stem}-{allocator}"),
                timeout_s=self.timeout_s,
                place=self.place,
                cpu_only=devices == {"cpu"},
                say=self.experience.tell_new,
            )
            unshared |= server.unshared
        return server

    def serves_as(self, other: "WorkerPool") -> bool:
        """Return whether this pool has the fork servers that the other one needs, and no more."""
        return self._kinds() == other._kinds()

    def _kinds(self) -> dict[str | None, object]:
        """Imports and devices of each fork server, by its allocator."""
        return {
            allocator: (
                {parse(one.subject).module for one in self.cases},
                {one.device == "cpu" for one in self.cases if one.allocator == allocator},
                any(one.compile != "off" for one in self.cases if one.allocator == allocator),
            )
            for allocator in self.allocators
        }

    def close(self) -> None:
        """End the fork servers; the next request starts new ones."""
        for server in self._open.values():
            server.close()
        self._open.clear()


class Starting:
    """A pool whose fork servers start while something else is done."""

    def __init__(self, pool: WorkerPool) -> None:
        self.pool = pool
        self._threads = ThreadPoolExecutor(max(1, len(pool.allocators)))
        self._servers = [self._threads.submit(pool.server, one) for one in pool.allocators]

    def started(self) -> WorkerPool:
        """Wait until all have started; `opened` starts again what could not be started here."""
        self._threads.shutdown()
        return self.pool

    def drop(self) -> None:
        """End them, as soon as they have started."""
        self.started().close()


@contextlib.contextmanager
def opened(*pools: WorkerPool) -> Iterator[None]:
    """Start all fork servers, and end them when the block ends.  Raises StartError."""
    needed = [(pool, allocator) for pool in pools for allocator in pool.allocators]
    try:
        # All together take half as long: nothing is timed yet.
        with ThreadPoolExecutor(max(1, len(needed))) as starting:
            for started in [starting.submit(pool.server, one) for pool, one in needed]:
                started.result()
        yield
    finally:
        for pool in pools:
            pool.close()
