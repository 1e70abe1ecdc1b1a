"""The parts of a profiled step as `bench profile` stores them: parts.json in the folder of a case.

A round is one process: the first is the whole profile, the others find parts alone.  Seconds are
those of one step.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core import decode
from bench.core.records import Case, RecordError
from bench.results.loading import ReadError

PARTS = "parts.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartTime:
    """The time of one operator for one layer in one phase."""

    layer: str
    phase: str
    operator: str
    within: str = ""  # the outermost operator that calls it
    calls: int = 0
    events: float = 0.0  # that the profiler recorded
    host_s: float = 0.0
    least_s: float | None = None  # of the steps of the round, where it ran undisturbed
    device_s: float | None = None
    kernels: Mapping[str, Sequence[float]] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """The parts that one process found."""

    unprofiled_s: float
    profiled_s: float
    parts: tuple[PartTime, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleCall:
    """One call of a module in a step: what it is set to, what goes in and what comes out."""

    row: str
    module: str
    type: str = ""
    training: bool = False
    settings: str = ""
    weights: str = ""
    input_format: str = ""
    input_dtype: str = ""
    output_format: str = ""
    output_dtype: str = ""
    output_shape: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphBreak:
    """A place at which torch.compile left a graph."""

    reason: str
    place: str = ""  # file:line
    code: str = ""  # the line
    modules: tuple[str, ...] = ()  # whose forward has that line


@dataclass(frozen=True, slots=True, kw_only=True)
class FusedKernel:
    """A kernel of compiled code, and the operators of eager code that it computes."""

    kernel: str
    phase: str
    kind: str  # fused | single | library
    calls: int | None = None
    time_s: float | None = None  # in one step; None: the profile has no event of that name
    operators: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StepParts:
    """The parts of one case's step, with all that is known of them."""

    case: Case
    rounds: tuple[Round, ...]
    modules: tuple[ModuleCall, ...] = ()  # in the order in which their calls begin
    types: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    order: Mapping[tuple[str, str], tuple[str, ...]] = dataclasses.field(default_factory=dict)
    counted: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
    breaks: tuple[GraphBreak, ...] = ()
    fused: tuple[FusedKernel, ...] = ()
    contended: bool = False

    @property
    def on_device(self) -> bool:
        """Return whether the accelerator's times are known; then these are the cost."""
        return any(part.device_s for one in self.rounds for part in one.parts)


def of_found(found: Mapping[str, Any], more: Iterable[Mapping[str, Any]] = ()) -> StepParts:
    """Return the parts from the file of a whole profile, and those of further rounds.

    Raises ReadError.
    """
    try:
        host = found["host"]
        first = {**found["parts"], **{name: host[name] for name in ("unprofiled_s", "profiled_s")}}
        return StepParts(
            case=decode.case(found["case"]),
            rounds=tuple(map(_round, (first, *more))),
            modules=tuple(ModuleCall(**one) for one in found["modules"]),
            types=found["parts"]["modules"],
            order={(row, phase): tuple(names) for row, phase, names in found["parts"]["order"]},
            counted=found["counted"],
            breaks=tuple(map(_break, found.get("breaks", ()))),
            fused=tuple(map(_fused, found.get("fused", ()))),
            contended=found["contended"],
        )
    except (KeyError, TypeError, ValueError, RecordError) as error:
        raise ReadError(f"the profile of a case cannot be read: {error!r}") from None


def _round(found: Mapping[str, Any]) -> Round:
    return Round(
        unprofiled_s=float(found["unprofiled_s"]),
        profiled_s=float(found["profiled_s"]),
        parts=tuple(PartTime(**one) for one in found["rows"]),
    )


def _break(found: Mapping[str, Any]) -> GraphBreak:
    return GraphBreak(**{**found, "modules": tuple(found["modules"])})


def _fused(found: Mapping[str, Any]) -> FusedKernel:
    lists = {name: tuple(found[name]) for name in ("operators", "layers")}
    return FusedKernel(**{**found, **lists})


def write(folder: Path, parts: StepParts) -> None:
    """Write parts.json into the folder of a case."""
    document = {
        "case": parts.case.as_dict(),
        "rounds": [
            {
                "unprofiled_s": one.unprofiled_s,
                "profiled_s": one.profiled_s,
                "rows": [dataclasses.asdict(part) for part in one.parts],
            }
            for one in parts.rounds
        ],
        "modules": [dataclasses.asdict(one) for one in parts.modules],
        "types": parts.types,
        "order": [[*key, names] for key, names in parts.order.items()],
        "counted": parts.counted,
        "breaks": [dataclasses.asdict(one) for one in parts.breaks],
        "fused": [dataclasses.asdict(one) for one in parts.fused],
        "contended": parts.contended,
    }
    text = json.dumps(document, allow_nan=False)
    (folder / PARTS).write_text(text + "\n", encoding="utf-8")


def read(folder: Path) -> StepParts:
    """Read parts.json of a case.  Raises ReadError."""
    path = folder / PARTS
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return StepParts(
            case=decode.case(found["case"]),
            rounds=tuple(map(_round, found["rounds"])),
            modules=tuple(ModuleCall(**one) for one in found["modules"]),
            types=found["types"],
            order={(row, phase): tuple(names) for row, phase, names in found["order"]},
            counted=found["counted"],
            breaks=tuple(map(_break, found["breaks"])),
            fused=tuple(map(_fused, found.get("fused", ()))),
            contended=bool(found["contended"]),
        )
    except FileNotFoundError:
        raise ReadError(f"{path}: is missing; profile the case again with this version") from None
    except OSError as error:
        raise ReadError(f"{path}: cannot be read: {error.strerror}") from None
    except (KeyError, TypeError, ValueError, AttributeError, RecordError) as error:
        raise ReadError(f"{path}: is not a profile that this version can read: {error!r}") from None
