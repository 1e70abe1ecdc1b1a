"""run.json, held against the shapes that its readers count on.  Pure.

The rows stand in measurements.csv; run.json says where and how they were measured.  So a part of
another shape is taken for unknown, as if it were not there, and what is left is read.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

MOST_DEEP = 40  # nested values; what this suite writes has eight


def deep(value: Any) -> bool:
    """Whether it is nested deeper than anything that reads it can follow."""
    level = [value]
    for _ in range(MOST_DEEP):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
    return bool(level)


def sound(run: Mapping[str, Any]) -> dict[str, Any]:
    """The same without what has another shape than is written; keys beyond those are kept."""
    return _kept(run, _RUN)


def _kept(parts: Mapping[str, Any], shapes: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
    """Each part that has a shape, as its function leaves it, but for those it has no use for."""
    found = {name: shapes[name](part) if name in shapes else part for name, part in parts.items()}
    return {name: part for name, part in found.items() if part is not None or parts[name] is None}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: Any) -> list[str] | None:
    return value if isinstance(value, list) and all(isinstance(v, str) for v in value) else None


def _mapping(value: Any) -> dict[str, Any] | None:
    return value if isinstance(value, dict) else None


def _named_texts(value: Any) -> dict[str, str] | None:
    """`devices`: those whose name is text."""
    if not isinstance(value, dict):
        return None
    return {name: one for name, one in value.items() if isinstance(one, str)}


def _environment(value: Any) -> dict[str, Any] | None:
    if not isinstance(value, dict):
        return None
    return _kept(value, {"torch": _text, "git_commit": _text})


def _machine(value: Any) -> dict[str, Any] | None:
    return _kept(value, {"machine_id": _text, "peaks": _peaks}) if isinstance(value, dict) else None


def _peaks(value: Any) -> dict[str, Any] | None:
    """By device those ladders that are whole (`bench.worker.peaks`)."""
    if not isinstance(value, dict):
        return None
    ladders = {
        device: [one for one in own if _is_ladder(one)]
        for device, own in value.items()
        if isinstance(own, list)
    }
    return {device: own for device, own in ladders.items() if own}


def _is_ladder(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("threads", 0), str | None):
        return False
    arithmetic, traffic = value.get("arithmetic"), value.get("traffic")
    return (
        isinstance(arithmetic, dict)
        and all(_are_rungs(rungs) for rungs in arithmetic.values())
        and _are_rungs(traffic)
        and all(isinstance(one.get("what"), str) for one in traffic or ())
        and ((cache := value.get("cache_bytes")) is None or _is_amount(cache))
    )


def _are_rungs(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, dict) and _is_amount(one.get("amount")) and _is_amount(one.get("per_s"))
        for one in value
    )


def _is_amount(value: Any) -> bool:
    """A number above 0 that divides and is divided by."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and 0 < value < 2**200


def _layers(value: Any) -> dict[str, Any] | None:
    """By subject; a list with a broken layer says nothing of how often the others are called."""
    if not isinstance(value, dict):
        return None
    return {
        subject: own
        for subject, own in value.items()
        if isinstance(own, list) and all(map(_is_layer, own))
    }


def _is_layer(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return False
    calls, same_as = value.get("calls"), value.get("same_as")
    return (
        isinstance(value.get("alias"), str | None)
        and (calls is None or (type(calls) is int and 0 <= calls < 2**53))
        and (same_as is None or _texts(same_as) is not None)
    )


_RUN: Mapping[str, Callable[[Any], Any]] = {
    "run_id": _text,
    "command": _texts,
    "started": _text,
    "config": _mapping,
    "machine": _machine,
    "environment": _environment,
    "devices": _named_texts,
    "layers": _layers,
}
