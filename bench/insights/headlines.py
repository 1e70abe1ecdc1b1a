"""One run, two or a history in about ten words.

A headline claims only what an interval shows.  Where nothing is clear it says so.
"""

from collections import Counter
from collections.abc import Sequence

from bench.compare import speedup
from bench.compare.groups import Group, groups, label, split
from bench.compare.match import MatchError
from bench.compare.setting_speedup import SettingSpeedup
from bench.core import units
from bench.core.records import Row
from bench.core.text import number_of, printable, shortened
from bench.insights import settings
from bench.insights.insight import listed
from bench.insights.settings import Contest
from bench.results.corrected import uncorrected
from bench.results.results import Results

SMALL = 1.05  # a speedup that is surely below is told as too small to matter
MOST_CHARS = 48  # of a name
MOST_BATCHES = 3  # that are named


def of_runs(runs: Sequence[Results]) -> str:
    """Return the headline of one run; of two, the second against the first; of more, over time."""
    if len(runs) == 1:
        return of_run(runs[0])
    if len(runs) == 2:
        return _against(runs[0], runs[1], "The second run")
    ordered = sorted(runs, key=lambda run: run.description.started or "")
    return _against(ordered[0], ordered[-1], f"The last of {len(runs)} runs")


def of_run(run: Results) -> str:
    """Return the setting that makes each mode faster, and by how much."""
    run = uncorrected(run)
    wholes = groups(run.rows)
    if not wholes:
        return _of_layers(run.rows)
    if not any(group.rows for group in wholes):
        return _of_failures(wholes)
    measured = [_plausible(group) for group in wholes if group.rows]
    contests = [(group, _on_one_device(settings.contests(group, run.medians))) for group in wholes]
    contests = [(group, own) for group, own in contests if own]
    if not contests:
        return _of_devices(run, measured) or _of_plain(measured)
    if len(wholes) == 1:
        return _of_one(*contests[0])
    return _of_many([(group, one) for group, own in contests for one in own])


def _plausible(group: Group) -> Group:
    """Return the group without rows that are faster than their machine allows."""
    return group.of(row for row in group.rows if "implausible" not in row.flag_names)


def _on_one_device(contests: Sequence[Contest]) -> list[Contest]:
    """Return the contests of one accelerator if there is any, else those of the CPU."""
    devices = list(dict.fromkeys(one.device for one in contests))
    chosen = next((one for one in devices if one != "cpu"), "cpu")
    return [one for one in contests if one.device == chosen]


def _of_one(group: Group, contests: Sequence[Contest]) -> str:
    name = _name(group.name)
    on = f" on {printable(contests[0].device)}" if len(group.devices) > 1 else ""
    won = [one for one in contests if one.preferred]
    if not won:
        return _none_won(name + on, contests)
    chosen = [one.preferred[0].setting for one in won]
    if len(won) > 1 and len(set(chosen)) == 1:
        each = ", ".join(f"{one.mode} {_times(one)}" for one in won)
        return f"{label(chosen[0])} makes {name}{on} faster: {each}."
    first, *more = won
    told = [f"{label(chosen[0])} makes {name} {first.mode}{on} {_faster(first)}"]
    told += [f"{label(one.preferred[0].setting)} makes {one.mode} {_faster(one)}" for one in more]
    told += [_lost(one) for one in contests if not one.preferred]
    return f"{'; '.join(told)}."


def _none_won(name: str, contests: Sequence[Contest]) -> str:
    speedups = [ratio for one in contests for ratio in one.speedups]
    if all(one.span.high is None for one in speedups):
        return f"Too few replicates to tell whether a setting makes {name} faster."
    if _all_below(speedups, 1.0):
        return f"No setting makes {name} faster."
    if _all_below(speedups, SMALL):
        return f"No setting makes {name} more than {100 * (SMALL - 1):.0f} % faster."
    return f"No setting is shown to make {name} faster."


def _lost(one: Contest) -> str:
    """Describe one mode without a winner, beside another mode that has one."""
    if all(ratio.span.high is None for ratio in one.speedups):
        return f"{one.mode} has too few replicates to tell"
    if _all_below(one.speedups, 1.0):
        return f"{one.mode} gains nothing"
    if _all_below(one.speedups, SMALL):
        return f"{one.mode} gains less than {100 * (SMALL - 1):.0f} %"
    return f"no setting is shown to make {one.mode} faster"


def _all_below(speedups: Sequence[SettingSpeedup], bound: float) -> bool:
    return all(one.span.high is not None and one.span.high <= bound for one in speedups)


def _faster(one: Contest) -> str:
    times, _, where = _times(one).partition(" ")
    return f"{times} faster{f' {where}' if where else ''}"


def _times(one: Contest) -> str:
    """`1.3–1.6×`, and at which batch sizes where the setting was not faster at all of them."""
    own = one.preferred
    there = [ratio.batch for ratio in one.speedups if ratio.setting == own[0].setting]
    faster = [ratio.batch for ratio in own]
    where = ""
    if len(faster) < len(there):
        named = listed([str(batch) for batch in sorted(faster)])
        many = f"{len(faster)} of {len(there)} batch sizes"
        where = f" at {f'N={named}' if len(faster) <= MOST_BATCHES else many}"
    return f"{_span([ratio.span.value for ratio in own])}{where}"


def _span(values: Sequence[float]) -> str:
    """`1.3×`, or `1.3–1.6×` from the least to the most."""
    low, high = _digits(min(values)), _digits(max(values))
    return f"{low}×" if low == high else f"{low}–{high}×"


def _digits(ratio: float) -> str:
    """Return the number with two digits, but with three near 1."""
    if ratio >= 10:
        return f"{ratio:.0f}"
    return f"{ratio:.1f}" if ratio >= 1.1 else f"{ratio:.2f}"


def _of_many(contests: Sequence[tuple[Group, Contest]]) -> str:
    """Return, of several subjects and by mode, the setting that most of them gain from."""
    told = []
    for mode in dict.fromkeys(one.mode for _, one in contests):
        own = [one for _, one in contests if one.mode == mode]
        won = Counter(one.preferred[0].setting for one in own if one.preferred)
        if not won:
            told.append(f"no setting is shown to make {mode} faster")
            continue
        setting, count = won.most_common(1)[0]
        speedups = [
            ratio.span.value
            for one in own
            if one.preferred and one.preferred[0].setting == setting
            for ratio in one.preferred
        ]
        of = _works([group for group, one in contests if one.mode == mode])
        told.append(f"{label(setting)} makes {mode} {_span(speedups)} faster in {count} of {of}")
    text = "; ".join(told)
    return f"{text[:1].upper()}{text[1:]}." if text.startswith("no ") else f"{text}."


def _works(wholes: Sequence[Group]) -> str:
    """`3 subjects`; `3 inputs` of a single one; of both: `3 subjects and inputs`."""
    subjects = len({one.subject for one in wholes})
    if subjects == 1 < len(wholes):
        return number_of(len(wholes), "input")
    each = number_of(len(wholes), "subject")
    return each if subjects == len(wholes) else f"{each} and inputs"


def _of_devices(run: Results, measured: Sequence[Group]) -> str:
    """Compare two devices if only the plain setting was measured; else return an empty text."""
    try:
        found = [one for one in speedup.within(run, "device") if one.of_whole]
    except MatchError:
        return ""
    known = {row.case_id for group in measured for row in group.rows}
    found = [one for one in found if {one.base_case_id, one.value_case_id} <= known]
    found = [one for one in found if (one.value, one.mode) == (found[-1].value, found[0].mode)]
    if not found:
        return ""
    first = found[0]
    names = {_name(group.name) for group in measured}
    what = f"{names.pop()} {first.mode}" if len(names) == 1 else first.mode
    value, base = printable(first.value), printable(first.base)
    if all(one.verdict == "faster" for one in found):
        return f"{value} runs {what} {_span([one.ratio for one in found])} as fast as {base}."
    if all(one.verdict == "slower" for one in found):
        return f"{base} runs {what} {_span([1 / one.ratio for one in found])} as fast as {value}."
    return f"Neither {value} nor {base} is shown to run {what} faster at all batch sizes."


def _of_plain(measured: Sequence[Group]) -> str:
    rated = [(group, row) for group in measured for row in group.rows if row.images_per_s]
    only = "only one setting was measured"
    if not rated:
        return f"{_names([group.name for group in measured])}: {only}."
    group, row = max(rated, key=lambda one: one[1].images_per_s or 0.0)
    rate = units.count(row.images_per_s)
    return f"{_name(group.name)} {row.mode}: {rate} images/s at N={row.batch}; {only}."


def _of_failures(wholes: Sequence[Group]) -> str:
    failed = [row for group in wholes for row in group.failed]
    kinds = Counter(str(row.status) for row in failed)
    told = listed([f"{count} {status}" for status, count in kinds.most_common()])
    return f"No case of {_names([group.name for group in wholes])} could be measured: {told}."


def _of_layers(rows: Sequence[Row]) -> str:
    wholes = list(dict.fromkeys(split(row.subject)[0] for row in rows if row.subject))
    layers = {row.subject for row in rows}
    return f"{number_of(len(layers), 'layer')} of {_names(wholes) or 'no subject'}, measured alone."


def _names(names: Sequence[str]) -> str:
    shown = [_name(name) for name in dict.fromkeys(names)]
    return listed(shown) if len(shown) < 3 else f"{len(shown)} subjects"


def _name(text: str) -> str:
    return shortened(printable(text), MOST_CHARS)


def _against(a: Results, b: Results, subject: str) -> str:
    """Compare b with a in whole cases, by the verdicts of the table of changes."""
    speedups = speedup.between(a, b)
    words = speedup.verdicts(speedups)
    cases = [(one, word) for one, word in zip(speedups, words, strict=True) if one.of_whole]
    faster = [one.ratio for one, word in cases if word == "faster"]
    slower = [1 / one.ratio for one, word in cases if word == "slower"]
    if not cases:
        return f"{subject} has no case in common with the first."
    if all(word == "no interval" for _, word in cases):
        return f"Too few replicates to tell whether {subject[:1].lower()}{subject[1:]} differs."
    other = "" if len({*a.machines, *b.machines}) <= 1 else ", on another machine,"
    told = []
    of_all = number_of(len(cases), "case")
    if slower:
        told.append(f"slower in {len(slower)} of {of_all}, up to {_digits(max(slower))}×")
    if faster:
        of = "" if slower else f" of {of_all}"
        told.append(f"faster in {len(faster)}{of}, up to {_digits(max(faster))}×")
    if not told:
        return f"{subject}{other} shows no difference from the first in {of_all}."
    return f"{subject}{other} is {'; '.join(told)}."
