"""Makes a record from the file that a child left and from the way it ended."""

import dataclasses
import itertools
import tempfile
from pathlib import Path

from bench.core import decode
from bench.core.errors import NO_SPACE, UserError
from bench.core.protocol import Ended, Exited, Request, Signalled, TimedOut, WorkerLost
from bench.core.records import Entry, Failure, RecordError, Status
from bench.core.text import printable
from bench.results.run_directory import Folders

LOG_KEPT_BYTES = 64 * 2**10
STAGE_CHARACTERS = 100
ROOM_BYTES = 2**20  # a record and its log need less
HOW_ON = "make room, then continue with --resume"


class DiskFull(UserError):  # noqa: N818 - says what happened
    """Nothing can be written; the message is one line.  The case gets no verdict."""


def collect(asked: Request, ended: Ended, folders: Folders) -> Entry:
    """Return the child's record, or a failure that describes its end.  Raises DiskFull."""
    out, log = Path(asked.out), Path(asked.log)
    try:
        entry = decode.entry(out.read_bytes())
        if entry.case != asked.case:
            raise RecordError("of another case")
    except (OSError, RecordError):
        _refuse_full_disk(out.parent, tempfile.gettempdir())
        status, reason = _explain(ended, asked)
        entry = Failure(case=asked.case, replicate=asked.replicate, status=status, reason=reason)
    if isinstance(entry, Failure):
        entry = _in_context(entry, ended, out.parent)
        if log.exists() and log.stat().st_size:
            entry = _with_log(entry, log, folders)
    for file in (out, log, *([Path(asked.stage)] if asked.stage else [])):
        file.unlink(missing_ok=True)
    return dataclasses.replace(entry, wall_s=ended.wall_s)


def _in_context(failure: Failure, ended: Ended, scratch: Path) -> Failure:
    """Add to a child's failure what the child could not know."""
    if failure.cause == "disk-full":
        if failure.case.compile != "off":  # a compiler removes its unfinished output
            raise DiskFull(f"{scratch}: {NO_SPACE}: {HOW_ON}")
        _refuse_full_disk(scratch, tempfile.gettempdir())
    if ended.out_of_memory and failure.status in ("error", "crash"):
        reason = f"memory ran out: the kernel ended a process of it ({failure.reason})"
        return dataclasses.replace(failure, status="oom", reason=reason)
    return failure


def _refuse_full_disk(*folders: Path | str) -> None:
    """Raise DiskFull where nothing can be written.

    This writes a file to find out: an exit code may be a subject's own, and quotas show nowhere
    else.
    """
    for folder in folders:
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(bytes(ROOM_BYTES))
                file.flush()
        except OSError as error:
            raise DiskFull(f"{folder}: {NO_SPACE}: {error.strerror}; {HOW_ON}") from None


def _explain(ended: Ended, asked: Request) -> tuple[Status, str]:
    match ended.how:
        case TimedOut():
            limit = f"{asked.timeout_s:.0f} s ({asked.timeout_is})"
            return "timeout", f"not done after {limit}{_stage(asked)}"
        case Signalled("SIGKILL") if ended.out_of_memory:
            return "oom", "ended by the kernel because memory ran out"
        case Signalled("SIGKILL"):
            return "crash", "ended by SIGKILL, and not by the kernel for want of memory"
        case Signalled(name):
            return "crash", f"ended by {name}"
        case Exited(code):
            return "crash", f"the process ended itself with exit code {code}"
        case WorkerLost(why):
            return "crash", f"{why}, while it ran this case"


def _stage(asked: Request) -> str:
    """Return the stage that the child had written down when it ended; a subject may have written
    it, too.
    """
    try:
        left = Path(asked.stage or "").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return f", {printable(left[:STAGE_CHARACTERS])}" if left else ""


def _with_log(failure: Failure, log: Path, folders: Folders) -> Failure:
    """Keep the end of the child's output, with its traceback, and name the file."""
    folders.failures.mkdir(parents=True, exist_ok=True)
    kept = _unused(folders.failures / f"{folders.of(failure.case)}.txt")
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_KEPT_BYTES))
        lines = file.read().decode("utf-8", errors="replace").split("\n")
    head = f"{failure.case.case_id}\nreplicate {failure.replicate}: {failure.status}\n\n"
    text = "\n".join(printable(line.replace("\t", "    ")) for line in lines)
    kept.write_text(head + text, encoding="utf-8")
    return dataclasses.replace(failure, log=kept.name)


def _unused(path: Path) -> Path:
    """Return the path, with `-2`, `-3` … in its name where a failure of the case has that name."""
    numbered = (path.with_stem(f"{path.stem}-{number}") for number in itertools.count(2))
    return next(one for one in itertools.chain([path], numbered) if not one.exists())
