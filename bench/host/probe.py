"""The probe: it finds the devices of this machine and looks at the subjects.

The probe runs in a process of its own (`bench.worker.probe`), because a query to a device
initialises its driver, after which forks do not work.  This module starts it and holds its records.
"""

import dataclasses
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from bench.core.errors import UserError, refused
from bench.core.subject import parse
from bench.core.text import printable
from bench.host import orphans
from bench.host.environment import digest
from bench.host.interpreter import HERE, START_S, Place

TAIL_BYTES = 10_000


class ProbeError(UserError):
    """The probe failed; the message is one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device that torch can compute on."""

    name: str  # cpu, cuda:0
    shown: str  # name that its driver reports
    has_cudnn: bool = False
    has_tf32: bool = False

    @property
    def type(self) -> str:
        return self.name.partition(":")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer that the subject calls."""

    name: str  # dotted; name#2 for a second call
    alias: str | None
    type: str
    same_as: tuple[str, ...] = ()  # names and aliases of equal layers, measured once
    calls: int = 1  # of this and the equal layers, in one call of the subject

    @property
    def shown(self) -> str:
        return self.alias or self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectFound:
    """A subject as the probe built it."""

    error: str | None = None  # reason, if there is no such subject
    raised: str | None = None  # reason, if its code raised an error, or ended or blocked the probe
    missing: str | None = None  # a module that its import did not find
    has_inputs: bool = False  # it has example_inputs
    guessed: str | None = None  # an input that it takes, where it has no example_inputs
    parameters: int | None = None
    file: str | None = None  # file of its code
    layers: tuple[Layer, ...] = ()  # the layers of SUBJECT/*
    modules: tuple[Layer, ...] = ()  # further modules that it calls
    layers_error: str | None = None

    @classmethod
    def unknown(cls, why: str) -> Self:
        """Return a subject that the probe could not examine; its rows will have the reason."""
        return cls(raised=why, layers_error=why, has_inputs=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A module of the user's own, as it was imported."""

    file: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Everything that the plan needs to know."""

    torch: str
    facts: Mapping[str, Any]  # for run.json
    devices: Mapping[str, Device]
    subjects: Mapping[str, SubjectFound]
    # By name: the user's own modules that the subjects import.
    sources: Mapping[str, Source] = dataclasses.field(default_factory=dict)

    @property
    def digests(self) -> dict[str, str]:
        """Return the digests of the sources for run.json, without their folders."""
        return {name: one.digest for name, one in self.sources.items()}


def edited(sources: Mapping[str, Source]) -> str:
    """Return a warning that names the files changed since their import; empty if none did."""
    names = [name for name, one in sources.items() if digest(Path(one.file)) != one.digest]
    if not names:
        return ""
    were = "was" if len(names) == 1 else "were"
    return f"{', '.join(names)} {were} edited during the run: the results may mix two versions"


def look(
    subjects: Sequence[str], inputs: Mapping[str, str], timeout_s: float, place: Place = HERE
) -> Probe:
    """Start a probe and wait for it.  Raises ProbeError.

    subjects:  names; those that end in `/*` have their layers listed.
    inputs:    input by subject without its layer; a subject that is missing uses its own.
    timeout_s: for importing and building the subjects, in addition to START_S.
    """
    try:
        return _ask(subjects, inputs, timeout_s, place)
    except ProbeError:
        wholes = list(dict.fromkeys(parse(one).whole for one in subjects))
        if len(wholes) < 2:
            raise
    # One subject ends the probe: probe each alone, so that only the rows of that one fail.
    found = _ask((), {}, timeout_s, place)
    seen: dict[str, SubjectFound] = {}
    sources: dict[str, Source] = {}
    lost: list[str] = []
    for whole in wholes:
        own = [one for one in subjects if parse(one).whole == whole]
        try:
            alone = _ask(own, inputs, timeout_s, place)
            seen |= alone.subjects
            sources |= alone.sources
        except ProbeError as error:
            seen[whole] = SubjectFound.unknown(str(error))
            lost.append(str(error))
    if len(lost) == len(wholes):
        raise ProbeError("; ".join(lost))
    return dataclasses.replace(found, subjects=seen, sources=sources)


def built(found: Probe) -> Probe:
    """Return `found` if at least one subject can be built; else raise ProbeError.

    If some subjects of several cannot be built, only their own rows fail, with the reason.
    """
    subjects = found.subjects.values()
    for subject in subjects:
        if subject.error:
            raise ProbeError(f"subject {subject.error}")
    if subjects and all(subject.raised for subject in subjects):
        raise ProbeError("; ".join(f"subject {subject.raised}" for subject in subjects))
    return found


def _ask(
    subjects: Sequence[str], inputs: Mapping[str, str], timeout_s: float, place: Place
) -> Probe:
    """One probe process.  Raises ProbeError."""
    try:
        with tempfile.TemporaryDirectory(
            prefix="bench-probe-", ignore_cleanup_errors=True
        ) as folder:
            return _answer(subjects, inputs, timeout_s, place, Path(folder))
    except OSError as error:
        where = refused(error, "the folder for temporary files")
        raise ProbeError(f"{where}, or choose another (TMPDIR)") from None


def _answer(
    subjects: Sequence[str],
    inputs: Mapping[str, str],
    timeout_s: float,
    place: Place,
    folder: Path,
) -> Probe:
    """Raises ProbeError, OSError."""
    shown = ", ".join(subjects) or "torch"
    out, errors, asked = folder / "probe.json", folder / "errors", folder / "request.json"
    request = {
        "subjects": list(subjects),
        "inputs": dict(inputs),
        "out": str(out),
        "parent": os.getpid(),
    }
    asked.write_text(json.dumps(request), encoding="utf-8")
    marked = orphans.mark()
    # Files, not pipes: what a subject leaves running would hold a pipe open.
    with asked.open("rb") as given, errors.open("wb") as said:
        process = subprocess.Popen(
            place.command("bench.worker.probe"),
            cwd=place.folder,
            stdin=given,
            stdout=subprocess.DEVNULL,
            stderr=said,
            env={**os.environ, **place.environment(), **marked, "PYTHONUNBUFFERED": "1"},
        )
    try:
        code = process.wait(START_S + timeout_s)
    except subprocess.TimeoutExpired:
        raise ProbeError(
            f"importing and building {shown} took more than {START_S + timeout_s:.0f} s; "
            "raise --timeout, or make the import faster"
        ) from None
    finally:
        if process.returncode != 0:  # else it has ended what it started
            process.kill()
            process.wait()
            orphans.end(marked)
    try:
        return _read(json.loads(out.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, LookupError, TypeError):  # it ended while it wrote
        tail = (_tail(errors).splitlines() or ["no error output"])[-1]
        raise ProbeError(
            f"the probe of {shown} ended with exit code {code}: {printable(tail)}"
        ) from None


def _tail(file: Path) -> str:
    """Return the end of the error output."""
    with file.open("rb") as said:
        said.seek(max(0, file.stat().st_size - TAIL_BYTES))
        return said.read().decode("utf-8", errors="replace").strip()


def _read(found: Mapping[str, Any]) -> Probe:
    return Probe(
        torch=found["torch"],
        facts=found["facts"],
        devices={one["name"]: Device(**one) for one in found["devices"]},
        subjects={name: _subject(one) for name, one in found["subjects"].items()},
        sources={name: Source(**one) for name, one in found["sources"].items()},
    )


def _subject(fields: Mapping[str, Any]) -> SubjectFound:
    layers, modules = (
        tuple(Layer(**{**one, "same_as": tuple(one["same_as"])}) for one in fields[key])
        for key in ("layers", "modules")
    )
    return SubjectFound(**{**fields, "layers": layers, "modules": modules})


def as_json(value: Any) -> Any:
    """Return a record of this module as plain dicts and lists for JSON."""
    return dataclasses.asdict(value)
