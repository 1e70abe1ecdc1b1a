"""Decode JSON from files and other processes into records whose fields have the declared types.

For the parent process alone: a worker may run in an interpreter that has no pydantic.
"""

import json
from collections.abc import Callable
from typing import Annotated, Any, Generic, TypeVar, cast

from pydantic import BeforeValidator, ConfigDict, Discriminator, TypeAdapter, ValidationError

from bench.core.records import (
    FLAGS,
    STRICT,
    Case,
    Entry,
    Failure,
    Measurement,
    RecordError,
    StaticMetrics,
    stored_key,
)
from bench.core.text import printable

T = TypeVar("T")

MOST_CHARACTERS = 300  # of a message: it may repeat what a file holds


class Decoder(Generic[T]):
    """A decoder from JSON to one kind of record, or to a tagged union of several."""

    def __init__(self, kind: Any, name: str) -> None:
        """kind: a type; a union is told apart by `kind`, a dataclass has its own configuration.

        name: for messages, "journal line".
        """
        own = hasattr(kind, "__pydantic_config__")
        config = None if own else cast("ConfigDict", {**STRICT, "alias_generator": stored_key})
        self._adapter: TypeAdapter[T] = TypeAdapter(kind, config=config)
        self._name = name

    def of_json(self, text: str | bytes) -> T:
        """Raises RecordError: in one line the first field that is not what it should be."""
        try:
            return self._adapter.validate_json(text)
        except ValidationError as error:
            raise RecordError(f"not a {self._name}: {_first(error)}") from None
        except UnicodeEncodeError as error:  # half of a surrogate pair, in text
            raise RecordError(f"not a {self._name}: {error}") from None

    def of_fields(self, fields: Any) -> T:
        """Decode JSON that was parsed already.  Raises RecordError."""
        try:
            text = json.dumps(fields)
        except (TypeError, ValueError, RecursionError) as error:
            raise RecordError(f"not a {self._name}: {error}") from None
        return self.of_json(text)


def or_text(of_text: Callable[[str], T]) -> BeforeValidator:
    """Return a validator that also accepts a text in the place of a record, for older files."""
    return BeforeValidator(lambda value: of_text(value) if isinstance(value, str) else value)


def tagged(union: Any) -> Any:
    """Return the union as one whose members are told apart by their field `kind`."""
    return Annotated[union, Discriminator("kind")]


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    said = printable(" ".join(f"{where}: {first['msg']}".removeprefix(": ").split()))
    return said if len(said) <= MOST_CHARACTERS else said[: MOST_CHARACTERS - 1] + "…"


_ENTRY: Decoder[Entry] = Decoder(tagged(Entry), "journal line")
_CASE: Decoder[Case] = Decoder(Case, "case")


def case(fields: Any) -> Case:
    """Raises RecordError."""
    found = _CASE.of_fields(fields)
    if found.batch <= 0:
        raise RecordError(f"not a case: batch: {found.batch} is not a number of samples")
    return found


def entry(line: str | bytes) -> Entry:
    """Return the record of a journal line, of an earlier version as well.  Raises RecordError."""
    found = _ENTRY.of_json(line)
    for name, good in _in_range(found).items():
        if not good:
            raise RecordError(f"not a journal line: {name}: is out of its range")
    return found


def _in_range(found: Entry) -> dict[str, bool]:
    """Return, by field, whether its value is one that this suite writes."""
    good = {"case.batch": found.case.batch > 0}
    match found:
        case Measurement():
            good["replicate"] = found.replicate >= 0
            good["flags"] = all(flag in FLAGS for flag in found.flags)
            good["samples"] = all(one.calls_per_sample > 0 and one.times_s for one in found.samples)
        case Failure():
            good["replicate"] = found.replicate >= 0
            good["status"] = found.status != "ok"
        case StaticMetrics():
            pass
    return good
