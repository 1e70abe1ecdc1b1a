"""The words of a finding."""

import pytest

from bench.compare.groups import Span
from bench.insights.insight import factor


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (Span(1.4, 1.24, 1.58), "1.40× (1.24–1.58)"),
        (Span(0.0467, 0.04, 0.05), "0.0467× (0.04–0.05)"),
        (Span(1234.6, 980.0, 1500.4), "1235× (980–1500)"),
        (Span(1234.6), "1235× (no interval)"),
    ],
)
def test_a_ratio_has_few_digits_and_no_exponent(span: Span, text: str) -> None:
    assert factor(span) == text
