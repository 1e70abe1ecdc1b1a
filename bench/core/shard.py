"""A share of a run's replicates, so that several machines can measure one run.

A shard takes whole replicates: ratios are paired by replicate, and both sides of a pair must come
from one machine.  The numbers of its replicates are its own, so that shards can be merged.
"""

import re
from dataclasses import dataclass

_FORM = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")


class ShardError(ValueError):
    """The text is not a shard; the message says what was expected."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Number `index` of `count` shards, from 1."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def share(self, replicates: int) -> int:
        """Return how many of a run's replicates are this shard's; the first shards have most."""
        return len(range(self.index - 1, replicates, self.count))

    @property
    def first(self) -> int:
        """The number of its first replicate; the next is `count` higher."""
        return self.index - 1


WHOLE = Shard(1, 1)


def parse(text: str) -> Shard:
    """`2/8` → the second of eight.  Raises ShardError."""
    found = _FORM.fullmatch(text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise ShardError(f"is {text!r}; expected i/n with i from 1 to n, for example 2/8")
    return Shard(int(found[1]), int(found[2]))
