"""The layers, each measured alone, beside the whole that they are part of.

A layer alone gets its own calls and looks at the clock, and its input may lie in a cache or not;
inside, neighbours may hand over what is still there, and a compiler fuses them.  What the sum of
the layers differs from the whole is what that gains or loses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.compare.groups import PLAIN, SETTINGS, Group, Span, split
from bench.core.records import Case, Row
from bench.insights.insight import Sentence, factor, listed
from bench.results.results import Medians, Results
from bench.stats import ratios

MOST_NAMED = 3
WORTH_NAMING = 0.05  # of the sum


@dataclass(frozen=True, slots=True)
class Shares:
    """The layers of one whole, in one mode, batch size and phase.

    sum_of_whole: the layers' sum / the whole, paired by replicate.
    shares:       of the sum, by layer, the largest first; a layer called several times counts
                  as often, and is named with the number of its equal calls.
    missing:      layers that were not measured: then the sum says nothing.
    """

    whole: Row
    phase: str
    sum_of_whole: Span | None
    shares: tuple[tuple[str, float], ...]
    missing: tuple[str, ...]
    compiled: bool


def shares(run: Results, wholes: Group, layers: Group | None) -> list[Shares]:
    """Of every whole that stands beside its layers at the same mode, batch, device and settings.

    Of the wholes the plain one and the compiled one; the layers are never compiled.
    """
    listed_ = run.description.layers_by_name.get(wholes.subject, {})
    calls = {name: layer.all_calls for name, layer in listed_.items()}
    if layers is None or not calls:
        return []
    found = []
    for whole in wholes.rows:
        setting = wholes.setting(whole)
        if setting != PLAIN and [axis for axis, _ in setting] != ["compile"]:
            continue
        for phase in phases(whole):
            by_layer, needed = measured(whole, layers, calls, phase)
            if by_layer:
                found.append(_of(whole, phase, by_layer, needed, run.medians, bool(setting)))
    return found


def phases(like: Row | Case) -> tuple[str, ...]:
    """In which layers take part."""
    return ("forward",) if like.mode == "inference" else ("forward", "backward")


def measured(
    like: Row | Case, layers: Group, calls: Mapping[str, int], phase: str
) -> tuple[dict[str, Row], dict[str, int]]:
    """The rows of the layers measured alone as `like` was, and the layers that the phase has.

    calls: of every layer in one call of the whole.  Layers that are called and have no row were
    not measured.
    """
    beside = [row for row in layers.rows if _alike(row, like)]
    # What has no backward is not measured in training; its forward is that of inference.
    one_way = {
        _layer(row)
        for row in layers.failed
        if _alike(row, like) and row.mode == like.mode and row.status == "unsupported"
    }
    by_layer = {_layer(row): row for row in beside if row.mode == like.mode and row.phase == phase}
    if phase == "forward":
        by_layer = {
            _layer(row): row for row in beside if _layer(row) in one_way and row.mode == "inference"
        } | by_layer
    return (
        {name: row for name, row in by_layer.items() if name in calls},
        {name: n for name, n in calls.items() if phase == "forward" or name not in one_way},
    )


def _layer(row: Row) -> str:
    return split(row.subject or "")[1] or ""


def _alike(layer: Row, whole: Row | Case) -> bool:
    """Measured on the same input and device, in the same settings but for compiling."""
    same = ("batch", "device", "input", *(axis for axis in SETTINGS if axis != "compile"))
    return layer.compile in (None, "off") and all(
        getattr(layer, name) == getattr(whole, name) for name in same
    )


def _of(
    whole: Row,
    phase: str,
    by_layer: Mapping[str, Row],
    calls: Mapping[str, int],
    medians: Medians,
    compiled: bool,
) -> Shares:
    times = {
        name: (row.latency_median_s or row.device_s or 0.0) * calls.get(name, 1)
        for name, row in by_layer.items()
    }
    total = sum(times.values())
    missing = tuple(name for name in calls if name not in by_layer)
    ordered = sorted(times.items(), key=lambda item: -item[1])
    return Shares(
        whole=whole,
        phase=phase,
        sum_of_whole=None if missing else _ratio(whole, phase, by_layer, calls, medians),
        shares=tuple((_with_equals(name, calls), time_s / total) for name, time_s in ordered)
        if total
        else (),
        missing=missing,
        compiled=compiled,
    )


def _with_equals(name: str, calls: Mapping[str, int]) -> str:
    more = calls.get(name, 1) - 1
    return f"{name} and {more} equal call{'s' * (more > 1)}" if more else name


def _ratio(
    whole: Row, phase: str, by_layer: Mapping[str, Row], calls: Mapping[str, int], medians: Medians
) -> Span | None:
    """From the replicates that have the whole and every layer."""
    for kind in ("latency", "device"):
        of_whole = medians.get((whole.run_id, str(whole.case_id), phase, kind), {})
        of_layers = {
            name: medians.get((row.run_id, str(row.case_id), phase, kind), {})
            for name, row in by_layer.items()
        }
        shared = set(of_whole).intersection(*of_layers.values())
        sums = {
            replicate: sum(calls.get(name, 1) * own[replicate] for name, own in of_layers.items())
            for replicate in shared
        }
        found = ratios.paired(sums, of_whole)
        if found is not None:
            low, high = found.interval() or (None, None)
            return Span(found.ratio, low, high)
    return None


def sentences(found: Sequence[Shares], name: str) -> list[Sentence]:
    """A sentence a whole and phase."""
    return [_sentence(one, name) for one in found if one.shares]


def _sentence(one: Shares, name: str) -> Sentence:
    phase = "" if one.whole.mode == "inference" else f" ({one.phase})"
    where = f"{one.whole.mode} of {name} at N={one.whole.batch}{phase}"
    named = [pair for pair in one.shares[:MOST_NAMED] if pair[1] >= WORTH_NAMING]
    named = named or list(one.shares[:1])
    largest = listed([f"{layer} ({100 * share:.0f} %)" for layer, share in named])
    if sum(share for _, share in named) > 0.5:
        told = f"In {where} most of the layers' time goes to {largest}."
    else:
        told = f"In {where} no layer dominates: the largest of {len(one.shares)}: {largest}."
    if one.missing:
        told = f"In {where} the layers' shares are unknown."
    elif one.compiled:
        told = f"Compiled, {where}, against the layers uncompiled:"
    return Sentence(
        kind="layers",
        text=f"{told} {_against_whole(one)}",
        evidence=f"measured: {', '.join(layer for layer, _ in one.shares)}"
        if one.missing
        else ", ".join(f"{layer} {100 * share:.1f} %" for layer, share in one.shares),
        case_ids=(str(one.whole.case_id),),
    )


def _against_whole(one: Shares) -> str:
    if one.missing:
        more = f" and {len(one.missing) - MOST_NAMED} more" if len(one.missing) > MOST_NAMED else ""
        return f"Not all were measured (missing: {', '.join(one.missing[:MOST_NAMED])}{more})."
    if one.sum_of_whole is None or one.sum_of_whole.low is None or one.sum_of_whole.high is None:
        return "What the whole adds or saves is unknown: too few replicates have both."
    span = one.sum_of_whole
    low, high = one.sum_of_whole.low, one.sum_of_whole.high
    alone = (
        "alone, one after the other, they take"
        if one.compiled
        else ("Alone, one after the other, they take")
    )
    sum_ = f"{alone} {factor(span)} the time of the {'compiled ' * one.compiled}whole"
    if low <= 1 <= high:
        return f"{sum_}: no difference found."
    if low > 1 and one.compiled:
        return f"{sum_}: what running together and compiling gain, both in one."
    if low > 1:
        return f"{sum_}: inside, data may still be in a cache, and a call may cost less."
    loss = "" if one.whole.mode == "inference" else " (the loss among it)"
    return f"{sum_}: the rest is work between the layers{loss}, and may be colder caches."
