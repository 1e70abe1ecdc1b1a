"""A replicate as its runner sees it: a process that answers one request at a time."""

import contextlib
import dataclasses
import itertools
import json
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.core.errors import NO_SPACE, UserError
from bench.core.records import Case, Entry, Failure, RecordError, Status
from bench.core.text import printable
from bench.engine.policy import TRIES
from bench.host import allocator as allocators
from bench.host import orphans
from bench.host.interpreter import COMPILER, HERE, Place
from bench.plan.config import RunOptions
from bench.results.journal import entry_of
from bench.results.run_directory import Folders

LOG_KEPT_BYTES = 64 * 2**10
START_S = 60.0  # for importing torch, beside what importing the subjects may take
GRACE_S = 60.0  # for ending a child and clearing up after it, beside what the child may take
END_S = 20.0  # a replicate clears up for ten seconds at most (bench.worker.process.supervise)
LONGEST_S = 1e6  # epoll(7) counts milliseconds in an int
WARMUP_CAP_S = 1.5  # not settled by then: measured all the same, and said
STAGE_CHARACTERS = 100
ROOM_BYTES = 2**20  # a record and its log need less


class SessionError(UserError):
    """A replicate did not start; the message is one line."""


class ReplicateDied(RuntimeError):  # noqa: N818 - says what happened
    """The replicate itself ended while a case was under way."""

    def __init__(self, why: str, *, killed: bool = False) -> None:
        """killed: by SIGKILL, and not because it was late."""
        super().__init__(why)
        self.killed = killed


class Session:
    """One fresh interpreter; `ask` blocks until its child has ended."""

    def __init__(
        self,
        *,
        allocator: str | None,
        modules: Sequence[str],
        inductor: bool,
        log: Path,
        timeout_s: float = 180.0,
        place: Place = HERE,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Start it.  Raises SessionError.

        modules: imported once for all children, but for those whose import changes the process:
                 `unshared` names them, and each child imports them for itself, so that only its
                 own row suffers.  Where an import ends or hangs the process, that is all of them.
        inductor: import torch's compiler once as well; `unshared` has COMPILER where it cannot be.
        say:     is told, a line each, why cases of this process take longer to start.
        """
        self._say = say
        environment = {**allocators.environment(allocator, os.environ), **place.environment()}
        self._place = place
        environment.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # no pool beside the timing
        # An import that asks torch.cuda.is_available(), as inductor's does in torch 2.11, would
        # begin CUDA's driver, and no fork could use it; torch asks NVML instead.
        environment.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
        environment["PYTHONUNBUFFERED"] = "1"
        self._mark = orphans.mark()
        environment |= self._mark
        self._inductor = inductor
        shared = list(modules)
        while True:
            try:
                own_s = timeout_s if shared else 0.0
                answer = self._start(environment, shared, log, START_S + own_s)
                unshared = answer["unshared"]
            except SessionError:
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
        self.forks = bool(answer["fork"])

    def _start(
        self, environment: Mapping[str, str], modules: Sequence[str], log: Path, limit_s: float
    ) -> dict[str, Any]:
        """Start it, and again where something killed it.  Raises SessionError."""
        for left in reversed(range(TRIES)):
            self._spawn(environment, log)
            hello = {"modules": list(modules), "inductor": self._inductor}
            try:
                return self._exchange(hello, limit_s)
            except ReplicateDied as error:
                if not (left and error.killed):
                    tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
                    said = tail[-1] if tail else "it said nothing"
                    raise SessionError(f"{error}: {said}") from None
        raise AssertionError("the last try returns or raises")

    def _spawn(self, environment: Mapping[str, str], log: Path) -> None:
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                self._place.command("bench.worker.forkserver"),
                cwd=self._place.folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                bufsize=0,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the runner
            )

    @property
    def dead(self) -> bool:
        return self._process.poll() is not None

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """One child.  Raises ReplicateDied."""
        self.begin(request)
        return self.end(GRACE_S + float(request["timeout_s"]))

    def begin(self, request: Mapping[str, Any]) -> None:
        """Start a child; `answered` can be waited for, then `end` has what `ask` would return."""
        self._send({**request, "inductor": self._inductor})

    def end(self, limit_s: float) -> dict[str, Any]:
        """What the replicate says of the end of its child.  Raises ReplicateDied."""
        return self._answer(limit_s)

    @property
    def answered(self) -> int:
        """A handle that can be read from once the replicate answers, or has ended."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def kill(self) -> None:
        """At once, and all that it has started."""
        self._process.kill()
        self._process.wait()
        orphans.end(self._mark)

    def close(self) -> None:
        """End it.  It sees its pipe end, and ends first what it started."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_S)
        if self._process.poll() is None:
            self.kill()
        self._process.stdout.close()

    def _exchange(self, message: Mapping[str, Any], limit_s: float) -> dict[str, Any]:
        self._send(message)
        return self._answer(limit_s)

    def _send(self, message: Mapping[str, Any]) -> None:
        """Where the replicate has ended, its answer says so."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write((json.dumps(dict(message)) + "\n").encode())

    def _answer(self, limit_s: float) -> dict[str, Any]:
        try:
            line = self._line(limit_s)
        except OSError:
            line = b""
        if line is not None and line.endswith(b"\n"):
            with contextlib.suppress(ValueError, TypeError):
                answer = dict(json.loads(line))
                for note in answer.pop("notes", ()):
                    self._say(str(note))
                return answer
        self.kill()
        code = self._process.returncode
        if line is None:
            raise ReplicateDied(f"the replicate did not answer within {limit_s:.0f} s")
        killed = code == -signal.SIGKILL
        raise ReplicateDied(f"the replicate ended with exit code {code}", killed=killed)

    def _line(self, limit_s: float) -> bytes | None:
        """What it answers: a line, the beginning of one where it ended, None where it is late."""
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


def request(
    job: str, case: Case, replicate: int, calls: int | None, run: RunOptions, folders: Folders
) -> dict[str, Any]:
    """What a child is asked.  Its paths are absolute: a subject may change the directory."""
    name = folders.of(case)
    scratch = folders.scratch.absolute()
    return {
        "job": job,
        "case": case.as_dict(),
        "replicate": replicate,
        "calls": calls,
        "budget": {
            "warmup_s": run.warmup_s,
            "warmup_cap_s": max(WARMUP_CAP_S, 2 * run.warmup_s),
            "samples_s": run.samples_s,
            "min_samples": run.min_samples,
        },
        "cache": str(scratch / "compile" / name),
        "reference": str(folders.reference(case).absolute()),
        "out": str(scratch / f"{name}.{job}.json"),
        "log": str(scratch / f"{name}.{job}.log"),
        "stage": str(scratch / f"{name}.{job}.stage"),
        "timeout_s": run.timeout_s,
    }


def collect(asked: Mapping[str, Any], ended: Mapping[str, Any], folders: Folders) -> Entry:
    """The record that the child left, or what its end says instead.

    Raises SessionError where the disk is full: that is no verdict on the case.
    """
    out, log = Path(asked["out"]), Path(asked["log"])
    case = Case.of(asked["case"])
    try:
        entry = entry_of(out.read_text(encoding="utf-8"))
        if entry.case != case:
            raise RecordError("of another case")
    except (OSError, UnicodeDecodeError, RecordError):
        _refuse_full_disk(out.parent, tempfile.gettempdir())
        status, reason = _explain(ended, asked["timeout_s"], _stage(asked))
        entry = Failure(case=case, replicate=asked["replicate"], status=status, reason=reason)
    if isinstance(entry, Failure):
        entry = _judge(entry, ended, out.parent)
    out.unlink(missing_ok=True)
    Path(asked["stage"]).unlink(missing_ok=True)
    if isinstance(entry, Failure) and log.exists() and log.stat().st_size:
        entry = _with_log(entry, log, folders)
    log.unlink(missing_ok=True)
    return entry


def _judge(failure: Failure, ended: Mapping[str, Any], scratch: Path) -> Failure:
    """A failure as its child told it, in the light of what the child could not know."""
    if failure.cause == "no-space":
        if failure.case.compile != "off":  # a compiler takes away what it could not finish
            raise SessionError(f"{scratch}: {NO_SPACE}: {_HOW_ON}")
        _refuse_full_disk(scratch, tempfile.gettempdir())
    if ended.get("out_of_memory") and failure.status in ("error", "crash"):
        reason = f"memory ran out: the kernel ended a process of it ({failure.reason})"
        return dataclasses.replace(failure, status="oom", reason=reason)
    return failure


_HOW_ON = "make room, then go on with --resume"


def _refuse_full_disk(*folders: Path | str) -> None:
    """Raises SessionError where nothing can be written.

    Found by writing: an exit code may be a subject's own, and quotas show nowhere else.
    """
    for folder in folders:
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(bytes(ROOM_BYTES))
                file.flush()
        except OSError as error:
            raise SessionError(f"{folder}: {NO_SPACE}: {error.strerror}; {_HOW_ON}") from None


def _stage(asked: Mapping[str, Any]) -> str:
    """What the child was at when it ended, as it left word; a subject may have written it, too."""
    try:
        left = Path(asked["stage"]).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return f", {printable(left[:STAGE_CHARACTERS])}" if left else ""


def _explain(ended: Mapping[str, Any], timeout_s: float, stage: str) -> tuple[Status, str]:
    match ended:
        case {"end": "timeout"}:
            return "timeout", f"not done after {timeout_s:.0f} s (--timeout){stage}"
        case {"end": "signal", "signal": "SIGKILL", "out_of_memory": True}:
            return "oom", "ended by the kernel, for memory ran out"
        case {"end": "signal", "signal": "SIGKILL"}:
            return "crash", "ended by SIGKILL, and not by the kernel for want of memory"
        case {"end": "signal", "signal": name}:
            return "crash", f"ended by {name}"
        case {"end": "exit", "code": code}:
            return "crash", f"the process ended itself with exit code {code}"
        case {"end": "replicate", "why": why}:
            return "crash", f"{why}, while it ran this case"
    return "crash", "the replicate ended"


def killed(ended: Mapping[str, Any]) -> bool:
    """Whether it was killed; a subject that does so itself does it again at the next try."""
    match ended:
        case {"end": "signal", "signal": "SIGKILL"}:
            return not ended.get("out_of_memory")
        case {"end": "replicate"}:
            return bool(ended.get("killed"))
    return False


def _with_log(failure: Failure, log: Path, folders: Folders) -> Failure:
    """Keep the end of what the child printed, its traceback above all, and name the file."""
    folders.failures.mkdir(parents=True, exist_ok=True)
    kept = _unused(folders.failures / f"{folders.of(failure.case)}.txt")
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_KEPT_BYTES))
        lines = file.read().decode("utf-8", errors="replace").split("\n")
    head = f"{failure.case.case_id}\nreplicate {failure.replicate}: {failure.status}\n\n"
    text = "\n".join(printable(line.replace("\t", "    ")) for line in lines)
    kept.write_text(head + text, encoding="utf-8")
    return dataclasses.replace(failure, reason=f"{failure.reason} (failures/{kept.name})")


def _unused(path: Path) -> Path:
    """The path, or with `-2`, `-3` … in its name where a failure of the case lies there already."""
    numbered = (path.with_stem(f"{path.stem}-{number}") for number in itertools.count(2))
    return next(one for one in itertools.chain([path], numbered) if not one.exists())
