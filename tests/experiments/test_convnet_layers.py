"""The answers to the claims about the layers follow from figures, and change with them."""

from pathlib import Path

import pytest
import torch

from bench.core.records import Entry, StaticMetrics
from experiments import convnet_layers as claims
from tests.support.cases import case
from tests.support.results import replicates, run_of

STEADY = (1.00, 1.01, 0.99, 1.005, 0.995)


def timed(
    tmp_path: Path, *, last_s: float = 2e-4, relu_s: float = 0.001, bare_bytes: int = 9_000_000
) -> dict[str, object]:
    """The answers from a run whose bn1 takes 100 µs an image, but `last_s` at N=64."""
    found: list[Entry] = []
    for batch in claims.BATCHES:
        one = case(subject="convnet/bn1", mode="training", batch=batch)
        image_s = {8: 0.99e-4, 64: last_s}.get(batch, 1e-4)
        # N=64 with noise of its own: the same noise in both would cancel.
        noise = STEADY[::-1] if batch == 64 else STEADY
        found += replicates(one, [batch * image_s * by for by in noise])
    for subject, peak in (("convnet", 4_000_000), (claims.BARE, bare_bytes)):
        for mode in ("inference", "training"):
            one = case(subject=subject, mode=mode, batch=32)
            found += [
                *replicates(one, [0.01]),
                StaticMetrics(case=one, metrics={"peak_bytes": peak}),
            ]
    for subject, time_s in (("torch.nn:ReLU", relu_s), ("torch.nn:Sigmoid", 0.004)):
        for batch in (8, 32):
            one = case(subject=subject, batch=batch)
            found += replicates(one, [batch * time_s * by for by in STEADY])
    data = run_of(
        tmp_path / "run",
        found,
        machine={"cpu_model": "A CPU", "cores": 2},
        environment={"torch": "2.13.0"},
    )
    return claims.timed(data)


def test_the_largest_batch_is_compared_with_the_best(tmp_path: Path) -> None:
    found = timed(tmp_path)
    assert found["large_batch"] == "true here"
    assert found["images"] == (
        "100 µs an image at N=1, 99.0 µs an image at N=8, 200 µs an image at N=64"
    )
    assert found["longer"] == "2.02× (2.00–2.04)"  # of one comparison: 2.01–2.03


def test_the_best_of_many_is_not_better_by_chance_alone(tmp_path: Path) -> None:
    """0.8 % more: beyond the interval of one comparison (± 0.6 %), within that of six."""
    assert timed(tmp_path, last_s=0.998e-4)["large_batch"] == "no difference found"


@pytest.mark.parametrize(
    ("relu_s", "answer"),
    [(0.001, "true"), (0.004, "no difference found at every batch size")],
)
def test_relu_is_cheap_where_the_interval_says_so(
    tmp_path: Path, relu_s: float, answer: str
) -> None:
    assert timed(tmp_path, relu_s=relu_s)["relu"] == answer


@pytest.mark.parametrize(("bytes_", "answer"), [(9_000_000, "true"), (3_000_000, "not found")])
def test_pooling_saves_memory_where_the_peaks_say_so(
    tmp_path: Path, bytes_: int, answer: str
) -> None:
    assert timed(tmp_path, bare_bytes=bytes_)["pooling"] == answer


@pytest.mark.slow
def test_the_page_has_a_line_a_claim(tmp_path: Path) -> None:
    found = claims.seen()
    page = claims.TEMPLATE.read_text(encoding="utf-8").format(**found, **timed(tmp_path))
    assert page.count("\n| ") == 12  # the head and eleven claims
    assert page.count("**true") == 11
    assert found["gradients"] == "0, 1"
    assert found["killed"] == 0
    assert found["view_channels_last"].startswith("view size is not compatible")
    assert found["flat_channels_last"] == (32, 1600)


def test_the_whole_population_deviates_by_nothing() -> None:
    maps = torch.ones(4, 2, 3, 3) + torch.arange(3.0)  # every image the same
    assert claims.mean_off(maps, 4) == pytest.approx(0.0, abs=1e-6)


def test_without_its_poolings_the_network_gives_the_same_classes() -> None:
    assert claims.without_pooling()(torch.zeros(2, 3, 224, 224)).shape == (2, 7)
