"""Decode run.json: where and how the rows of measurements.csv were measured.

Unknown keys are kept.  Keys that runs of earlier versions lack have their defaults.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, Strict, ValidationError

from bench.core import replicates
from bench.core.shard import Shard
from bench.core.text import printable, shortened
from bench.stats import between_runs

T = TypeVar("T")
Many = Annotated[tuple[T, ...], Strict(False)]  # a JSON list as a tuple
# The bounds keep quotients of two amounts finite.
Amount = Annotated[float, Field(gt=0, lt=2**200, allow_inf_nan=False)]


_EXPECTED = {
    "model_type": "an object",
    "dict_type": "an object",
    "tuple_type": "a list",
    "string_type": "a text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "greater_than": "a number above 0",
}


class DescriptionError(ValueError):
    """The text is not a run.json; the message has the key and what was expected, in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The details that a run shares with its copies, and with no other run.

    A run_id alone is not enough: it is the name of the directory at the start, and the next job
    or another machine can choose the same one.  None: unknown.
    """

    run_id: str | None
    started: str | None
    machine: str | None
    node: str | None
    commit: str | None

    def is_same(self, other: "Identity") -> bool:
        """Return whether both are one run or copies of it.

        Two runs with the same name differ if another detail differs that is known of both.
        """
        others = (
            (self.started, other.started),
            (self.machine, other.machine),
            (self.node, other.node),
            (self.commit, other.commit),
        )
        named_alike = self.run_id is not None and self.run_id == other.run_id
        return named_alike and all(a == b for a, b in others if a and b)


@dataclass(frozen=True, slots=True)
class Sampling:
    """The options of a run that determine what its times are and how much they scatter.

    Their names are those of the keys of `[run]`.  None: unknown.
    """

    samples_s: float | None
    warmup_s: float | None
    min_samples: int | None
    replicates: int
    isolation: str = "process"
    parallel_devices: bool = False
    wait_policy: str = "default"


class _Part(BaseModel):
    """An object of run.json.  Types are not converted: a text is not accepted as a number."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)
    __pydantic_extra__: dict[str, JsonValue] = Field(init=False)

    def written(self) -> dict[str, Any]:
        """Return the keys that the file has, without defaults."""
        return self.model_dump(exclude_unset=True)


class SizePoint(_Part):
    """One size of one operation: its FLOPs or bytes, and its rate per second."""

    amount: Amount
    per_s: Amount


class BytesPoint(SizePoint):
    """One size of a copy or a sum.  what: the name of the operation."""

    what: str


class SizeSweep(_Part):
    """The highest rates of a device with one number of threads (`bench.worker.peak_measuring`).

    cache_bytes: the size of all last-level caches together; None if it is unknown.
    """

    threads: str | None
    arithmetic: dict[str, Many[SizePoint]]
    traffic: Many[BytesPoint]
    cache_bytes: Amount | None = None
    disturbed: bool = False


class GpuDetails(_Part):
    """Settings of a GPU, as torch and its driver report them (`bench.host.probed`)."""

    driver: str | None = None
    capability: str | None = None
    memory_bytes: int | None = None
    power_limit_w: float | None = None
    persistence: bool | None = None
    mig: bool | None = None


class PeaksOrigin(_Part):
    """The time when peaks were measured (ISO 8601, UTC).  kept: by an earlier run."""

    measured: str
    kept: bool


class Machine(_Part):
    """The computer; its GPUs and its peaks by device, and the origin of the peaks if known.

    node: tells apart the computers of one kind, which have the same machine_id.
    """

    machine_id: str | None = None
    node: str | None = None
    gpus: dict[str, GpuDetails] = Field(default_factory=dict)
    peaks: dict[str, Many[SizeSweep]] = Field(default_factory=dict)
    peaks_from: dict[str, PeaksOrigin] = Field(default_factory=dict)


class Environment(_Part):
    """The software.  sources: digests of the files of the subjects."""

    torch: str | None = None
    torch_git: str | None = None
    suite: JsonValue = None
    git_commit: str | None = None
    git_dirty: bool | None = None
    sources: dict[str, JsonValue] = Field(default_factory=dict)


class Config(_Part):
    """The options of the run that are used when its results are read."""

    replicates: int = 5
    max_replicates: int | None = None
    least_replicates: int | None = None
    precision: Annotated[float, Field(allow_inf_nan=False)] = 0.10
    samples_s: float | None = None
    warmup_s: float | None = None
    min_samples: int | None = None
    isolation: str = "process"
    parallel_devices: bool = False
    wait_policy: str = "default"

    @property
    def first_replicates(self) -> int:
        """The number of replicates without which a case lacks some (`RunOptions`)."""
        return replicates.first(self.replicates, self.least_replicates)

    @property
    def adds_replicates(self) -> bool:
        """Return whether the run added replicates to imprecise cases (`RunOptions`)."""
        asked, most = self.replicates, self.max_replicates
        return asked >= between_runs.ENOUGH_ASKED if most is None else most > asked

    @property
    def sampling(self) -> Sampling:
        return Sampling(
            self.samples_s,
            self.warmup_s,
            self.min_samples,
            self.replicates,
            self.isolation,
            self.parallel_devices,
            self.wait_policy,
        )


class Layer(_Part):
    """A layer of a subject.  same_as: equal layers, which were not measured again."""

    name: str
    alias: str | None = None
    type: str | None = None
    calls: Annotated[int, Field(ge=0, lt=2**53)] | None = None
    same_as: Many[str] | None = None

    @property
    def row_name(self) -> str:
        """Return the name of the layer in the subjects of its rows."""
        return self.alias or self.name

    @property
    def all_calls(self) -> int:
        """Return the number of calls of the layer and its equals in one call of the network."""
        return self.calls or 1 + len(self.same_as or ())


class LargestBatch(_Part):
    """The result of `--batch max` for a case that is measured at this batch."""

    batch: Annotated[int, Field(ge=1, lt=2**53)]
    refused: Annotated[int, Field(ge=1, lt=2**53)] | None = None
    reason: str | None = None


class ShardOf(_Part):
    """The shard that a run is.  plan: a digest of what the whole run was asked to measure."""

    index: Annotated[int, Field(ge=1, lt=10**6)]
    count: Annotated[int, Field(ge=1, lt=10**6)]
    plan: str

    @property
    def shard(self) -> Shard:
        return Shard(self.index, self.count)


class Description(_Part):
    """The description of a run; without any field if run.json is missing."""

    run_id: str | None = None
    command: Many[str] = ()
    started: str | None = None  # ISO 8601 in UTC
    config: Config = Config()
    machine: Machine = Machine()
    environment: Environment = Environment()
    devices: dict[str, str] = Field(default_factory=dict)  # as torch and as drivers name them
    layers: dict[str, Many[Layer]] = Field(default_factory=dict)  # by subject, in order of calls
    cases: Many[dict[str, JsonValue]] = ()
    largest_batches: dict[str, LargestBatch] = Field(default_factory=dict)  # by case id
    shard: ShardOf | None = None  # None: a whole run

    @property
    def is_known(self) -> bool:
        return bool(self.model_fields_set)

    @property
    def identity(self) -> Identity:
        """The details that tell the run from others."""
        return Identity(
            run_id=self.run_id,
            started=self.started,
            machine=self.machine.machine_id,
            node=self.machine.node,
            commit=self.environment.git_commit,
        )

    @cached_property
    def layers_by_name(self) -> Mapping[str, Mapping[str, Layer]]:
        """The layers by subject, then by `row_name`, in the order of their calls."""
        return {
            subject: {layer.row_name: layer for layer in own}
            for subject, own in self.layers.items()
        }


def decode(text: str, without: Collection[str] = ()) -> Description:
    """Decode the text of a run.json.  Raises DescriptionError.

    without: keys to leave out: `layers`, or one of an object: `machine.peaks`.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DescriptionError(f"is not valid JSON: {error}") from None
    for name in without:
        outer, _, inner = name.rpartition(".")
        part = document.get(outer) if outer and isinstance(document, dict) else document
        if isinstance(part, dict):
            part.pop(inner, None)
    return of(document)


def of(document: object) -> Description:
    """Make a description from decoded JSON.  Raises DescriptionError."""
    try:
        return Description.model_validate(document)
    except ValidationError as error:
        raise DescriptionError(_message(error)) from None


def _message(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    if first["type"].startswith("recursion"):
        return f"{_key(first['loc'][:4])} is nested too deep"
    if first["type"] == "missing":
        return f"{_key(first['loc'])} is missing"
    expected = _EXPECTED.get(first["type"]) or first["msg"].removeprefix("Input should be ")
    shown = shortened(ascii(first["input"]), 60)
    return f"{_key(first['loc'])} is {shown}; expected {expected}"


def _key(place: Sequence[object]) -> str:
    """Return the path of a key: `machine.peaks.cpu.0`."""
    return shortened(printable(".".join(map(str, place))), 120) or "the whole document"
