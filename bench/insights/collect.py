"""All insights of a run, in the order of use.

Doubts come first, then devices, the best settings, plain scripts, the speedup of each setting,
batch sizes, memory in fragments, the time of the layers, and the roofline.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from bench.compare import speedup, transfers
from bench.compare.groups import PLAIN, Group, Span, flags, groups
from bench.compare.match import MatchError
from bench.compare.speedup import Speedup
from bench.core import units
from bench.core.records import FLAGS, Row, whole_phase
from bench.core.text import are, number_of
from bench.insights import (
    batch_scaling,
    fragmentation,
    launch_bound,
    layer_share,
    plain_process,
    roofline,
    settings,
)
from bench.insights.insight import Insight, compared, listed
from bench.results import main_memory
from bench.results.corrected import uncorrected
from bench.results.results import Results

# Flags that many cases can have, and the advice for each.
DOUBTS: Mapping[str, str] = {
    "contended": "Measure them again while nothing else runs on this machine.",
    "throttled": "Let the device cool, or limit its power, and measure them again.",
    "implausible": "Check what they compute. If it is right, measure again on a quiet machine, "
    "because the measured peaks may be too low.",
    "growing": "A quieter machine does not help: let each call of the subject begin from the same "
    "state (no list, cache or buffer that grows), or measure one call only.",
    "unsteady": "Measure them again on a quiet machine, or with a longer warm-up (warmup_s in a "
    "TOML file).",
    "bimodal": "Each process is fast or slow by chance: measure again with more --replicates, and "
    "look at the samples instead of the median.",
}
MANY = 0.1  # of the cases; fewer are visible in their own rows


def of_run(run: Results) -> list[Insight]:
    """Return all insights of a run, from the figures as measured."""
    run = uncorrected(run)
    rows, medians, machine = run.rows, run.medians, run.description.machine
    wholes = groups(rows)
    by_layer = {(one.subject, one.input): one for one in groups(rows, layers=True)}
    found = [*doubts(rows), *_devices(run)]
    for group in wholes:
        found += launch_bound.insights(group)
    for group in wholes:
        found += settings.best(group, medians)
    found += plain_process.insights(wholes, medians)
    for group in wholes:
        found += settings.speedups(group, medians)
    for group in wholes:
        found += batch_scaling.scaling(group, medians)
    for group in wholes:
        found += fragmentation.insights(group)
    for group in wholes:
        layers = by_layer.get((group.subject, group.input))
        shares = layer_share.shares(run, _with_phases(group, rows), layers)
        found += layer_share.insights(shares, group.name)
    problem = no_ceilings(run) if by_layer else None
    uncounted = roofline.unknown(rows, machine)
    found += roofline.insights(
        roofline.points(rows, machine, roofline.layer_types(run)), problem, uncounted
    )
    return found


def _with_phases(group: Group, rows: Iterable[Row]) -> Group:
    """Return the group with one row for each case: that of the whole phase."""
    ids = {row.case_id for row in group.rows}
    return group.of(
        row for row in rows if row.case_id in ids and row.phase == whole_phase(str(row.mode))
    )


def no_ceilings(run: Results) -> str | None:
    """Return the reason why the run has no measured peaks, or None."""
    if not run.description.is_known:
        return "the machine's peaks are in run.json, which is missing"
    peaks = [one for own in run.description.machine.peaks.values() for one in own]
    if not peaks:
        return "the run did not measure the machine's peaks"
    quiet = [one for one in peaks if not one.disturbed]
    if not quiet:
        return "other work disturbed the measurement of the machine's peaks"
    return main_memory.not_reached(quiet)


def doubts(rows: Sequence[Row]) -> list[Insight]:
    """Return the flags that many cases have, with advice, and cases without figures."""
    whole = [row for row in rows if row.phase in (None, whole_phase(str(row.mode)))]
    cases = {row.case_id: row for row in whole}
    flags = {name: _causes(row) for name, row in cases.items()}
    found = [
        Insight(
            kind="doubt",
            text=(
                f"{len(own)} of {number_of(len(cases), 'case')} {are(len(own))} {flag}: "
                f"{FLAGS[flag]}. {what_to_do}"
            ),
            evidence="",
            case_ids=tuple(map(str, own)),
        )
        for flag, what_to_do in DOUBTS.items()
        if len(own := [name for name, by in flags.items() if flag in by]) > MANY * len(cases)
    ]
    bad = {name: row for name, row in cases.items() if row.status not in ("ok", "unsupported")}
    if bad:
        kinds = Counter(str(row.status) for row in bad.values())
        statuses = listed([f"{count} {status}" for status, count in kinds.most_common()])
        first = next(iter(bad.values()))
        found.append(
            Insight(
                kind="doubt",
                text=f"{len(bad)} of {number_of(len(cases), 'case')} "
                f"{'has' if len(bad) == 1 else 'have'} no figures: {statuses}.",
                evidence=f"{first.case_id}: {first.reason}",
                case_ids=tuple(map(str, bad)),
            )
        )
    return found


def _causes(row: Row) -> list[str]:
    """Return the flags of a row, without `unsteady` if the growing work is its cause."""
    own = row.flag_names
    return [flag for flag in own if not (flag == "unsteady" and "growing" in own)]


def _devices(run: Results) -> list[Insight]:
    """Compare the CPU with each accelerator, by batch size, both in the plain setting.

    Other settings are not compared: bfloat16 is slow on most CPUs and fast on most accelerators.
    """
    try:
        found = speedup.within(run, "device")
    except MatchError:
        return []
    by: dict[tuple[str, str, str], list[Speedup]] = {}
    batches: dict[str, int] = {}
    names: dict[str, str] = {}
    for group in groups(run.rows):
        for row in group.rows:
            if group.setting(row) == PLAIN and "implausible" not in flags([row]):
                batches[str(row.case_id)] = int(row.batch or 0)
                names[str(row.case_id)] = group.name
    for one in found:
        if one.of_whole and {one.base_case_id, one.value_case_id} <= names.keys():
            by.setdefault((names[one.base_case_id], one.mode, one.value), []).append(one)
    return [
        _device(
            key,
            sorted(own, key=lambda one: batches[one.base_case_id]),
            batches,
            transfers.with_transfers(run, own),
        )
        for key, own in by.items()
    ]


def _device(
    key: tuple[str, str, str],
    speedups: Sequence[Speedup],
    batches: Mapping[str, int],
    with_copies: Sequence[Speedup],
) -> Insight:
    subject, mode, value = key
    base = speedups[0].base
    text = compared(value, base, f"{mode} of {subject}", _by_batch(speedups, batches))
    text += " Both use the plain setting, with the data already on the device."
    back = " and back" if mode == "inference" else ""
    for kind in transfers.KINDS:
        if own := _by_batch([one for one in with_copies if one.transfers == kind], batches):
            text += " " + compared(value, base, f"single calls from {kind} memory{back}", own)
    return Insight(
        kind="device",
        text=text,
        evidence="; ".join(
            f"N={batches[one.base_case_id]}: {units.seconds(one.base_s)} → "
            f"{units.seconds(one.value_s)}"
            for one in speedups
        ),
        case_ids=tuple(one.value_case_id for one in speedups),
    )


def _by_batch(speedups: Iterable[Speedup], batches: Mapping[str, int]) -> dict[int, Span]:
    return {batches[one.base_case_id]: Span(one.ratio, one.low, one.high) for one in speedups}
