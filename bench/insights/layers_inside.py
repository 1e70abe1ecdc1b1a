"""Each layer measured alone, compared with its time inside the network, from a profile.

The time of a layer alone is its median in a run; the time inside is its part of a profiled step.
A step is slower under the profiler, so only shares can be compared: alone, the share of the sum of
the layers; inside, the share of the same phase of the step.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.compare.groups import Group, groups
from bench.core.records import Row
from bench.insights import layer_share
from bench.results.corrected import uncorrected
from bench.results.profile_load import Profiled
from bench.results.results import Results

MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Line:
    """One layer together with its equal calls."""

    layer: str
    calls: int
    alone_s: float
    alone_ratio: float  # of the sum of the layers
    inside_s: float | None  # None: the profile has no such call, for example on a fused path
    inside_ratio: float | None  # of the phase of the profiled step

    @property
    def shares_ratio(self) -> float | None:
        """Return the share inside the network by the share alone; None if unknown."""
        if self.inside_ratio is None or not self.alone_ratio:
            return None
        return self.inside_ratio / self.alone_ratio


@dataclass(frozen=True, slots=True)
class Beside:
    """The layers of one profiled case in one phase, the slowest first.

    rest_s: time of the phase in no layer: the code of the network, the loss, autograd.
    """

    profiled: Profiled
    phase: str
    lines: tuple[Line, ...]
    rest_s: float
    whole_s: float
    same_machine: bool


def of_run(run: Results, profiles: Sequence[Profiled]) -> tuple[list[Beside], list[str]]:
    """Return the comparisons, and for each case without one a line that says why."""
    run = uncorrected(run)
    by_subject = {(one.subject, one.input): one for one in groups(run.rows, layers=True)}
    found: list[Beside] = []
    problems: list[str] = []
    for profiled in profiles:
        match _of_case(run, by_subject.get((profiled.case.subject, profiled.case.input)), profiled):
            case str(why):
                problems.append(f"{profiled.case.case_id}: {why}")
            case beside:
                found += beside
    return found, problems


def _of_case(run: Results, layers: Group | None, profiled: Profiled) -> list[Beside] | str:
    case = profiled.case
    entries = run.description.layers_by_name.get(case.subject, {})
    if layers is None or not entries:
        return "the run did not measure its layers"
    # Name of a call → the layer that was measured for it.
    names = {
        name: row
        for row, entry in entries.items()
        for name in (row, entry.name, *(entry.same_as or ()))
    }
    calls = {name: entry.all_calls for name, entry in entries.items()}
    machines = {row.machine_id for row in layers.rows} - {None}
    found = []
    for phase in layer_share.phases(case):
        by_layer, needed = layer_share.measured(case, layers, calls, phase)
        missing = [name for name in needed if name not in by_layer]
        if not by_layer:
            return "the run measured its layers in other settings, or at another batch size"
        if missing:
            more = " …" if len(missing) > MOST_NAMED else ""
            return f"not all layers were measured alone: {', '.join(missing[:MOST_NAMED])}{more}"
        key = f"{phase}_{profiled.where}_s"
        whole_s = sum(row[key] or 0.0 for row in profiled.layers)
        inside_s = _inside(profiled, names, key)
        if not set(inside_s) & set(by_layer) or not whole_s:
            return "its profile has none of these layers (compiled code shows no layers)"
        alone_s = {
            name: _alone_s(row, profiled.where) * needed.get(name, 1)
            for name, row in by_layer.items()
        }
        found.append(
            Beside(
                profiled=profiled,
                phase=phase,
                lines=tuple(_lines(alone_s, inside_s, calls, whole_s)),
                rest_s=max(0.0, whole_s - sum(inside_s.get(name, 0.0) for name in alone_s)),
                whole_s=whole_s,
                same_machine=profiled.machine_id is None or machines <= {profiled.machine_id},
            )
        )
    return found


def _inside(profiled: Profiled, names: Mapping[str, str], key: str) -> dict[str, float]:
    """Return the seconds by measured layer.

    A call that the run does not know counts for its module: for example a layer that is computed
    again in the backward.
    """
    found: dict[str, float] = {}
    for row in profiled.layers:
        name = names.get(row["layer"]) or names.get(row["module"])
        if name is not None:
            found[name] = found.get(name, 0.0) + (row[key] or 0.0)
    return found


def _alone_s(row: Row, where: str) -> float:
    """Return the seconds of one call; device time if the time inside is device time."""
    if where == "device" and row.device_s is not None:
        return row.device_s
    return row.latency_median_s or row.device_s or 0.0


def _lines(
    alone_s: Mapping[str, float],
    inside_s: Mapping[str, float],
    calls: Mapping[str, int],
    whole_s: float,
) -> list[Line]:
    sum_s = sum(alone_s.values())
    lines = [
        Line(
            layer=name,
            calls=calls[name],
            alone_s=time_s,
            alone_ratio=time_s / sum_s if sum_s else 0.0,
            inside_s=inside_s.get(name),
            inside_ratio=inside_s[name] / whole_s if name in inside_s else None,
        )
        for name, time_s in alone_s.items()
    ]
    return sorted(lines, key=lambda one: -(one.inside_s or 0.0))
