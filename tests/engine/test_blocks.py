"""The blocks of a plan, their rounds, and what a machine that drifts does to ratios."""

import dataclasses
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from bench.core.records import Case
from bench.core.shard import Shard
from bench.engine.blocks import JOINS, Block, Blocks, Round, Wanted, fits
from bench.stats import ratios
from tests.support.cases import case

PLAIN = case(batch=8)
TRAINING = dataclasses.replace(PLAIN, mode="training", grad_mode=None)
LAST = dataclasses.replace(PLAIN, memory_format="channels_last")
AMP = dataclasses.replace(PLAIN, amp="bfloat16")
COMPILED = dataclasses.replace(PLAIN, compile="default")
COMPILED_LAST = dataclasses.replace(LAST, compile="default")
LAYER = dataclasses.replace(PLAIN, subject="convnet/conv1")
LAYER_LAST = dataclasses.replace(LAST, subject="convnet/conv1")
ALL = (LAYER_LAST, LAYER, COMPILED_LAST, COMPILED, AMP, LAST, TRAINING, PLAIN)

JOINED = dict.fromkeys(JOINS, True)
APART = dict.fromkeys(JOINS, False)


@dataclass
class Seen:
    numbers: dict[str, set[int]] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)

    def replicates(self, case: Case) -> set[int]:
        return self.numbers.get(case.case_id, set())

    def given_up(self, case: Case) -> bool:
        return case.case_id in self.lost

    def add(self, cases: Sequence[Case], number: int) -> None:
        for one in cases:
            self.numbers.setdefault(one.case_id, set()).add(number)


def test_blocks_are_plain_settings_compiled_and_layers() -> None:
    members = Blocks.of(ALL).members
    assert members[Block.PLAIN] == (TRAINING, PLAIN)
    assert members[Block.SETTINGS] == (AMP, LAST)
    assert members[Block.COMPILED] == (COMPILED_LAST, COMPILED)
    assert members[Block.LAYERS] == (LAYER_LAST, LAYER)


def test_where_the_plain_setting_is_not_asked_for_the_one_nearest_to_it_is_the_plain_one() -> None:
    both = dataclasses.replace(LAST, amp="bfloat16")
    members = Blocks.of((both, LAST)).members
    assert (members[Block.PLAIN], members[Block.SETTINGS]) == ((LAST,), (both,))


def test_anchors_are_the_bases_of_the_ratios_of_a_case() -> None:
    anchors = Blocks.of(ALL).anchors
    assert anchors[PLAIN.case_id] == ()
    assert anchors[LAST.case_id] == (PLAIN,)
    assert anchors[COMPILED.case_id] == (PLAIN,)
    assert anchors[COMPILED_LAST.case_id] == (LAST, PLAIN)
    assert anchors[LAYER.case_id] == (PLAIN,)
    assert anchors[LAYER_LAST.case_id] == (LAST, PLAIN)


def rounds(together: bool, *, least: int = 3, cases: Sequence[Case] = ALL) -> list[Round]:
    """All rounds of a run; the first one of a block decides whether the block below fits in.

    One that has the first replicate of a lower block is two of the same number.
    """
    blocks, seen = Blocks.of(cases), Seen()
    found, joined = list[Round](), dict[Block, bool]()

    def following() -> Round | None:
        same = found and blocks.in_the_same_round(found[-1], seen, least, joined=joined)
        return same or blocks.next_round(seen, least, joined=joined)

    while one := following():
        found.append(one)
        seen.add((*one.own, *one.anchors), one.replicate)
        if one.later:
            joined[one.block] = together
            if together:
                seen.add(one.later, one.replicate)
    return found


def test_settings_that_fit_in_run_in_every_round_of_the_plain_cases_after_them_in_the_first() -> (
    None
):
    first, second, third, *lower = rounds(together=True)
    assert (first.own, first.later) == ((TRAINING, PLAIN), (AMP, LAST))
    for one in (second, third):
        assert (one.own, one.later, one.anchors) == ((TRAINING, PLAIN, AMP, LAST), (), ())
    assert [one.block for one in lower] == [Block.COMPILED] * 3
    # The first of them is the last one of the plain cases, which has the bases already.
    assert [one.replicate for one in lower] == [2, 3, 4]


def test_layers_that_fit_in_run_in_every_round_of_the_compiled_cases() -> None:
    compiled, *later = rounds(together=True)[3:]
    assert (set(compiled.own), set(compiled.later)) == (
        {COMPILED, COMPILED_LAST},
        {LAYER, LAYER_LAST},
    )
    assert compiled.anchors == ()
    for one in later:
        assert (set(one.own), one.later) == (
            {COMPILED, COMPILED_LAST, LAYER, LAYER_LAST},
            (),
        )
        assert set(one.anchors) == {PLAIN, LAST}


def test_settings_that_do_not_fit_in_have_rounds_of_their_own_with_their_anchors() -> None:
    found = rounds(together=False)
    assert [one.own for one in found[:3]] == [(TRAINING, PLAIN)] * 3
    assert [(one.own, one.anchors) for one in found[3:6]] == [
        ((AMP, LAST), ()),
        ((AMP, LAST), (PLAIN,)),
        ((AMP, LAST), (PLAIN,)),
    ]
    assert [one.block for one in found[6:]] == [Block.COMPILED] * 3 + [Block.LAYERS] * 3
    assert [one.replicate for one in found] == [0, 1, 2, 2, 3, 4, 4, 5, 6, 6, 7, 8]


def test_a_block_that_was_begun_before_or_needs_further_rounds_joins_no_round_of_another() -> None:
    blocks, seen = Blocks.of(ALL), Seen()
    above = (TRAINING, PLAIN, AMP, LAST)
    for number in range(2):
        seen.add(above, number)
    last = Round(Block.PLAIN, 1, above)
    assert blocks.in_the_same_round(last, seen, 3, joined=JOINED) is None
    seen.add(above, 2)
    last = Round(Block.PLAIN, 2, above)
    found = blocks.in_the_same_round(last, seen, 3, joined=JOINED)
    assert found is not None
    assert found.replicate == 2
    assert set(found.own) == {COMPILED, COMPILED_LAST, LAYER, LAYER_LAST}
    seen.add((COMPILED,), 1)
    assert blocks.in_the_same_round(last, seen, 3, joined=JOINED) is None


def test_a_base_that_the_round_lacks_is_measured_in_it_before_the_first_replicate_below() -> None:
    blocks, seen = Blocks.of(ALL), Seen()
    for number in range(3):
        seen.add((TRAINING, PLAIN, AMP), number)
    seen.add((LAST,), 3)  # as after a resume
    for number in (4, 5):
        seen.add((PLAIN, LAST), number)
    last = Round(Block.SETTINGS, 5, (LAST,), (PLAIN,))
    found = blocks.in_the_same_round(last, seen, 3, joined=APART)
    assert found is not None
    assert (found.block, found.replicate, found.anchors) == (Block.COMPILED, 5, ())
    seen.numbers[LAST.case_id] = {3, 4, 6}
    found = blocks.in_the_same_round(last, seen, 3, joined=APART)
    assert found is not None
    assert found.anchors == (LAST,)


def test_replicates_beyond_the_least_are_of_all_blocks_with_their_anchors() -> None:
    blocks, seen = Blocks.of(ALL), Seen()
    while one := blocks.next_round(seen, 2, joined=JOINED):
        seen.add((*one.own, *one.anchors, *one.later), one.replicate)
    assert blocks.together(seen, 2) is None
    last = max(number for own in seen.numbers.values() for number in own)
    found = blocks.together(seen, 3)
    assert found is not None
    # The rounds of the lower blocks have measured their bases more than twice already.
    assert set(found.own) == {TRAINING, AMP, COMPILED, COMPILED_LAST, LAYER, LAYER_LAST}
    assert set(found.anchors) == {PLAIN, LAST}
    assert found.replicate == last + 1
    seen.lost.add(AMP.case_id)
    again = blocks.together(seen, 3)
    assert again is not None
    assert AMP not in again.own


def test_a_case_that_is_given_up_holds_no_block_up_and_is_no_anchor() -> None:
    seen = Seen(lost={PLAIN.case_id, TRAINING.case_id})
    one = Blocks.of(ALL).next_round(seen, 3, joined=JOINED)
    assert one is not None
    assert (one.block, one.anchors) == (Block.SETTINGS, ())


def test_the_order_of_a_round_is_random_with_its_anchors_and_the_seed_decides() -> None:
    cases = tuple(case(batch=n) for n in range(1, 9))
    one, other = Round(Block.PLAIN, 0, cases[:4], cases[4:]), Round(Block.PLAIN, 1, cases)
    assert one.order(7) == one.order(7)
    assert one.order(7) != one.order(8)
    assert other.order(7) != one.order(7)
    assert sorted(one.order(7)) == sorted(cases)
    assert {cases.index(found) < 4 for found in one.order(7)[:4]} == {True, False}
    assert one.order(7) != [*cases]


def test_the_first_round_begins_with_the_plain_case_that_is_measured_soonest() -> None:
    plain = [
        case(batch=batch, mode=mode, grad_mode=None)
        for batch in (32, 1, 8)
        for mode in ("training", "inference")
    ]
    settings = [dataclasses.replace(one, memory_format="channels_last") for one in plain]
    first = Blocks.of([*plain, *settings]).next_round(Seen(), 3, joined={})
    assert first is not None
    orders = [[(one.batch, one.mode) for one in first.order(seed)] for seed in range(20)]
    assert {found[0] for found in orders} == {(1, "inference")}
    assert len({tuple(found) for found in orders}) > 10  # the others are in random order
    assert {len(set(found)) for found in orders} == {6}
    second = Round(Block.PLAIN, 1, first.own)
    assert len({second.order(seed)[0] for seed in range(20)}) > 1


def test_inference_is_the_first_to_be_compiled_in_any_place_beside_the_anchors() -> None:
    compiled = [dataclasses.replace(one, compile="default") for one in (TRAINING, PLAIN)]
    seen = Seen()
    seen.add((TRAINING, PLAIN), 0)
    planned = Blocks.of([*compiled, TRAINING, PLAIN]).next_round(seen, 1, joined=JOINED)
    assert planned is not None
    one = dataclasses.replace(planned, anchors=(TRAINING, PLAIN))
    orders = {tuple(one.order(seed)) for seed in range(50)}
    assert all(found.index(compiled[1]) < found.index(compiled[0]) for found in orders)
    assert {found.index(compiled[0]) > found.index(TRAINING) for found in orders} == {True, False}
    assert {found.index(compiled[1]) > found.index(PLAIN) for found in orders} == {True, False}


def test_a_round_that_was_interrupted_is_gone_on_with_under_its_number() -> None:
    blocks, seen = Blocks.of(ALL), Seen()
    for number in range(2):
        seen.add((TRAINING, PLAIN, AMP, LAST), number)
    seen.add((PLAIN, AMP), 2)
    one = blocks.next_round(seen, 3, joined=JOINED, resumed=True)
    assert one is not None
    assert (one.replicate, set(one.own)) == (2, {TRAINING, LAST})


def test_a_resume_between_two_blocks_begins_a_new_number() -> None:
    blocks, seen = Blocks.of(ALL), Seen()
    for number in range(3):
        seen.add((TRAINING, PLAIN), number)
    one = blocks.next_round(seen, 3, joined=APART, resumed=True)
    assert one is not None
    assert (one.replicate, one.own, one.anchors) == (3, (AMP, LAST), (PLAIN,))


def test_a_resume_in_a_lower_block_measures_the_anchors_that_are_missing() -> None:
    blocks, seen = Blocks.of(ALL), Seen()
    for number in range(3):
        seen.add((TRAINING, PLAIN, AMP, LAST), number)
    seen.add((COMPILED,), 3)
    one = blocks.next_round(seen, 3, joined=APART, resumed=True)
    assert one is not None
    assert (one.replicate, one.own, set(one.anchors)) == (3, (COMPILED_LAST,), {PLAIN, LAST})


def test_a_resume_after_all_anchors_of_a_lower_round_begins_a_new_number() -> None:
    """The bases of the earlier session alone would come before all that is measured now."""
    blocks, seen = Blocks.of(ALL), Seen()
    for number in range(3):
        seen.add((TRAINING, PLAIN, AMP, LAST), number)
    seen.add((COMPILED,), 2)
    one = blocks.next_round(seen, 3, joined=APART, resumed=True)
    assert one is not None
    assert (one.replicate, set(one.own)) == (3, {COMPILED, COMPILED_LAST})
    assert set(one.anchors) == {PLAIN, LAST}


def test_what_was_disturbed_is_measured_again_with_both_sides_of_its_ratios() -> None:
    blocks, seen = Blocks.of(ALL), Seen()
    for number in range(3):
        seen.add((TRAINING, PLAIN, AMP, LAST), number)
    of_plain, of_amp = (blocks.again([one], Block.PLAIN, seen) for one in (PLAIN, AMP))
    assert (of_plain.replicate, of_plain.own, set(of_plain.anchors)) == (3, (PLAIN,), {AMP, LAST})
    assert (of_amp.own, of_amp.anchors) == ((AMP,), (PLAIN,))


@pytest.mark.parametrize(("left_s", "expected"), [(26.0, True), (25.9, False)])
def test_whether_both_fit_is_reckoned_from_what_the_first_round_took(
    left_s: float, expected: bool
) -> None:
    # 6 outcomes of 1.5 s, 15 of 1 s, two starts of 4 s: 32 s, of which the last one has to begin
    # in time: 30.5 s, and 85 % of it: 25.93 s
    wanted = [Wanted(6, 1.5), Wanted(15, 1.0)]
    assert fits(wanted, rounds=2, round_s=4, left_s=left_s) is expected


def speedup(
    together: bool, of: Case, slowdown: float, seed: int, least: int = 5
) -> ratios.Estimate:
    """PLAIN / `of`, both of the same true time, on a machine that slows down in the run.

    slowdown: from the first to the last outcome, evenly: 2 = twice as slow.
    """
    found = rounds(together=together, least=least)
    order = [
        (measured, one.replicate)
        for one in found
        for measured in (
            *one.order(seed),
            *(one.order_of_later(seed) if together else ()),
        )
    ]
    noise = random.Random(seed)
    medians: dict[str, dict[int, float]] = {}
    for at, (measured, number) in enumerate(order):
        time_s = slowdown ** (at / len(order)) * math.exp(noise.gauss(0, 0.01))
        medians.setdefault(measured.case_id, {})[number] = time_s
    estimate = ratios.paired(medians[PLAIN.case_id], medians[of.case_id])
    assert estimate is not None
    return estimate


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("of", [LAST, COMPILED, COMPILED_LAST, LAYER])
def test_a_machine_that_gets_twice_as_slow_in_the_run_makes_no_ratio(
    together: bool, of: Case
) -> None:
    found = [speedup(together, of, 2.0, seed) for seed in range(200)]
    # LAST in the rounds below; the first round of a block is the last one of those above.
    as_anchor = 4 if together else 8
    assert {one.n for one in found} == {5 + as_anchor if of == LAST else 5}
    # Without shared rounds the ratio would be off by a third or more: 2 ** (blocks apart).
    mean = math.fsum(one.log for one in found) / len(found)
    assert abs(mean) < 0.02
    intervals = [one.interval() for one in found]
    missed = sum(not low <= 1 <= high for low, high in filter(None, intervals))
    assert missed <= 20  # 10 are expected of 200


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("of", [LAST, COMPILED, COMPILED_LAST, LAYER])
@pytest.mark.parametrize(("least", "most"), [(2, 0.01), (3, 0.01)])
def test_a_machine_that_slows_down_by_a_tenth_in_the_run_moves_no_ratio_by_a_hundredth(
    together: bool, of: Case, least: int, most: float
) -> None:
    found = [speedup(together, of, 1.1, seed, least) for seed in range(200)]
    assert abs(math.fsum(one.log for one in found) / len(found)) < most


def test_a_run_of_one_replicate_measures_the_bases_of_lower_blocks_in_their_own_round() -> None:
    """Its rounds may be merged with those of other machines: no side may come first in all."""
    found = rounds(together=True, least=1)
    assert [(one.block, one.replicate) for one in found] == [
        (Block.PLAIN, 0),
        (Block.COMPILED, 1),
    ]
    assert set(found[1].anchors) == {PLAIN, LAST}


def test_pairs_of_different_rounds_would_take_the_drift_for_a_speedup() -> None:
    """The check of the check: medians over all rounds, as if blocks were measured apart."""
    found = rounds(together=False, least=5)
    order = [measured for one in found for measured in one.own]
    times = {
        of.case_id: [2 ** (at / len(order)) for at, one in enumerate(order) if one == of]
        for of in (PLAIN, LAYER)
    }
    means = [math.fsum(map(math.log, own)) / len(own) for own in times.values()]
    assert means[1] - means[0] > math.log(1.3)


def test_the_shards_of_a_run_have_its_replicates_and_the_same_rounds() -> None:
    """Whatever the number of shards: the numbers are apart, and anchors stay in their round."""
    for count in (2, 3):
        numbers: dict[str, list[int]] = {}
        for index in range(1, count + 1):
            shard, seen = Shard(index, count), Seen()
            blocks = Blocks.of(ALL, shard)
            while one := blocks.next_round(seen, shard.share(3), joined=JOINED):
                assert one.replicate % count == index - 1
                assert {case.case_id for case in one.anchors} <= {
                    anchor.case_id for own in one.own for anchor in blocks.anchors[own.case_id]
                }
                seen.add((*one.own, *one.anchors, *one.later), one.replicate)
            for case_id, own in seen.numbers.items():
                numbers.setdefault(case_id, []).extend(own)
        for each in ALL:
            assert len(numbers[each.case_id]) == len(set(numbers[each.case_id])) >= 3


def test_an_interrupted_round_of_a_shard_keeps_its_number() -> None:
    shard, seen = Shard(2, 3), Seen()
    blocks = Blocks.of((PLAIN, TRAINING), shard)
    seen.add([PLAIN], 1)
    resumed = blocks.next_round(seen, 2, joined=JOINED, resumed=True)
    assert resumed is not None
    assert (resumed.replicate, resumed.own) == (1, (TRAINING,))
    other = blocks.next_round(seen, 2, joined=JOINED)
    assert other is not None
    assert other.replicate == 4
