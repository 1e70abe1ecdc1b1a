"""The result of a search, checked later: what is said and whether it holds."""

import pytest

from bench.tune.confirm import Confirmed
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
