"""The fork server: one fresh interpreter that imports torch once and forks a child for each case.

It reads requests, one line of JSON each, from standard input, and answers each with one line when
the child has ended.  It blocks meanwhile, and never does tensor arithmetic: a child that is forked
after one OpenMP operator in its parent hangs for ever.
"""

import contextlib
import dataclasses
import gc
import mmap
import os
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from bench import start
from bench.core.protocol import Ended, Ending, Hello, Request, Started, to_line
from bench.host.interpreter import COMPILER, HERE
from bench.worker import case_process, session
from bench.worker.checks import state
from bench.worker.device import torch_private
from bench.worker.model.build import import_seeded
from bench.worker.process import forks, import_effects, limits, supervise
from bench.worker.session import Session

torch_private.import_dynamo()


@dataclass(frozen=True, slots=True)
class Pipes:
    """The pipes to and from the runner; no child and no subject has them."""

    requests: TextIO
    answers: TextIO

    @classmethod
    def take(cls) -> "Pipes":
        """Take over the standard streams, and redirect them: imports read and print."""
        own = cls(os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w"))
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)
        return own

    def answer(self, what: Started | Ended) -> None:
        self.answers.write(to_line(what))
        self.answers.flush()

    def handles(self) -> tuple[int, int]:
        return self.requests.fileno(), self.answers.fileno()

    def files(self) -> list[tuple[int, int] | None]:
        """Identify the files behind the handles: a subject may have closed them."""
        return [import_effects.file_identity(handle) for handle in self.handles()]


def main() -> None:
    """Serve requests until their pipe ends."""
    pipes = Pipes.take()
    hello = Hello.of_line(pipes.requests.readline())
    limits.die_with_parent()
    limits.adopt_orphans()
    switches = state.switches()  # before a subject can turn any
    files = pipes.files()
    limits.limit_resources(
        on_cpu=False, compiles=True
    )  # what an import prints or writes, its threads too
    fork = sys.platform.startswith("linux") and supervise.can_watch()
    early = fork and forks.driver_started()  # before any subject could begin a driver
    unshared = _import(hello) if fork else []
    if pipes.files() != files:
        os._exit(1)  # the runner starts a replicate that leaves imports to its children
    limits.outlive_parent()  # from here on its end is seen, and what runs can be ended
    gc.collect()
    gc.freeze()  # a collection in a child would touch, and so copy, every page of the imports
    pipes.answer(Started(forks=fork, unshared=tuple(unshared), notes=_not_shared(unshared)))
    _serve(pipes, switches, fork=fork, early=early)
    os._exit(0)  # threads that an import left must not delay the end


def _serve(pipes: Pipes, switches: dict[str, Any], *, fork: bool, early: bool) -> None:
    """Start a child for each request: a fork of this process, or else an interpreter of its own."""
    unusable: set[str] = set()  # types of device that no fork of this process can use
    sessions: dict[str, Session] = {}  # by device
    for line in iter(pipes.requests.readline, ""):
        asked = Request.of_line(line)
        asked = dataclasses.replace(asked, switches=switches, parent=os.getpid())
        type_ = asked.case.device.partition(":")[0]
        start, killed = time.perf_counter(), limits.oom_kills()
        notes: tuple[str, ...] = ()
        if not fork or type_ in unusable:
            how: Ending | None = _spawned(asked, pipes)
        elif session.suits(asked):
            how = _in_session(asked, pipes, sessions)
        else:
            how = _forked(asked, pipes, [one for held in sessions.values() for one in held.handles])
        if how is None:
            unusable.add(type_)
            how, notes = _spawned(asked, pipes), (_no_forks(type_, early=early),)
        supervise.end_orphans([one.pid for one in sessions.values()])
        out_of_memory = killed is not None and (limits.oom_kills() or 0) > killed
        wall_s = time.perf_counter() - start
        pipes.answer(Ended(how=how, out_of_memory=out_of_memory, wall_s=wall_s, notes=notes))


def _import(hello: Hello) -> list[str]:
    """Import once what every child needs.

    Returns the modules whose import has changed this process.  Forking would not be safe then, or
    would pass the change on to every other subject, so the runner starts a fork server without
    them.
    """
    unshared, errors = [], sys.stderr
    start.add_subject_folders()
    before = import_effects.snapshot()
    if hello.inductor:
        torch_private.import_inductor()
        if hello.vectors is not None:
            torch_private.check_vector_instructions(Path(hello.vectors))
        now = import_effects.snapshot()
        if import_effects.DRIVER in import_effects.changes(before, now):
            unshared.append(COMPILER)
        before = now
    for module in hello.modules:
        try:
            with warnings.catch_warnings():  # a filter of one is not for the others
                import_seeded(module)
        except BaseException as error:  # the child says so in its row
            with contextlib.suppress(Exception):
                print(f"{module}: {type(error).__name__}: {error}", file=errors)
        now = import_effects.snapshot()
        if changed := import_effects.changes(before, now):
            unshared.append(module)
            with contextlib.suppress(Exception):  # it may have closed the streams
                print(f"{module} changes {', '.join(changed)}: not shared", file=errors)
        before = now
    if unshared:
        supervise.end_orphans()
    return unshared


def _not_shared(unshared: Sequence[str]) -> tuple[str, ...]:
    """Return notes on the compiler; those on a subject come with its own cases."""
    note = (
        f"importing the compiler of {COMPILER} begins the accelerator's driver here, and a process "
        "forked afterwards cannot use it: so each compiled case imports the compiler for itself, "
        "which takes some seconds"
    )
    return (note,) if COMPILER in unshared else ()


def _no_forks(type_: str, *, early: bool) -> str:
    """Return the reason against forks.  early: found before any subject was imported."""
    who = "torch, or what this Python loads when it starts," if early else "an import"
    return (
        f"a forked process cannot use {type_} here: {who} began its driver beforehand; so each "
        f"case on {type_} starts a Python of its own, which takes some seconds"
    )


def _in_session(asked: Request, pipes: Pipes, sessions: dict[str, Session]) -> Ending | None:
    """Run a case in the worker of its device.  None: as in `_forked`."""
    device = asked.case.device
    held = sessions.pop(device, None)
    if held is not None and held.dead:
        held.end()
        held = None
    if held is None:
        others = [handle for one in sessions.values() for handle in one.handles]
        held = Session.started([*pipes.handles(), *others])
    how = held.run(asked, pipes.requests.fileno())
    if held.over:
        held.end()
    else:
        sessions[device] = held
    return how


def _forked(asked: Request, pipes: Pipes, handles: Sequence[int]) -> Ending | None:
    """Run a forked child.  None: a fork of this process cannot use the device, and the job was not
    done.

    handles: others of this process, which the child closes.
    """
    poisoned = mmap.mmap(-1, 1)  # shared; an exit code could be a subject's own
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            _become_child(asked, (*pipes.handles(), *handles))
            if forks.cannot_use(asked.case.device):
                poisoned[0] = 1
            else:
                case_process.run(asked)
            code = 0
        except BaseException:  # nothing of the child may run on in this interpreter
            with contextlib.suppress(BaseException):
                traceback.print_exc()
        finally:
            with contextlib.suppress(BaseException):  # a subject may have replaced or closed them
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)
    ended = supervise.wait(pid, asked.ends_after_s, pipes.requests.fileno())
    return None if poisoned[0] else supervise.ending(ended)


def _become_child(asked: Request, handles: Sequence[int]) -> None:
    """Give the child a session, streams and limits of its own."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for handle in handles:  # those of modules that a subject imported stay open
        os.close(handle)
    case_process.into_log(asked)
    case_process.begin(asked)


def _spawned(asked: Request, pipes: Pipes) -> Ending:
    """Run the child in a fresh interpreter, where forks do not work."""
    with Path(asked.log).open("ab") as log:
        process = subprocess.Popen(
            HERE.command("bench.worker.case_process"),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    assert process.stdin is not None
    with contextlib.suppress(OSError), process.stdin as stdin:  # it may have ended already
        stdin.write(to_line(asked).encode())
    if supervise.can_watch():
        handle = pipes.requests.fileno()
        return supervise.ending(supervise.wait(process.pid, asked.ends_after_s, handle))
    try:
        return supervise.ending(process.wait(timeout=asked.ends_after_s))
    except subprocess.TimeoutExpired:
        supervise.end_session(process.pid)
        process.wait()
        return supervise.ending(None)
