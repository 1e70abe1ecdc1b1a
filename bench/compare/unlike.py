"""Says where two GPUs that are compared are not alike: other cards, drivers, limits or slices."""

from collections.abc import Iterable, Mapping
from itertools import combinations

from bench.core import units
from bench.core.records import Row
from bench.results.results import Results
from bench.results.run_json import GpuDetails


def between(run: Results, other: Results) -> list[str]:
    """Return a sentence for each device that both runs have, and that is not the same in both."""
    names, others = _names(run.rows), _names(other.rows)
    here, there = run.description.machine.gpus, other.description.machine.gpus
    return [
        f"{device} is not alike in the two runs ({said}): a ratio is not of the code alone"
        for device in sorted({*names, *here} & {*others, *there})
        if (said := _said(_described(device, names, here), _described(device, others, there)))
    ]


def within(run: Results) -> list[str]:
    """Return a sentence for each two devices of one type in a run that are not alike."""
    names, gpus = _names(run.rows), run.description.machine.gpus
    devices = sorted(one for one in names if one != "cpu")
    return [
        f"{one} and {other} are not alike ({said}): a ratio is not of the settings alone"
        for one, other in combinations(devices, 2)
        if one.partition(":")[0] == other.partition(":")[0]
        if (said := _said(_described(one, names, gpus), _described(other, names, gpus)))
    ]


def _names(rows: Iterable[Row]) -> dict[str, str | None]:
    return {str(row.device): row.device_name for row in rows if row.device not in (None, "cpu")}


def _described(
    device: str, names: Mapping[str, str | None], gpus: Mapping[str, GpuDetails]
) -> dict[str, str]:
    """Return what is known of a device, in words."""
    details = gpus.get(device, GpuDetails())
    watts, sliced, size = details.power_limit_w, details.mig, details.memory_bytes
    found = {
        "card": names.get(device),
        "driver": details.driver,
        "memory": None if size is None else units.bytes_(size),
        "power limit": None if watts is None else f"{watts:g} W",
        "MIG": None if sliced is None else "on" if sliced else "off",
    }
    return {name: text for name, text in found.items() if text is not None}


def _said(one: Mapping[str, str], other: Mapping[str, str]) -> str:
    """Name what is known of both and differs."""
    return "; ".join(
        f"{name}: {one[name]} and {other[name]}"
        for name in one
        if name in other and one[name] != other[name]
    )
