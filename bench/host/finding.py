"""One finding of `bench doctor`."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "spoils", "lacks"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `bench doctor`.

    level: ok; spoils = figures of this machine are wrong or wide; lacks = a feature is not there.
    mend:  what to do, None where nothing is to be done.
    """

    level: Level
    text: str
    mend: str | None = None
