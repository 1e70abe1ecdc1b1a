"""The result of a search, checked later: what is said and whether it holds."""

import pytest

from bench.tune.confirm import Confirmed
from bench.tune.objectives import Objective
from bench.tune.static import Static
from bench.tune.verified import Verified, of_stored, sentences

RIGHT = Static({"relative_error": 1e-6})
FASTER = Confirmed(1.5, 1.4, 1.6, 5)
THEN = Confirmed(1.55, 1.5, 1.6, 6)


def verified(
    again: Confirmed | None = FASTER,
    promised: Confirmed | None = THEN,
    static: Static = RIGHT,
    changed: tuple[str, ...] = (),
) -> Verified:
    return Verified(
        name="channels_last", static=static, again=again, promised=promised, changed=changed
    )


def test_a_speedup_that_agrees_with_the_search_holds() -> None:
    found = verified()
    assert found.holds
    assert sentences(found) == [
        "channels_last is faster here: 1.50× (1.40–1.60) against plain in 5 fresh pairs.",
        "The search had found 1.55× (1.50–1.60), which agrees.",
        "Its error against float64 is 1.0e-06.",
    ]


@pytest.mark.parametrize(
    ("promised", "word"),
    [(Confirmed(2.0, 1.9, 2.1, 6), "less"), (Confirmed(1.2, 1.1, 1.3, 6), "more")],
)
def test_a_speedup_of_another_size_is_told(promised: Confirmed, word: str) -> None:
    assert sentences(verified(promised=promised))[1].startswith(
        f"It is {word} than the search had found: "
    )


def test_a_setting_that_is_not_faster_here_does_not_hold() -> None:
    found = verified(again=Confirmed(1.01, 0.97, 1.05, 8), changed=("another machine",))
    assert not found.holds
    said = sentences(found)
    assert said[0].startswith("channels_last is not shown to be faster here: 1.01×")
    assert said[-1] == "Since the search there is another machine."


def test_a_setting_that_is_wrong_here_does_not_hold_however_fast_it_is() -> None:
    found = verified(static=Static({}, wrong="output differs"))
    assert not found.holds
    assert sentences(found)[0] == "channels_last is wrong here: output differs."


def test_a_setting_that_cannot_be_measured_does_not_hold() -> None:
    found = verified(again=None)
    assert not found.holds
    assert sentences(found)[0] == "channels_last could not be measured against plain."


def test_the_speedup_of_a_search_is_read_from_its_file() -> None:
    assert of_stored(None) is None
    assert of_stored({"ratio": 1.55, "low": 1.5, "high": 1.6, "pairs": 6}) == THEN


def counted(
    objective: Objective, own: float | None, plain: float | None, wrong: str | None = None
) -> Verified:
    """A setting of a search for less memory or energy.  own, plain: the figures."""
    column = {"memory": "peak_bytes", "energy": "energy_j_per_image"}[objective]
    static, of_plain = (
        Static({} if one is None else {column: one}, wrong=why)
        for one, why in ((own, wrong), (plain, None))
    )
    return Verified(
        name="channels_last",
        static=static,
        again=None,
        promised=None,
        objective=objective,
        plain=of_plain,
    )


@pytest.mark.parametrize(
    ("objective", "own", "plain", "said"),
    [
        ("memory", 12e6, 15e6, "less memory here: 12.0 MB against 15.0 MB of plain."),
        ("energy", 0.012, 0.015, "less energy here: 0.012 J an image against 0.015 J an image of"),
    ],
)
def test_a_setting_that_needs_less_of_what_was_searched_for_holds_without_a_pair(
    objective: Objective, own: float, plain: float, said: str
) -> None:
    found = counted(objective, own, plain)
    assert found.is_compared
    assert found.holds
    assert sentences(found)[0].startswith(f"channels_last needs {said}")


def test_a_setting_that_needs_no_less_than_plain_does_not_hold() -> None:
    found = counted("memory", 15e6, 15e6)
    assert found.is_compared
    assert not found.holds
    (sentence,) = sentences(found)
    assert sentence == (
        "channels_last does not need less memory here: 15.0 MB against 15.0 MB of plain. "
        "Search again."
    )
    assert not counted("memory", 12e6, 15e6, wrong="output differs").holds


@pytest.mark.parametrize(("own", "plain"), [(None, 15e6), (12e6, None)])
def test_a_figure_that_is_unknown_is_not_compared(own: float | None, plain: float | None) -> None:
    found = counted("memory", own, plain)
    assert not found.is_compared
    assert not found.holds
    assert sentences(found) == [
        "channels_last could not be compared with plain: the memory of one of them is unknown."
    ]
