"""The worker pool: fork servers by allocator and device, which ask children for records.

All commands measure through it, so that one rule decides what is shared, started again and retried.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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
from bench.host.wait_policy import WaitPolicy
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

    def take_over(self, other: "Experience") -> None:
        """Know what the other one knows, and print what it was told and will be told."""
        if other is self:
            return
        for text in sorted(other.said):
            self.tell_new(text)
        for place, modules in other.unshared.items():
            self.unshared.setdefault(place, set()).update(modules)
        other.tell = self.tell_new

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


@dataclass(frozen=True, slots=True)
class ServerKind:
    """The cases that one fork server serves.  device: None: those of all devices."""

    allocator: str | None
    device: str | None = None


class Stopped(Exception):  # noqa: N818 - says what happened
    """The pool was stopped while it measured; there is no outcome."""


@dataclass(kw_only=True)
class WorkerPool:
    """The fork servers of one place for these cases, one for each allocator.

    They start when they are first needed, or all together in `opened`.  One that ended is replaced.

    parallel: each device has fork servers of its own, so `ask` may be called by a thread for each.
    """

    cases: Sequence[Case]
    folders: Folders
    log: Path  # of the fork servers; the name of the allocator is added
    timeout_s: float = 180.0
    place: Place = HERE
    experience: Experience = field(default_factory=Experience)
    start: Callable[..., ForkServer] = ForkServer
    parallel: bool = False
    wait_policy: WaitPolicy = "default"
    _open: dict[ServerKind, ForkServer] = field(default_factory=dict)
    # Is set when modules may be imported; until then the fork servers import torch alone.
    modules_may_come: threading.Event | None = None
    _spawned: list[ForkServer] = field(default_factory=list)  # not all of them are open yet
    held_s: float = 0.0  # that a fork server waited for `modules_may_come`
    _stopped: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)  # of _spawned and _stopped

    @property
    def kinds(self) -> list[ServerKind]:
        return list(dict.fromkeys(map(self._kind, self.cases)))

    def _kind(self, case: Case) -> ServerKind:
        return ServerKind(case.allocator, case.device if self.parallel else None)

    def ask(self, request: Request) -> Entry:
        """Return the record of one child.  Raises StartError, DiskFull, Stopped."""
        ended = policy.tried(lambda: self._ended(request), lambda one: one.killed)
        entry = collect(request, ended, self.folders)
        self.experience.tell_host_times(entry)
        return entry

    def _ended(self, request: Request) -> Ended:
        make_room(request)
        ended = self.server(self._kind(request.case)).ask(request)
        if self._stopped:
            raise Stopped
        if isinstance(ended.how, WorkerLost):
            case_id = request.case.case_id
            self.experience.tell(f"{case_id}: {ended.how.why}; a new one is started")
        return ended

    def server_of(self, case: Case) -> ForkServer:
        """Return the fork server that serves a case.  Raises StartError."""
        return self.server(self._kind(case))

    def server(self, kind: ServerKind) -> ForkServer:
        """Return the fork server of a kind.  Raises StartError, Stopped."""
        if self._stopped:
            raise Stopped
        server = self._open.get(kind)
        if server is None or server.dead:
            unshared = self.experience.unshared.setdefault(self.place, set())
            served = [one for one in self.cases if self._kind(one) == kind]
            devices = {one.device for one in served}
            names = [kind.allocator, *([kind.device.replace(":", "-")] if kind.device else [])]
            server = self._open[kind] = self.start(
                allocator=kind.allocator,
                modules=sorted({parse(one.subject).module for one in self.cases} - unshared),
                inductor=COMPILER not in unshared and any(one.compile != "off" for one in served),
                log=self.log.with_stem("-".join([self.log.stem, *map(str, names)])),
                timeout_s=self.timeout_s,
                place=self.place,
                cpu_only=devices == {"cpu"},
                wait_policy=self.wait_policy,
                say=self.experience.tell_new,
                vectors=self._vectors(served),
                spawned=self._keep_spawned,
            )
            unshared |= server.unshared
            if self._stopped:  # meanwhile
                server.kill()
                raise Stopped
        return server

    @staticmethod
    def _compiles_on_cpu(served: Sequence[Case]) -> bool:
        return any(one.compile != "off" and one.device == "cpu" for one in served)

    def _vectors(self, served: Sequence[Case]) -> Path | None:
        folder = self.folders.scratch / "compile" / "vectors"
        return folder if self._compiles_on_cpu(served) else None

    def _keep_spawned(self, server: ForkServer) -> None:
        """Keep a fork server, so that `stop` ends it while it imports.  Raises Stopped."""
        with self._lock:
            self._spawned.append(server)
        if self.modules_may_come is not None:
            begin_s = time.monotonic()
            self.modules_may_come.wait()
            self.held_s = max(self.held_s, time.monotonic() - begin_s)
        if self._stopped:
            server.kill()
            raise Stopped

    def serves_as(self, other: "WorkerPool") -> bool:
        """Return whether this pool has the fork servers that the other one needs, and no more."""
        mine, theirs = (
            (one.place, one.parallel, one.wait_policy, one._needs()) for one in (self, other)
        )
        return mine == theirs

    def take_over(self, other: "WorkerPool") -> None:
        """Use the fork servers of another pool that serves as this one; it then has none."""
        self.experience.take_over(other.experience)
        self._open, other._open = other._open, {}
        self._spawned, other._spawned = other._spawned, []

    def _needs(self) -> dict[ServerKind, object]:
        """Return the imports and devices of each fork server."""
        served = {
            kind: [one for one in self.cases if self._kind(one) == kind] for kind in self.kinds
        }
        return {
            kind: (
                {parse(one.subject).module for one in self.cases},
                {one.device == "cpu" for one in cases},
                any(one.compile != "off" for one in cases),
                self._compiles_on_cpu(cases),
            )
            for kind, cases in served.items()
        }

    def stop(self) -> None:
        """Kill the fork servers, so that each thread that waits for one gets Stopped."""
        with self._lock:
            self._stopped = True
            spawned = list(self._spawned)
        if self.modules_may_come is not None:
            self.modules_may_come.set()
        for server in {id(one): one for one in (*spawned, *self._open.values())}.values():
            server.kill()

    def close(self) -> None:
        """End the fork servers; the next request starts new ones."""
        for server in self._open.values():
            server.close()
        self._open.clear()


class Starting:
    """A pool whose fork servers start while something else is done."""

    def __init__(self, pool: WorkerPool) -> None:
        self.pool = pool
        self._threads = ThreadPoolExecutor(max(1, len(pool.kinds)))
        self._began_s = self._ended_s = time.monotonic()
        self._starts: list[Future[None]] = []

    def begin(self) -> None:
        """Start them, each in a thread of its own."""
        self._starts = [self._threads.submit(self._start, kind) for kind in self.pool.kinds]

    def _start(self, kind: ServerKind) -> None:
        self.pool.server(kind)
        self._ended_s = time.monotonic()

    @property
    def took_s(self) -> float:
        """The seconds until the last of them had started, without what they waited for modules."""
        return max(0.0, self._ended_s - self._began_s - self.pool.held_s)

    @property
    def ready(self) -> bool:
        """Return whether none of them is starting any more."""
        return all(one.done() for one in self._starts)

    def started(self) -> WorkerPool:
        """Wait until all have started; `opened` starts again what could not be started here."""
        self._threads.shutdown()
        return self.pool

    def drop(self) -> None:
        """End them, also while they import."""
        self.pool.stop()
        self.started().close()


@contextlib.contextmanager
def opened(*pools: WorkerPool) -> Iterator[None]:
    """Start all fork servers, and end them when the block ends.  Raises StartError."""
    needed = [(pool, kind) for pool in pools for kind in pool.kinds]
    try:
        # All together take half as long: nothing is timed yet.
        with ThreadPoolExecutor(max(1, len(needed))) as threads:
            starts = [threads.submit(pool.server, one) for pool, one in needed]
            try:
                for started in starts:
                    started.result()
            except KeyboardInterrupt:
                for pool in pools:
                    pool.stop()  # an import may hang
                raise
        yield
    finally:
        for pool in pools:
            pool.close()
