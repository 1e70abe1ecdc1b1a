"""A replicate as its runner sees it: a process that answers one request at a time."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.config import RunOptions
from bench.errors import UserError
from bench.records import Case, Entry, Failure, RecordError, Status, from_line

# Freed memory stays with the process: above these, glibc neither maps nor returns single
# blocks (mallopt(3)).  Measured: docs/trust.md, rule 33b.
RETAINED = {
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "MALLOC_TOP_PAD_": str(2**28),
}
NOT_WRITTEN = 74  # a child's exit code: bench.worker.child
LOG_KEPT_BYTES = 64 * 2**10


class SessionError(UserError):
    """A replicate did not start; the message is one line."""


class ReplicateDied(RuntimeError):  # noqa: N818 - says what happened
    """The replicate itself ended while a case was under way."""


@dataclass(frozen=True, slots=True)
class Folders:
    """Where a run keeps what its processes leave."""

    scratch: Path  # results, logs and compile caches of the run, removed at its end
    failures: Path

    def reference(self, case: Case) -> Path:
        """File of the float64 values of a subject, one for all its settings."""
        key = repr((case.subject, case.mode, case.batch, case.input))
        return self.scratch / "reference" / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.pt"

    def of(self, case: Case) -> str:
        """A file name for a case: readable, safe in a shell, unique."""
        digest = hashlib.sha256(case.case_id.encode()).hexdigest()[:8]
        return f"{re.sub(r'[^A-Za-z0-9._=-]+', '_', case.case_id)[:100]}-{digest}"


class Session:
    """One fresh interpreter; `ask` blocks until its child has ended."""

    def __init__(
        self, *, allocator: str | None, modules: Sequence[str], inductor: bool, log: Path
    ) -> None:
        """Start it.  Raises SessionError."""
        environment = {name: value for name, value in os.environ.items() if name not in RETAINED}
        if allocator == "retained":
            environment |= RETAINED
        environment.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # no pool beside the timing
        environment["PYTHONUNBUFFERED"] = "1"
        self._inductor = inductor
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bench.worker.replicate"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                encoding="utf-8",
                env=environment,
                start_new_session=True,  # Ctrl-C is for the runner
            )
        try:
            answer = self._exchange({"modules": list(modules), "inductor": inductor, "fork": True})
        except ReplicateDied as error:
            tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise SessionError(f"{error}: {tail[-1] if tail else 'it said nothing'}") from None
        self.forks = bool(answer["fork"])

    @property
    def dead(self) -> bool:
        return self._process.poll() is not None

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """One child.  Raises ReplicateDied."""
        return self._exchange({**request, "inductor": self._inductor})

    def close(self) -> None:
        """End it, and with it what it started."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                try:
                    pipe.close()
                except OSError:
                    continue  # the process is gone; nothing was owed

    def _exchange(self, message: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(dict(message)) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:
            line = ""
        if not line.endswith("\n"):
            self._process.wait()
            raise ReplicateDied(f"the replicate ended with exit code {self._process.returncode}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def request(
    job: str, case: Case, replicate: int, calls: int | None, run: RunOptions, folders: Folders
) -> dict[str, Any]:
    """What a child is asked."""
    name = folders.of(case)
    return {
        "job": job,
        "case": case.as_dict(),
        "replicate": replicate,
        "calls": calls,
        "budget": {
            "warmup_s": run.warmup_s,
            "samples_s": run.samples_s,
            "min_samples": run.min_samples,
        },
        "cache": str(folders.scratch / "compile" / name),
        "reference": str(folders.reference(case)),
        "out": str(folders.scratch / f"{name}.{job}.json"),
        "log": str(folders.scratch / f"{name}.{job}.log"),
        "timeout_s": run.timeout_s,
    }


def collect(asked: Mapping[str, Any], ended: Mapping[str, Any], folders: Folders) -> Entry:
    """The record that the child left, or what its end says instead."""
    out, log = Path(asked["out"]), Path(asked["log"])
    case = Case.of(asked["case"])
    try:
        entry = from_line(out.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, RecordError):
        if ended.get("code") == NOT_WRITTEN:  # says nothing about the case: it is to be resumed
            raise SessionError(f"{out.parent}: cannot be written; is the disk full?") from None
        status, reason = _explain(ended, asked["timeout_s"])
        entry = Failure(case=case, replicate=asked["replicate"], status=status, reason=reason)
    out.unlink(missing_ok=True)
    if isinstance(entry, Failure) and log.exists() and log.stat().st_size:
        entry = _with_log(entry, log, folders)
    log.unlink(missing_ok=True)
    return entry


def _explain(ended: Mapping[str, Any], timeout_s: float) -> tuple[Status, str]:
    match ended:
        case {"end": "timeout"}:
            return "timeout", f"not done after {timeout_s:.0f} s (--timeout)"
        case {"end": "signal", "signal": "SIGKILL"}:
            return "oom", "ended by SIGKILL, as the kernel does when memory runs out"
        case {"end": "signal", "signal": name}:
            return "crash", f"ended by {name}"
        case {"end": "exit", "code": code}:
            return "crash", f"the process ended itself with exit code {code}"
    return "crash", "the replicate ended"


def _with_log(failure: Failure, log: Path, folders: Folders) -> Failure:
    """Keep the end of what the child printed, its traceback above all, and name the file."""
    folders.failures.mkdir(exist_ok=True)
    kept = folders.failures / f"{folders.of(failure.case)}.txt"
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_KEPT_BYTES))
        text = file.read().decode("utf-8", errors="replace")
    head = f"{failure.case.case_id}\nreplicate {failure.replicate}: {failure.status}\n\n"
    kept.write_text(head + text, encoding="utf-8")
    return Failure(
        case=failure.case,
        replicate=failure.replicate,
        status=failure.status,
        reason=f"{failure.reason} (failures/{kept.name})",
        state=failure.state,
    )
