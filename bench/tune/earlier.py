"""The measurements of an interrupted search, read from its journal."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.core import decode
from bench.core.records import Case, Entry, Failure, Measurement, Outcome, StaticMetrics
from bench.results.journal import JournalError, records


@dataclass(frozen=True, slots=True)
class Earlier:
    """Outcomes by round and case id, and static metrics by case id."""

    outcomes: Mapping[tuple[int, str], Outcome] = field(default_factory=dict)
    statics: Mapping[str, StaticMetrics] = field(default_factory=dict)

    @classmethod
    def read(cls, journal: Path) -> "Earlier":
        """Read a journal with its repeats: a round that was cut is in it again.

        Raises JournalError.
        """
        return cls.of(records(journal, decode.entry, JournalError))

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> "Earlier":
        """Read the entries of a journal.

        A case that comes again in a round begins the round anew: what an interrupted search had of
        it was measured at another time.
        """
        outcomes: dict[tuple[int, str], Outcome] = {}
        statics: dict[str, StaticMetrics] = {}
        for entry in entries:
            match entry:
                case Measurement() | Failure():
                    if (entry.replicate, entry.case.case_id) in outcomes:
                        outcomes = {
                            key: one for key, one in outcomes.items() if key[0] != entry.replicate
                        }
                    outcomes[entry.replicate, entry.case.case_id] = entry
                case StaticMetrics():
                    statics[entry.case.case_id] = entry
        return cls(outcomes, statics)

    def round(self, number: int, cases: Sequence[Case]) -> dict[str, Outcome] | None:
        """Return a round that was measured whole; None if a case of it is missing.

        The rest of a round would be measured at another time than its beginning, and the two
        could not be compared.
        """
        found = {case.case_id: self.outcomes.get((number, case.case_id)) for case in cases}
        known = {key: one for key, one in found.items() if one is not None}
        return known if len(known) == len(cases) else None
