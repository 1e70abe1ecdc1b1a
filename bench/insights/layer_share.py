"""The layers, each measured alone, compared with the network that they are part of.

A layer that is measured alone has its own calls and clock readings, and its input may or may not
be in a cache.  Inside the network, a layer may find its input in a cache, and a compiler may fuse
it with others.  The difference between the sum of the layers and the whole is the effect of that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.compare.groups import PLAIN, SETTINGS, Group, Span, split
from bench.core.records import Case, Row
from bench.insights.insight import Insight, factor, first_few, listed
from bench.results.results import Medians, Results
from bench.stats import ratios

MOST_NAMED = 3
WORTH_NAMING = 0.05  # of the sum


@dataclass(frozen=True, slots=True)
class Shares:
    """The layers of one whole, in one mode, batch size and phase.

    sum_of_whole: sum of the layers / the whole, paired by replicate.
    shares:       of the sum, by layer, the largest first.  A layer that is called several times
                  counts as often, and its name has the number of its equal calls.
    missing:      layers that were not measured; if there are any, the sum is not known.
    """

    whole: Row
    phase: str
    sum_of_whole: Span | None
    shares: tuple[tuple[str, float], ...]
    missing: tuple[str, ...]
    compiled: bool


def shares(run: Results, wholes: Group, layers: Group | None) -> list[Shares]:
    """Return the shares of every whole with layers of the same mode, batch, device and settings.

    Only the plain and the compiled wholes are used.  Layers are never compiled.
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
    """Return the phases in which layers take part."""
    return ("forward",) if like.mode == "inference" else ("forward", "backward")


def measured(
    like: Row | Case, layers: Group, calls: Mapping[str, int], phase: str
) -> tuple[dict[str, Row], dict[str, int]]:
    """Return the rows of the layers measured like `like`, and the calls that the phase makes.

    calls: of every layer in one call of the whole.

    A layer that is called and has no row was not measured.
    """
    beside = [row for row in layers.rows if _alike(row, like)]
    # A layer without a backward is not measured in training; its inference is the forward.
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
    """Return whether both have one input, device and settings, and the layer is not compiled."""
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
    count = calls.get(name, 1)
    return f"{count} equal calls of {name}" if count > 1 else name


def _ratio(
    whole: Row, phase: str, by_layer: Mapping[str, Row], calls: Mapping[str, int], medians: Medians
) -> Span | None:
    """Return the sum / whole, from the replicates that have the whole and every layer."""
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


def insights(found: Sequence[Shares], name: str) -> list[Insight]:
    """One insight for each whole and phase."""
    several = len({one.whole.device for one in found}) > 1
    return [
        _insight(one, f"{name} on {one.whole.device}" if several else name)
        for one in found
        if one.shares
    ]


def _insight(one: Shares, name: str) -> Insight:
    phase = "" if one.whole.mode == "inference" else f" ({one.phase})"
    where = f"{one.whole.mode} of {name} at N={one.whole.batch}{phase}"
    names = ", ".join(layer for layer, _ in one.shares)
    if one.missing:
        text = (
            f"The shares of the layers in {where} are unknown: some layers were not measured "
            f"({', '.join(first_few(one.missing, MOST_NAMED))})."
        )
        evidence = f"measured: {names}"
    else:
        largest = "" if one.compiled else f"{_largest(one, where)} "
        text = largest + _sum_and_whole(one, where)
        evidence = ", ".join(f"{layer} {100 * share:.1f} %" for layer, share in one.shares)
    return Insight(kind="layers", text=text, evidence=evidence, case_ids=(str(one.whole.case_id),))


def _largest(one: Shares, where: str) -> str:
    named = [pair for pair in one.shares[:MOST_NAMED] if pair[1] >= WORTH_NAMING]
    named = named or list(one.shares[:1])
    largest = listed([f"{layer} ({100 * share:.0f} %)" for layer, share in named])
    if sum(share for _, share in named) > 0.5:
        return f"Most of the time of the layers in {where} goes to {largest}."
    are = "is" if len(named) == 1 else "are"
    return f"No layer dominates {where}: the largest of {len(one.shares)} {are} {largest}."


def _sum_and_whole(one: Shares, where: str) -> str:
    """The sum of the layers' times compared with the whole, and the likely reasons."""
    mode = "" if one.whole.compile == "default" else f"({one.whole.compile}) "
    whole = f"compiled {mode}{where}" if one.compiled else "the whole"
    span = one.sum_of_whole
    if span is None or span.low is None or span.high is None:
        return f"The sum of the layers cannot be compared with {whole}: too few replicates."
    uncompiled = "uncompiled layers" if one.compiled else "layers"
    text = f"The sum of the {uncompiled} measured alone is {factor(span)} the time of {whole}"
    if span.low <= 1 <= span.high:
        return f"{text}: no difference was found."
    if span.low > 1 and one.compiled:
        return f"{text}. The difference is the effect of compiling and of running together."
    if span.low > 1:
        return f"{text}. Inside the whole, data may still be in a cache, and a call may cost less."
    loss = "" if one.whole.mode == "inference" else ", such as the loss,"
    return f"{text}. The rest is work between the layers{loss} and perhaps colder caches."
