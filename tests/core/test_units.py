import math

import pytest

from bench.core import units


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (math.nan, "–"),
        (0.0, "0 s"),
        (1.5, "1.50 s"),
        (0.9999, "1.00 s"),
        (0.01234, "12.3 ms"),
        (0.09996, "100 ms"),
        (7.34e-6, "7.34 µs"),
        (4e-10, "0.40 ns"),
    ],
)
def test_seconds_are_scaled_to_three_digits(value: float | None, text: str) -> None:
    assert units.seconds(value) == text


def test_counts_and_bytes_are_decimal() -> None:
    assert units.count(4_712_484_864, "FLOP") == "4.71 GFLOP"
    assert units.count(999.99) == "1.00 k"
    assert units.bytes_(48_140_000) == "48.1 MB"
    assert units.bytes_(None) == "–"
    assert units.count(0.5) == "0.50"
    assert units.count(0.00333, "/s") == "0.0033 /s"
    assert units.count(0.0) == "0.00"


def test_gains_keep_two_digits_however_small() -> None:
    assert units.speedup(1.468) == "1.47×"
    assert units.speedup(0.0432) == "0.043×"
    assert units.speedup(0.09) == "0.090×"
    assert units.speedup(0.0999) == "0.10×"
    assert units.speedup(None) == "–"


def test_shares_and_waits() -> None:
    assert units.percent(0.0834) == "8.3 %"
    assert units.percent(755347963.89) == "> 1000 %"
    assert units.duration(75) == "1:15"
    assert units.duration(4000) == "1:06:40"
    assert units.duration(-3) == "0:00"


def test_half_an_interval_of_a_hundred_percent_is_too_wide_to_be_a_figure() -> None:
    assert units.half_width(0.031) == "3.1 %"
    assert units.half_width(0.999) == "99.9 %"
    assert [units.half_width(one) for one in (1.0, 3.77, 4e9, math.inf)] == ["too wide"] * 4
    assert units.half_width(None) == units.half_width(math.nan) == "–"


def test_a_speedup_whose_interval_says_nothing_is_told_in_words() -> None:
    assert units.speedup_with_interval(1.4, 1.24, 1.58, 5) == "1.40× (1.24–1.58)"
    assert units.speedup_with_interval(1.2, 0.3, 4.8, 5) == "1.20× (too wide)"
    assert units.speedup_with_interval(1.2, 0.0, math.inf, 5) == "1.20× (too wide)"
    # It is wide, and yet it says that the setting is faster.
    assert units.speedup_with_interval(8.0, 3.0, 21.0, 5) == "8.00× (3.00–21)"
