"""The command `bench export RUN --to FORMAT`: results for other tools."""

import contextlib
import json
import re
import sys
import uuid
from pathlib import Path
from typing import Any

from bench.core.errors import UserError
from bench.core.exit_codes import OK
from bench.core.near import did_you_mean
from bench.host.git import PLAIN_LOG, GitError, git
from bench.results import export_asv, export_files
from bench.results.loading import load
from bench.results.results import Results

ASV, PARQUET = "asv", "parquet"
KNOWN = (*export_files.FORMATS, ASV, PARQUET)


class FormatError(UserError):
    """A format that is unknown, or a file that cannot be written."""


def run(path: Path, to: str, out: Path | None) -> int:
    """Write the results of a run in the format of another tool.  Return the exit code.

    out: a file, for asv its results folder; standard output if it is not given.
    """
    if to not in KNOWN:
        near = did_you_mean(to, KNOWN)
        raise FormatError(f"--to is {to!r}; expected one of {', '.join(KNOWN)}{near}")
    if out is None and to in (ASV, PARQUET):
        what = "the results folder of asv" if to == ASV else "a file"
        raise FormatError(f"--to {to} is not a text: give --out with {what}")
    found = load(path)
    try:
        if to == ASV and out is not None:
            _write_asv(found, out)
        elif to == PARQUET and out is not None:
            _write_parquet(found, out)
        else:
            _write_text(export_files.FORMATS[to](found), out)
    except OSError as error:
        raise FormatError(f"{out}: cannot be written: {error.strerror or error}") from None
    return OK


def _write_text(text: str, out: Path | None) -> None:
    if out is None:
        sys.stdout.write(text)
    else:
        out.write_text(text, encoding="utf-8")


def _write_asv(found: Results, folder: Path) -> None:
    """Add the run to a results folder of asv; results of other runs stay there."""
    committed_ms = _committed_ms(found.description.environment.git_commit)
    for name, content in export_asv.files(found, committed_ms).items():
        file = folder / name
        if file.exists():
            content = export_asv.merged(name, _read(file), content)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _committed_ms(commit: str | None) -> int | None:
    """Return when a commit was made, by the repository around us; None if it has no such commit."""
    if commit is None or not re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", commit):
        return None
    with contextlib.suppress(GitError, ValueError):
        form = ("--no-patch", *PLAIN_LOG, "--format=%ct")
        return 1000 * int(git(Path.cwd(), "show", *form, commit, "--", why="unknown commit"))
    return None


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise FormatError(f"{file}: is not a file of asv; give another folder") from None
    return content


def _write_parquet(found: Results, out: Path) -> None:
    """A row for each case and phase, with the columns of measurements.csv."""
    frame = found.frame.convert_dtypes()
    if frame.empty:
        raise export_files.nothing_to_export(found)
    beside = out.with_name(f".parquet-{uuid.uuid4().hex}")
    beside.touch(exist_ok=False)  # with the rights that other files of the user get
    try:
        frame.to_parquet(beside, engine="pyarrow", index=False)
        beside.replace(out)
    except ImportError:
        raise FormatError(
            "--to parquet needs the package pyarrow: pip install 'convnet-bench[parquet]'"
        ) from None
    finally:
        beside.unlink(missing_ok=True)
