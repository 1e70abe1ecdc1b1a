"""The order of a run by value: blocks of cases, and the rounds in which they are measured.  Pure.

A round is a replicate: fresh interpreters, and cases in random order.  A block is begun when the
blocks above it have their least number of replicates, so a budget cuts from the bottom.  Where
three replicates or more are wanted, its first one is measured in the last round of those above,
which has the bases of its ratios already; not in a round of an earlier session.
Replicates beyond the least number are measured of all blocks together.

Ratios are paired by replicate, and the speed of a machine drifts.  So a ratio is safe only if both
of its sides were measured in the same round.  Two rules see to that:

- The settings run in the rounds of the plain cases, and the layers in those of the compiled
  networks, if the time that the first round of the upper block took says that both fit into the
  budget.  In that first round the upper block comes first, so that there are figures soon; in the
  others the order is random over both, so that a drift inside a round has no direction.  The last
  round of the plain cases and settings has the first replicate of the compiled networks after them,
  for the same reason.
- Else each round of a lower block measures its anchors again: those cases of the blocks above that
  its ratios stand on.  Replicate numbers go on, so what was measured at another time has another
  number and is not paired.

`tests/engine/test_blocks.py` lets a machine drift and holds that no ratio follows it.
"""

import enum
import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from bench.core.axes import AXES
from bench.core.records import Case
from bench.core.shard import WHOLE, Shard
from bench.core.subject import parse

COMPILE_OFF = "off"
# Of the time that is reckoned from the first outcomes, so much is needed: these are the slowest.
NEEDED_SHARE = 0.85
NOT_SETTINGS = frozenset({"mode", "batch", "input", "device"})
SETTINGS = tuple(axis for axis in AXES if axis.name not in NOT_SETTINGS)


class Block(enum.IntEnum):
    """A smaller number is measured first."""

    PLAIN = 0  # whole networks, plain settings, every mode and batch
    SETTINGS = 1  # whole networks under each other eager setting
    COMPILED = 2
    LAYERS = 3


# A block → the one below it, whose cases join its rounds where both fit into the budget.
JOINS: Mapping[Block, Block] = {Block.PLAIN: Block.SETTINGS, Block.COMPILED: Block.LAYERS}
# A block begins in the last round of those above if so many replicates are wanted: in that round
# its cases come after the bases of their ratios, so that a drift has a direction.
SHARES_A_ROUND = 3
# Which blocks the one below has joined; a block that is missing: not decided yet.
Joined = Mapping[Block, bool]


class SoFar(Protocol):
    """The results of a run."""

    def replicates(self, case: Case) -> Collection[int]: ...
    def given_up(self, case: Case) -> bool: ...


@dataclass(frozen=True, slots=True)
class Round:
    """One replicate.

    own:     cases whose replicates are wanted.
    anchors: cases of the blocks above, measured again so that ratios have both sides here.
    later:   cases that join after `own` if there is time: those of the block below in the first
             round of a block.
    first:   whether no case of the block has a replicate yet.
    """

    block: Block
    replicate: int
    own: tuple[Case, ...]
    anchors: tuple[Case, ...] = ()
    later: tuple[Case, ...] = ()
    first: bool = False

    def order(self, seed: int) -> list[Case]:
        """`own` and the anchors in one random order, so that no side of a ratio comes first.

        The first round of the plain cases begins with the one that is measured soonest, so that
        there is a figure.  Where networks are compiled for the first time, inference comes first:
        how long that takes tells about training.
        """
        found = shuffled((*self.own, *self.anchors), f"{seed}:{self.replicate}")
        if self.first and self.block is Block.PLAIN:
            soonest = min(found, key=_soon)
            found = [soonest, *(one for one in found if one != soonest)]
        elif self.first and self.block is Block.COMPILED:
            compiled = iter(sorted((one for one in found if one in self.own), key=_soon))
            found = [next(compiled) if one in self.own else one for one in found]
        return found

    def order_of_later(self, seed: int) -> list[Case]:
        return shuffled(self.later, f"{seed}:{self.replicate}:later")


@dataclass(frozen=True, slots=True)
class Blocks:
    """The cases of a plan by block.

    anchors: case id → the cases of blocks above that ratios of the case stand on.
    shard:   decides the numbers of the rounds.
    """

    members: Mapping[Block, tuple[Case, ...]]
    anchors: Mapping[str, tuple[Case, ...]]
    shard: Shard = WHOLE

    @classmethod
    def of(cls, cases: Sequence[Case], shard: Shard = WHOLE) -> "Blocks":
        plain = _plain_ones(cases)
        block_of = {case.case_id: _block(case, plain) for case in cases}
        return cls(
            members={
                block: tuple(case for case in cases if block_of[case.case_id] is block)
                for block in Block
            },
            anchors={
                case.case_id: tuple(
                    other
                    for other in cases
                    if block_of[other.case_id] < block_of[case.case_id]
                    and _stands_on(case, other, plain)
                )
                for case in cases
            },
            shard=shard,
        )

    def next_round(
        self, seen: SoFar, least: int, *, joined: Joined, resumed: bool = False
    ) -> Round | None:
        """Return the next round; None if every case has `least` replicates or is tried no more.

        resumed:  an interrupted round may be continued: it keeps its number, and its outcomes are
                  not measured again.
        """
        for block in Block:
            own = self._needing(block, seen, least)
            if not own:
                continue
            below: tuple[Case, ...] = ()
            if block in JOINS and joined.get(block) is not False:
                below = self._needing(JOINS[block], seen, least)
            number = self._next_number(seen)
            first = number == self.shard.first or block not in joined
            all_own = own if first else own + below
            found = Round(
                block,
                number,
                all_own,
                self.anchors_of((*own, *below), seen),
                below if first else (),
                first=not any(seen.replicates(case) for case in self.members[block]),
            )
            return self._continued(found, seen) if resumed else found
        return None

    def in_the_same_round(
        self, last: Round, seen: SoFar, least: int, *, joined: Joined
    ) -> Round | None:
        """Return the first replicate of the next block, to be measured in the round of the last.

        None if the blocks above it need further rounds, if it has replicates already, or if it gets
        fewer than SHARES_A_ROUND.
        """
        found = self.next_round(seen, least, joined=joined)
        if found is None or found.block <= last.block or not found.first or least < SHARES_A_ROUND:
            return None
        return self._under_number(found, last.replicate, seen)

    def asked_in(self, one: Round, seen: SoFar, least: int, *, joined: Joined) -> tuple[Case, ...]:
        """Return the cases of a round, and of the blocks that begin in it."""
        found = dict[Case, None]()
        part: Round | None = one
        while part is not None:
            found |= dict.fromkeys((*part.own, *part.anchors, *part.later))
            part = self.in_the_same_round(
                part, _After(seen, one.replicate, found), least, joined=joined
            )
        return tuple(found)

    def together(self, seen: SoFar, wanted: int) -> Round | None:
        """Return a round of all cases that have fewer replicates; None if there are none.

        An interrupted one is not continued: what it has measured stays, and the bases of what is
        missing are measured again.
        """
        own = tuple(case for block in Block for case in self._needing(block, seen, wanted))
        number = self._next_number(seen)
        return Round(Block.LAYERS, number, own, self.anchors_of(own, seen)) if own else None

    def anchors_left(
        self, seen: SoFar, least: int, *, joined: Joined, lowest: Block = Block.LAYERS
    ) -> int:
        """Return how many outcomes of anchors the rounds that are left have, as far as is known.

        lowest: rounds of the blocks below this one are left out.

        The first round of a lower block is the last one of those above, which has its anchors.
        Those of `together` are counted by `anchors_left_together`.
        """
        total = 0
        for block in (one for one in Block if one <= lowest):
            below = next((one for one, other in JOINS.items() if other is block), None)
            if below is not None and joined.get(below) is not False:
                continue  # it has no rounds of its own
            own = self._needing(block, seen, least)
            if block in JOINS and joined.get(block) is not False:
                own += self._needing(JOINS[block], seen, least)
            rounds = max((least - len(seen.replicates(case)) for case in own), default=0)
            shares = block is not Block.PLAIN and least >= SHARES_A_ROUND
            if shares and any(not seen.replicates(case) for case in own):
                rounds -= 1
            total += max(0, rounds) * len(self.anchors_of(own, seen))
        return total

    def anchors_left_together(self, seen: SoFar, wanted: int) -> int:
        """Return how many outcomes of anchors the rounds of all blocks that are left have."""
        found = self.together(seen, wanted)
        if found is None:
            return 0
        rounds = max(wanted - len(seen.replicates(case)) for case in found.own)
        return rounds * len(found.anchors)

    def anchors_of(self, own: Sequence[Case], seen: SoFar) -> tuple[Case, ...]:
        """Return the anchors of these cases that are not among them, nor given up."""
        ids = {case.case_id for case in own}
        found = {
            one.case_id: one
            for case in own
            for one in self.anchors[case.case_id]
            if one.case_id not in ids and not seen.given_up(one)
        }
        return tuple(found.values())

    def again(self, disturbed: Iterable[Case], block: Block, seen: SoFar) -> Round:
        """Return a replicate of cases that other work disturbed, with both sides of each ratio."""
        ids = {case.case_id for case in disturbed}
        begun = [case for case in self._all() if seen.replicates(case) and not seen.given_up(case)]
        own = tuple(case for case in begun if case.case_id in ids)
        above = {one.case_id for case in own for one in self.anchors[case.case_id]}
        partners = tuple(
            case
            for case in begun
            if case.case_id not in ids
            and (
                case.case_id in above
                or any(one.case_id in ids for one in self.anchors[case.case_id])
            )
        )
        return Round(block, self._next_number(seen), own, partners)

    def further(self, cases: Iterable[Case], seen: SoFar) -> Round:
        """Return a further replicate of cases that are not precise yet, the first of them first."""
        return Round(Block.LAYERS, self._next_number(seen), tuple(cases))

    def _all(self) -> list[Case]:
        return [case for block in Block for case in self.members[block]]

    def _needing(self, block: Block, seen: SoFar, least: int) -> tuple[Case, ...]:
        return tuple(
            case
            for case in self.members[block]
            if len(seen.replicates(case)) < least and not seen.given_up(case)
        )

    def _numbers(self, seen: SoFar) -> set[int]:
        return {number for case in self._all() for number in seen.replicates(case)}

    def _next_number(self, seen: SoFar) -> int:
        last = max(self._numbers(seen), default=None)
        return self.shard.first if last is None else last + self.shard.count

    def _continued(self, found: Round, seen: SoFar) -> Round:
        """Return the round under the last number, if that was begun for the same block."""
        last = found.replicate - self.shard.count
        blocks = [b for b in Block if any(last in seen.replicates(c) for c in self.members[b])]
        same = bool(blocks) and any(
            found.block in joint and max(blocks) in joint
            for joint in ({found.block}, *map(set, JOINS.items()))
        )
        # No case of a new block has that number: it was the round of a block above.
        if not same or not any(last in seen.replicates(c) for c in self.members[found.block]):
            return found
        # The bases of an earlier session alone would all come before what is measured now.
        lower = found.block in (Block.COMPILED, Block.LAYERS)
        if lower and found.anchors and all(last in seen.replicates(one) for one in found.anchors):
            return found
        return self._under_number(found, last, seen) or found

    @staticmethod
    def _under_number(found: Round, number: int, seen: SoFar) -> Round | None:
        """Return the part of a round that has no outcome under a number; None if `own` has all."""

        def missing(cases: Sequence[Case]) -> tuple[Case, ...]:
            return tuple(case for case in cases if number not in seen.replicates(case))

        if not (own := missing(found.own)):
            return None
        return replace(
            found,
            replicate=number,
            own=own,
            anchors=missing(found.anchors),
            later=missing(found.later),
        )


@dataclass(frozen=True, slots=True)
class _After:
    """The results when these cases have a replicate of this number as well."""

    before: SoFar
    number: int
    cases: Collection[Case]

    def replicates(self, case: Case) -> Collection[int]:
        found = self.before.replicates(case)
        return {*found, self.number} if case in self.cases else found

    def given_up(self, case: Case) -> bool:
        return self.before.given_up(case)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Outcomes that are still wanted.  each_s: seconds of one of them."""

    count: int
    each_s: float


def fits(wanted: Collection[Wanted], *, rounds: float, round_s: float, left_s: float) -> bool:
    """Return whether two blocks can run together in the time that is left.

    A time of NEEDED_SHARE of the estimate is enough: otherwise the upper block is measured alone
    first, and then again beside the other, which takes longer.  Of the last outcome, only the
    beginning must lie in the time.

    rounds: that still have to start.  round_s: seconds that one takes beside what is wanted.
    """
    needed_s = sum(one.count * one.each_s for one in wanted) + rounds * round_s
    last_s = max((one.each_s for one in wanted if one.count), default=0.0)
    return NEEDED_SHARE * (needed_s - last_s) <= left_s


def _soon(case: Case) -> tuple[bool, int]:
    """Order cases by how soon they are measured, as far as their names tell."""
    return case.mode != "inference", case.batch


def shuffled(cases: Sequence[Case], seed: str) -> list[Case]:
    """Return the cases in an order that the seed decides."""
    found = list(cases)
    random.Random(seed).shuffle(found)
    return found


def _whole_key(case: Case) -> tuple[object, ...]:
    return parse(case.subject).whole, case.mode, case.batch, case.input, case.device


def _settings(case: Case) -> dict[str, str | None]:
    return {axis.name: getattr(case, axis.name) for axis in SETTINGS}


def _from_default(case: Case) -> int:
    """Return how many settings are not at their default."""
    return sum(getattr(case, axis.name) not in (None, axis.default) for axis in SETTINGS)


def _plain_ones(cases: Sequence[Case]) -> dict[tuple[object, ...], Case]:
    """Return the eager case nearest to the defaults, by network, mode, batch, input and device.

    Where a user asks for channels_last alone, that case is the plain one.
    """
    found: dict[tuple[object, ...], Case] = {}
    for case in cases:
        if parse(case.subject).layer is not None or case.compile != COMPILE_OFF:
            continue
        best = found.setdefault(_whole_key(case), case)
        if _from_default(case) < _from_default(best):
            found[_whole_key(case)] = case
    return found


def _block(case: Case, plain: Mapping[tuple[object, ...], Case]) -> Block:
    if parse(case.subject).layer is not None:
        return Block.LAYERS
    if case.compile != COMPILE_OFF:
        return Block.COMPILED
    return Block.PLAIN if plain[_whole_key(case)] == case else Block.SETTINGS


def _stands_on(case: Case, other: Case, plain: Mapping[tuple[object, ...], Case]) -> bool:
    """Return whether a ratio of `case` has `other` as its base.

    A whole network stands on the plain one and on those that differ in one setting; a layer on its
    network under the same settings, or on the plain one.
    """
    if _whole_key(case) != _whole_key(other) or parse(other.subject).layer is not None:
        return False
    if plain.get(_whole_key(case)) == other:
        return True
    one, two = _settings(case), _settings(other)
    differ = sum(one[name] != two[name] for name in one)
    return differ == (1 if parse(case.subject).layer is None else 0)
