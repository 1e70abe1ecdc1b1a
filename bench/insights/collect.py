"""What a run says, in sentences that a person can act on, each with its evidence.

The order is that of use: the best settings first, then what each one gains, batch sizes, devices,
where the time goes, and how far that is from what the machine can do; doubts come first of all.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from bench.compare import speedup, transfers
from bench.compare.groups import PLAIN, Group, Span, flags, groups
from bench.compare.match import MatchError
from bench.compare.speedup import Speedup
from bench.core import units
from bench.core.records import FLAGS, Row, whole_phase
from bench.insights import batch_scaling, roofline, settings
from bench.insights import layers as layer_share
from bench.insights.insight import Sentence, factor, listed
from bench.results import main_memory
from bench.results.corrected import uncorrected
from bench.results.results import Results

# Flags of many cases, and what to do about each.
DOUBTS: Mapping[str, str] = {
    "contended": "Measure them again while nothing else runs on this machine.",
    "throttled": "Let the device cool, or limit its power, and measure them again.",
    "implausible": "Look at what they compute; if that is right, measure again on a quiet machine, "
    "for the peaks may be too low.",
    "growing": "A quieter machine does not help: let each call of the subject begin from the same "
    "state (no list, cache or buffer that grows), or measure one call's worth of it.",
    "unsteady": "Measure them again on a quiet machine, or with a longer warm-up (warmup_s in a "
    "TOML file).",
    "bimodal": "Processes are fast or slow by chance: measure again with more --replicates, and "
    "read the samples, not the middle.",
}
MANY = 0.1  # of the cases: fewer are told by their own rows


def of_run(run: Results) -> list[Sentence]:
    """All insights of a run, about the figures as measured."""
    run = uncorrected(run)
    rows, medians, machine = run.rows, run.medians, run.description.machine
    wholes = groups(rows)
    by_layer = {(one.subject, one.input): one for one in groups(rows, layers=True)}
    found = [*doubts(rows), *_devices(run)]
    for group in wholes:
        found += settings.best(group, medians)
    for group in wholes:
        found += settings.speedups(group, medians)
    for group in wholes:
        found += batch_scaling.scaling(group, medians)
    for group in wholes:
        layers = by_layer.get((group.subject, group.input))
        shares = layer_share.shares(run, _with_phases(group, rows), layers)
        found += layer_share.sentences(shares, group.name)
    problem = no_ceilings(run) if by_layer else None
    uncounted = roofline.unknown(rows, machine)
    found += roofline.sentences(roofline.points(rows, machine), problem, uncounted)
    return found


def _with_phases(group: Group, rows: Iterable[Row]) -> Group:
    """A group's rows are those of whole calls; one of each stands for all its phases."""
    ids = {row.case_id for row in group.rows}
    return group.of(
        row for row in rows if row.case_id in ids and row.phase == whole_phase(str(row.mode))
    )


def no_ceilings(run: Results) -> str | None:
    """Why the run has no measured peaks to hold its rows against, or None."""
    if not run.description.is_known:
        return "the machine's peaks stand in run.json, which is not here"
    ladders = [one for own in run.description.machine.peaks.values() for one in own]
    if not ladders:
        return "the run did not measure the machine's peaks"
    quiet = [one for one in ladders if not one.disturbed]
    if not quiet:
        return "other work disturbed the measuring of the machine's peaks"
    return main_memory.not_reached(quiet)


def doubts(rows: Sequence[Row]) -> list[Sentence]:
    """What many cases have been through, with what to do; and cases that must not be believed."""
    whole = [row for row in rows if row.phase in (None, whole_phase(str(row.mode)))]
    cases = {row.case_id: row for row in whole}
    flags = {name: _causes(row) for name, row in cases.items()}
    found = [
        Sentence(
            kind="doubt",
            text=f"{len(own)} of {len(cases)} cases are {flag}: {FLAGS[flag]}. {what_to_do}",
            evidence="",
            case_ids=tuple(map(str, own)),
        )
        for flag, what_to_do in DOUBTS.items()
        if len(own := [name for name, by in flags.items() if flag in by]) > MANY * len(cases)
    ]
    bad = {name: row for name, row in cases.items() if row.status not in ("ok", "unsupported")}
    if bad:
        kinds = Counter(str(row.status) for row in bad.values())
        told = listed([f"{count} {status}" for status, count in kinds.most_common()])
        first = next(iter(bad.values()))
        found.append(
            Sentence(
                kind="doubt",
                text=f"Of {len(cases)} cases {told}, which have no figures.",
                evidence=f"{first.case_id}: {first.reason}",
                case_ids=tuple(map(str, bad)),
            )
        )
    return found


def _causes(row: Row) -> list[str]:
    """Its flags; a case that grows is unsteady for that, and the machine is not to blame."""
    own = row.flag_names
    return [flag for flag in own if not (flag == "unsteady" and "growing" in own)]


def _devices(run: Results) -> list[Sentence]:
    """The CPU against each accelerator, by batch size, both in their plain settings.

    A setting that is slow on one of them (bfloat16 on most CPUs) says nothing of the other.
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
    batches: dict[str, int],
    moved: Sequence[Speedup],
) -> Sentence:
    subject, mode, value = key
    of_batch = {batches[one.base_case_id]: one for one in speedups}
    parts = [
        f"{factor(Span(one.ratio, one.low, one.high))} at N={batch}"
        for batch, one in of_batch.items()
    ]
    verdict = _worth(of_batch)
    way = _with_the_way(moved, of_batch, mode)
    return Sentence(
        kind="device",
        text=f"{mode} of {subject}: {value} {verdict}: {listed(parts)} as fast as "
        f"{speedups[0].base}, both in the plain setting, the data on the device already.{way}",
        evidence="; ".join(
            f"N={batch}: {units.seconds(one.base_s)} → {units.seconds(one.value_s)}"
            for batch, one in of_batch.items()
        ),
        case_ids=tuple(one.value_case_id for one in of_batch.values()),
    )


def _worth(of_batch: Mapping[int, Speedup]) -> str:
    """`is worth it from N=8 on, not at N=1`: every size is in it."""
    wins = [batch for batch, one in of_batch.items() if one.verdict == "faster"]
    loses = [batch for batch, one in of_batch.items() if one.verdict == "slower"]
    equal = [batch for batch, one in of_batch.items() if one.verdict == "no difference found"]
    unsure = [batch for batch, one in of_batch.items() if one.verdict == "no interval"]
    parts = []
    if wins:
        on = len(of_batch) > 1 and wins == [batch for batch in of_batch if batch >= min(wins)]
        parts.append(f"is worth it {f'from N={min(wins)} on' if on else f'at {_sizes(wins)}'}")
    if loses:
        parts.append(f"{'not' if wins else 'is not worth it'} at {_sizes(loses)}")
    if equal:
        parts.append(
            f"{'' if parts else 'gains nothing that could be told: '}no difference found "
            f"at {_sizes(equal)}"
        )
    if unsure:
        parts.append(
            f"{'' if parts else 'cannot be judged: '}too few replicates at {_sizes(unsure)}"
        )
    return ", ".join(parts)


def _sizes(batches: Sequence[int]) -> str:
    return listed([f"N={batch}" for batch in batches])


def _with_the_way(moved: Sequence[Speedup], shown: dict[int, Speedup], mode: str) -> str:
    """The same with the transfers, at the batch sizes that are shown; of training the input's."""
    told = []
    back = " and back" if mode == "inference" else ""
    for kind in transfers.KINDS:
        of_case = {one.value_case_id: one for one in moved if one.transfers == kind}
        there = {
            batch: own for batch, one in shown.items() if (own := of_case.get(one.value_case_id))
        }
        parts = [
            f"{factor(Span(own.ratio, own.low, own.high))} at N={batch}"
            for batch, own in there.items()
        ]
        if parts:
            verdict = _worth(there)
            turned = verdict != _worth({batch: shown[batch] for batch in there})
            told.append(
                f"from {kind} memory{back}: {listed(parts)}{f', it {verdict}' if turned else ''}"
            )
    return f" Single calls {'; '.join(told)}." if told else ""
