"""Starts a fork server and talks to it: one request at a time, one answer each."""

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from bench.core.decode import Decoder, tagged
from bench.core.errors import UserError
from bench.core.protocol import Ended, Hello, Request, Started, WorkerLost, to_line
from bench.core.records import RecordError
from bench.engine.policy import TRIES
from bench.host import allocators, orphans
from bench.host import wait_policy as wait_policies
from bench.host.interpreter import COMPILER, HERE, START_S, Place
from bench.host.wait_policy import WaitPolicy

GRACE_S = 60.0  # to end a child and clean up after it, in addition to the child's own limit
END_S = 20.0  # a fork server cleans up for ten seconds at most (bench.worker.process.supervise)
LONGEST_S = 1e6  # epoll(7) counts milliseconds in an int

# The first backward of a process asks every driver for its devices (autograd's engine starts a
# thread for each), and a driver with devices takes time and memory of a row on the CPU.  Sources:
# CUDA C++ Programming Guide, CUDA Environment Variables; ROCm, GPU isolation techniques; oneAPI
# DPC++ Compiler, Environment Variables.
HIDDEN: Mapping[str, str] = {
    "CUDA_VISIBLE_DEVICES": "",
    "HIP_VISIBLE_DEVICES": "-1",
    "ROCR_VISIBLE_DEVICES": "-1",
    "ONEAPI_DEVICE_SELECTOR": "!*:gpu",
}

Answer = Started | Ended
T = TypeVar("T", bound=Answer)
_ANSWER: Decoder[Answer] = Decoder(tagged(Answer), "answer of a fork server")


class StartError(UserError):
    """A fork server did not start; the message is one line."""


class _Lost(Exception):  # noqa: N818 - says what happened
    """The fork server ended, or did not answer."""

    def __init__(self, how: WorkerLost) -> None:
        super().__init__(how.why)
        self.how = how


def _with_own(given: Mapping[str, str], *, cpu_only: bool) -> dict[str, str]:
    """Return the variables with those that every fork server needs.  cpu_only: see `ForkServer`."""
    found = {
        "TORCHINDUCTOR_COMPILE_THREADS": "1",  # no pool beside the timing
        # An import that asks torch.cuda.is_available(), as inductor's does in torch 2.11, would
        # begin CUDA's driver, and no fork could use it; torch asks NVML instead.
        "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
        **given,
    }
    hidden = HIDDEN if cpu_only else {}
    return {**found, **hidden, "PYTHONUNBUFFERED": "1"}


class ForkServer:
    """One fresh interpreter that forks a child for each request; `ask` blocks until the child
    ended.
    """

    def __init__(
        self,
        *,
        allocator: str | None,
        modules: Sequence[str],
        inductor: bool,
        log: Path,
        timeout_s: float = 180.0,
        place: Place = HERE,
        cpu_only: bool = False,
        wait_policy: WaitPolicy = "default",
        say: Callable[[str], None] = lambda _: None,
        vectors: Path | None = None,
        spawned: Callable[["ForkServer"], None] = lambda _: None,
    ) -> None:
        """Start it.  Raises StartError.

        modules: imported once for all children, but for those whose import changes the process:
                 `unshared` names them, and each child imports them for itself, so that only its
                 own row suffers.  Where an import ends or hangs the process, that is all of them.
        inductor: import torch's compiler once as well; `unshared` has COMPILER where it cannot be.
        cpu_only: all its children compute on the CPU: accelerators are hidden from them.
        say:     is told, a line each, why cases of this process take longer to start.
        vectors: with `inductor`, the folder of torch's check for vector instructions, which is made
                 once for all children; None: none of them compiles for the CPU.
        spawned: is called when a process is spawned, before that imports modules and is waited for;
                 it may wait itself, and what it raises ends the start.
        """
        self._say, self._tell_spawned = say, spawned
        self._place, self._inductor, self._vectors = place, inductor, vectors
        self._mark = orphans.mark()
        environment = {**allocators.environment(allocator, os.environ), **place.environment()}
        environment = wait_policies.environment(wait_policy, environment)
        environment = {**_with_own(environment, cpu_only=cpu_only), **self._mark}
        shared = list(modules)
        while True:
            try:
                own_s = timeout_s if shared else 0.0
                started = self._start(environment, shared, log, START_S + own_s)
                unshared: Sequence[str] = started.unshared
            except StartError:
                if not shared:
                    raise
                unshared = shared
            if not unshared:
                break
            self.kill()
            shared = [one for one in shared if one not in unshared]
            self._inductor = self._inductor and COMPILER not in unshared
        self.unshared = frozenset(modules) - frozenset(shared)
        if inductor and not self._inductor:
            self.unshared |= {COMPILER}
        self.forks = started.forks

    def _start(
        self, environment: Mapping[str, str], modules: Sequence[str], log: Path, limit_s: float
    ) -> Started:
        """Start the process, and start it again if something killed it.  Raises StartError."""
        vectors = str(self._vectors.absolute()) if self._vectors else None
        hello = Hello(modules=tuple(modules), inductor=self._inductor, vectors=vectors)
        for left in reversed(range(TRIES)):
            self._spawn(environment, log)
            self._send(to_line(hello))
            try:
                return self._answer(Started, limit_s)
            except _Lost as error:
                if not (left and error.how.killed):
                    tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
                    said = tail[-1] if tail else "no error output"
                    raise StartError(f"{error}: {said}") from None
        raise AssertionError("the last try returns or raises")

    def _spawn(self, environment: Mapping[str, str], log: Path) -> None:
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                self._place.command("bench.worker.fork_server_process"),
                cwd=self._place.folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                bufsize=0,
                env=environment,
                start_new_session=True,  # Ctrl-C is handled by the owner
            )
        self._tell_spawned(self)

    @property
    def dead(self) -> bool:
        return self._process.poll() is not None

    def ask(self, request: Request) -> Ended:
        """Run one child to its end."""
        self.begin(request)
        return self.end(GRACE_S + request.ends_after_s)

    def begin(self, request: Request) -> None:
        """Start a child.  Wait for `answered`, then call `end` for the result of `ask`."""
        self._send(to_line(request))

    def end(self, limit_s: float) -> Ended:
        """Return how the child ended, or that the fork server itself ended."""
        try:
            return self._answer(Ended, limit_s)
        except _Lost as error:
            return Ended(how=error.how)

    @property
    def answered(self) -> int:
        """Return a handle that becomes readable when the fork server answers or ends."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def kill(self) -> None:
        """Kill the fork server and everything that it started."""
        self._process.kill()
        self._process.wait()
        orphans.end(self._mark)

    def close(self) -> None:
        """End the fork server, which first ends its own processes."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_S)
        if self._process.poll() is None:
            self.kill()
        self._process.stdout.close()

    def _send(self, line: str) -> None:
        """Send a line.  A fork server that has ended is noticed when its answer is read."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(line.encode())

    def _answer(self, kind: type[T], limit_s: float) -> T:
        """Read an answer.  Raises _Lost."""
        try:
            line = self._line(limit_s)
        except OSError:
            line = b""
        if line is not None and line.endswith(b"\n"):
            with contextlib.suppress(RecordError):
                answer = _ANSWER.of_json(line)
                if isinstance(answer, kind):
                    for note in answer.notes:
                        self._say(note)
                    return answer
        self.kill()
        if line is None:
            raise _Lost(WorkerLost(f"the replicate did not answer within {limit_s:.0f} s"))
        code = self._process.returncode
        why = f"the replicate ended with exit code {code}"
        raise _Lost(WorkerLost(why, killed=code == -signal.SIGKILL))

    def _line(self, limit_s: float) -> bytes | None:
        """Return a line; an incomplete one if the process ended, None if the answer is late."""
        assert self._process.stdout is not None
        end_s = time.monotonic() + min(limit_s, LONGEST_S)
        line = b""
        with selectors.DefaultSelector() as answered:
            answered.register(self._process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not answered.select(max(0.0, end_s - time.monotonic())):
                    return None
                piece = os.read(self._process.stdout.fileno(), 2**16)
                if not piece:
                    break
                line += piece
        return line
