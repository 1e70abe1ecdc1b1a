"""The parts of the time of a run."""

import pytest

from bench.results import run_json, time_spent

SPENT = {
    "imports_s": 9.0,
    "building_s": 18.0,
    "one_off_s": 9.0,
    "warmup_s": 18.0,
    "samples_s": 36.0,
    "waiting_s": 0.01,
}


def test_the_parts_stand_in_their_order_with_their_shares() -> None:
    assert time_spent.line(run_json.of({"spent": SPENT})) == (
        "1:30 (min:s): imports 10 %, building 20 %, one-off work 10 %, warm-up 20 %, samples 40 %"
    )
    found = time_spent.parts(run_json.of({"spent": SPENT}))
    assert (found[3].name, found[3].shown) == ("warm-up", "18.0 s")
    assert found[3].percent == pytest.approx(20.0, abs=0.01)


@pytest.mark.parametrize("spent", [None, {}, [1], "9 s", {"imports_s": -1.0}, {"imports_s": "9"}])
def test_a_run_that_does_not_say_it_has_no_line(spent: object) -> None:
    assert time_spent.line(run_json.of({"spent": spent})) is None
    assert time_spent.line(run_json.of({})) is None
