"""Samples: percentiles only where n supports them, two groups only where there are two."""

import random

import numpy as np
import pytest

from bench.stats.percentiles import bimodal, percentile


@pytest.mark.parametrize(("p", "least"), [(90, 29), (95, 59), (99, 299)])
def test_a_percentile_needs_so_many_samples(p: int, least: int) -> None:
    assert percentile([1.0] * (least - 1), p) is None
    assert percentile([1.0] * least, p) == 1.0


def test_percentiles_agree_with_numpy() -> None:
    samples = [random.Random(1).lognormvariate(0, 1) for _ in range(301)]
    for p in (90, 95, 99):
        assert percentile(samples, p) == pytest.approx(np.percentile(samples, p), rel=1e-12)


@pytest.mark.parametrize("draw", ["normal", "heavy tails", "uniform"])
@pytest.mark.parametrize("n", [5, 7, 10, 20])
def test_unimodal_noise_is_flagged_in_at_most_two_of_a_hundred_draws(draw: str, n: int) -> None:
    rng = np.random.default_rng(7)
    draws = {
        "normal": lambda: rng.normal(0, 0.1, n),
        "heavy tails": lambda: 0.1 * rng.standard_t(3, n),
        "uniform": lambda: rng.uniform(0, 0.3, n),
    }
    # 1 in 100 is the design; 2 leaves room for the chance of 500 draws.
    assert sum(bimodal(list(np.exp(draws[draw]()))) for _ in range(500)) <= 10


def test_two_algorithms_are_seen_from_five_replicates_on() -> None:
    assert bimodal([1.00, 1.01, 1.005, 1.50, 1.51])
    assert not bimodal([1.00, 1.01, 1.50, 1.51])  # four cannot tell


def test_one_outlier_is_no_second_group() -> None:
    assert not bimodal([1.0, 1.01, 1.02, 1.01, 9.0])


def test_groups_nearer_than_five_percent_matter_to_nobody() -> None:
    assert not bimodal([1.0, 1.0, 1.0, 1.04, 1.04])
    assert bimodal([1.0, 1.0, 1.0, 1.06, 1.06])


def test_all_equal_replicates_are_one_group() -> None:
    assert not bimodal([1.0] * 8)
