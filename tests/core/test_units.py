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
