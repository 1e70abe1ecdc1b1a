"""Start a probe.

It runs in a process that exits (`bench.worker.probe`), because looking at a device initialises it
and poisons forks.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.core.decode import Decoder
from bench.core.errors import UserError
from bench.core.subject import parse
from bench.host import helper
from bench.host.environment import digest
from bench.host.interpreter import HERE, START_S, Place
from bench.host.probed import OF_WEIGHTS, Probe, Source, SubjectFound

_PROBE: Decoder[Probe] = Decoder(Probe, "answer of a probe")
LOOK_AT_IT = "look at what it does"
BY_FLAG = f"give --timeout, or {LOOK_AT_IT}"


class ProbeError(UserError):
    """The probe failed; the message is one line."""


def edited(sources: Mapping[str, Source]) -> str:
    """Return a warning that names the files changed since their import; empty if none did."""
    names = [name for name, one in sources.items() if digest(Path(one.file)) != one.digest]
    if not names:
        return ""
    were = "was" if len(names) == 1 else "were"
    return f"{', '.join(names)} {were} edited during the run: the results may mix two versions"


def look(
    subjects: Sequence[str],
    inputs: Mapping[str, str],
    timeout_s: float,
    place: Place = HERE,
    weights: str | None = None,
    slow: str = BY_FLAG,
) -> Probe:
    """Start a probe and wait for it.  Raises ProbeError.

    weights: absolute path of the file that is loaded into subjects of the user's; it is one of the
             sources of the answer, so that a change of it is seen as one of the code is.

    subjects:  names; those that end in `/*` have their layers listed.
    inputs:    input by subject without its layer; a subject that is missing uses its own.
    timeout_s: for importing and building the subjects, in addition to START_S.
    slow:      what to do about a subject that takes longer; LOOK_AT_IT without such a flag.
    """
    found = _look(subjects, inputs, timeout_s, place, weights, slow)
    if weights is None or (of_file := digest(Path(weights))) is None:
        return found
    name = f"{OF_WEIGHTS}{Path(weights).name}"
    given = Source(file=weights, digest=of_file)
    return dataclasses.replace(found, sources={**found.sources, name: given})


def _look(
    subjects: Sequence[str],
    inputs: Mapping[str, str],
    timeout_s: float,
    place: Place,
    weights: str | None,
    slow: str,
) -> Probe:
    """Probe all subjects in one process or, if one of them ends it, each in its own."""
    try:
        return _ask(subjects, inputs, timeout_s, place, weights, slow)
    except ProbeError:
        wholes = list(dict.fromkeys(parse(one).whole for one in subjects))
        if len(wholes) < 2:
            raise
    # One subject ends the probe: probe each alone, so that only the rows of that one fail.
    found = _ask((), {}, timeout_s, place, weights, slow)
    seen: dict[str, SubjectFound] = {}
    sources: dict[str, Source] = {}
    lost: list[str] = []
    for whole in wholes:
        own = [one for one in subjects if parse(one).whole == whole]
        try:
            alone = _ask(own, inputs, timeout_s, place, weights, slow)
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
    subjects: Sequence[str],
    inputs: Mapping[str, str],
    timeout_s: float,
    place: Place,
    weights: str | None,
    slow: str,
) -> Probe:
    """Run one probe process.  Raises ProbeError."""
    shown, limit_s = ", ".join(subjects) or "torch", START_S + timeout_s
    request = {"subjects": list(subjects), "inputs": dict(inputs), "weights": weights}
    try:
        return helper.ask("bench.worker.probe", request, _PROBE, limit_s, place=place)
    except helper.HelperLate:
        if not subjects:
            raise ProbeError(
                f"importing torch took more than {limit_s:.0f} s; end other work, and see whether "
                f"it is installed on a slow disk ({place.python})"
            ) from None
        raise ProbeError(
            f"importing and building {shown} took more than {limit_s:.0f} s; {slow}"
        ) from None
    except helper.HelperEnded as error:
        raise ProbeError(
            f"the probe of {shown} ended with exit code {error.code}: {error}"
        ) from None
    except helper.HelperError as error:
        raise ProbeError(str(error)) from None
