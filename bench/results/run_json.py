"""run.json as a typed record: where and how the rows of measurements.csv were measured.

The only decoder.  Keys that it does not know are kept; those that runs of earlier versions do not
have stand at their defaults.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, Strict, ValidationError

from bench.core.text import printable, shortened
from bench.stats import between_runs

T = TypeVar("T")
Many = Annotated[tuple[T, ...], Strict(False)]  # a list of JSON, never changed
# It divides and is divided by.
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
    """A text that is no run.json: the key and what was expected there, in one line."""


class _Part(BaseModel):
    """An object of run.json.  Strict: a text is no number."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)
    __pydantic_extra__: dict[str, JsonValue] = Field(init=False)

    def written(self) -> dict[str, Any]:
        """What the file has: without defaults."""
        return self.model_dump(exclude_unset=True)


class SizePoint(_Part):
    """One size of one operation: FLOPs or bytes, and how many of them in a second."""

    amount: Amount
    per_s: Amount


class BytesPoint(SizePoint):
    """A size of a copy or a sum, by the name of the operation."""

    what: str


class SizeSweep(_Part):
    """What a device did at most with one number of threads (`bench.worker.peaks`).

    cache_bytes: of all last caches together; None where the run does not say.
    """

    threads: str | None
    arithmetic: dict[str, Many[SizePoint]]
    traffic: Many[BytesPoint]
    cache_bytes: Amount | None = None
    disturbed: bool = False


class Machine(_Part):
    """The computer; its peaks by device."""

    machine_id: str | None = None
    peaks: dict[str, Many[SizeSweep]] = Field(default_factory=dict)


class Environment(_Part):
    """The software; `sources`: digests of what the subjects came with."""

    torch: str | None = None
    torch_git: str | None = None
    suite: JsonValue = None
    git_commit: str | None = None
    git_dirty: bool | None = None
    sources: dict[str, JsonValue] = Field(default_factory=dict)


class Config(_Part):
    """What was asked for, as far as readers look at it."""

    replicates: int = 5
    max_replicates: int | None = None
    precision: Annotated[float, Field(allow_inf_nan=False)] = 0.10
    samples_s: float | None = None
    warmup_s: float | None = None
    min_samples: int | None = None

    @property
    def adds_replicates(self) -> bool:
        """Whether the run added replicates where they were not yet precise (`RunOptions`)."""
        asked, most = self.replicates, self.max_replicates
        return asked >= between_runs.ENOUGH_ASKED if most is None else most > asked

    @property
    def sampling(self) -> tuple[object, ...]:
        """Runs that differ in it scatter differently."""
        return self.samples_s, self.warmup_s, self.min_samples, self.replicates


class Layer(_Part):
    """A layer of a subject; `same_as`: those equal to it, which were not measured again."""

    name: str
    alias: str | None = None
    calls: Annotated[int, Field(ge=0, lt=2**53)] | None = None
    same_as: Many[str] | None = None

    @property
    def row_name(self) -> str:
        """As the subjects of its rows have it."""
        return self.alias or self.name

    @property
    def all_calls(self) -> int:
        """How often it and those equal to it are called, in one call of the whole."""
        return self.calls or 1 + len(self.same_as or ())


class LargestBatch(_Part):
    """What `--batch max` found for a case that is measured at this batch."""

    batch: Annotated[int, Field(ge=1, lt=2**53)]
    refused: Annotated[int, Field(ge=1, lt=2**53)] | None = None
    reason: str | None = None


class Description(_Part):
    """A run.  Without any field: run.json is not at hand."""

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

    @property
    def is_known(self) -> bool:
        return bool(self.model_fields_set)

    @cached_property
    def layers_by_name(self) -> Mapping[str, Mapping[str, Layer]]:
        """By subject, then by the name of its rows, in the order of calls."""
        return {
            subject: {layer.row_name: layer for layer in own}
            for subject, own in self.layers.items()
        }


def decode(text: str) -> Description:
    """Raises DescriptionError."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DescriptionError(f"is no JSON: {error}") from None
    return of(document)


def of(document: object) -> Description:
    """From what JSON gives.  Raises DescriptionError."""
    try:
        return Description.model_validate(document)
    except ValidationError as error:
        raise DescriptionError(_told(error)) from None


def _told(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    if first["type"].startswith("recursion"):
        return f"{_key(first['loc'][:4])} is nested too deep"
    if first["type"] == "missing":
        return f"{_key(first['loc'])} is missing"
    expected = _EXPECTED.get(first["type"]) or first["msg"].removeprefix("Input should be ")
    shown = shortened(ascii(first["input"]), 60)
    return f"{_key(first['loc'])} is {shown}; expected {expected}"


def _key(place: Sequence[object]) -> str:
    """`machine.peaks.cpu.0`."""
    return shortened(printable(".".join(map(str, place))), 120) or "the whole"
