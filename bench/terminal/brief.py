"""A run in one line, before it starts: its networks, settings and layers."""

import dataclasses
from collections.abc import Iterable, Sequence

from bench.core.axes import MAX_BATCH
from bench.core.records import Case
from bench.core.row_names import settings
from bench.core.subject import parse

HOW_TO_NARROW = "--mode, --batch, --memory-format and the like narrow it, or a bench.toml"
MOST_SUBJECTS = 3
UNKNOWN = 10**9  # stands last among the batches


def of(given: Sequence[Case], largest: Sequence[Case] = ()) -> str:
    """`measures resnet18, inference and training, N=4: plain, channels_last; 12 layers; …`.

    largest: the cases whose batch is still to be found, for `--batch max`.
    """
    cases = [*given, *(dataclasses.replace(one, batch=UNKNOWN) for one in largest)]
    wholes = [case for case in cases if parse(case.subject).layer is None]
    layers = {case.subject for case in cases} - {case.subject for case in wholes}
    parts = []
    if wholes:
        parts.append(f"measures {_each(wholes)}: {_settings(wholes)}")
    if layers:
        what = f"{len(layers)} layer{'s' if len(layers) > 1 else ''}"
        own = [case for case in cases if case.subject in layers]
        parts.append(what if wholes else f"measures {what}, {_each(own)}: {_settings(own)}")
    return "; ".join((*parts, HOW_TO_NARROW))


def _each(cases: Sequence[Case]) -> str:
    names = _unique(_short(case.subject) for case in cases)
    more = f" and {len(names) - MOST_SUBJECTS} more" if len(names) > MOST_SUBJECTS else ""
    modes = " and ".join(_unique(case.mode for case in cases))
    sizes = sorted({case.batch for case in cases})
    batches = ", ".join(MAX_BATCH if size == UNKNOWN else str(size) for size in sizes)
    return f"{', '.join(names[:MOST_SUBJECTS])}{more}, {modes}, N={batches}"


def _settings(cases: Sequence[Case]) -> str:
    return ", ".join(_unique(settings(case) for case in cases))


def _short(subject: str) -> str:
    """`resnet18` of `my.models:resnet18`, without a layer."""
    return parse(subject).whole.rpartition(":")[2]


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
