"""The answers to what is claimed of the layers follow from figures, and change with them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.core.records import Entry, Facts
from benchmarks import claims
from benchmarks.claims_seen import Seen, deviation, look, shapes
from benchmarks.subjects import without_pooling
from convnet.network import ConvNet
from tests.support.cases import case
from tests.support.figures import legends
from tests.support.results import replicates, run_of

SEEN = Seen(
    mean=1e-7,
    variance=0.99999,
    deviation={1: 0.8, 64: 0.1},
    gradients=(0.0, 1.0),
    killed=0.0,
    alive=0.5,
    dead=0.25,
    pooled=((5.0, 7.0), (13.0, 15.0)),
    shapes=claims.SHAPES,
    views={"contiguous": (32, 1600), "channels_last": "it does not fit"},
    flattened={"contiguous": (32, 1600), "channels_last": (32, 1600)},
)
STEADY = (1.00, 1.01, 0.99, 1.005, 0.995)


def entries(relu_s: float = 0.001, bare_bytes: int = 9_000_000) -> list[Entry]:
    found: list[Entry] = []
    for mode in ("inference", "training"):
        for batch, per_image_s in ((1, 3e-4), (8, 1e-4), (64, 2e-4)):
            one = case(subject="convnet/bn1", mode=mode, batch=batch)
            found += replicates(one, [batch * per_image_s * noise for noise in STEADY])
        for subject, peak in ((claims.POOLED, 4_000_000), (claims.BARE, bare_bytes)):
            for batch in (8, 32):
                one = case(subject=subject, mode=mode, batch=batch)
                found += [*replicates(one, [0.01]), Facts(case=one, facts={"peak_bytes": peak})]
    for subject, time_s in (("torch.nn:ReLU", relu_s), ("torch.nn:Sigmoid", 0.004)):
        for batch in (8, 32):
            one = case(subject=subject, batch=batch)
            found += replicates(one, [batch * time_s * noise for noise in STEADY])
    return found


def run(tmp_path: Path, *given: Entry) -> claims.Run:
    return claims.Run.of(run_of(tmp_path / "run", list(given or entries())))


def test_times_an_image_by_batch_size_are_compared_with_the_best(tmp_path: Path) -> None:
    answer = claims.batchnorm_large(run(tmp_path))
    assert answer.verdict == "true here"
    assert "100 µs at N=8 and 200 µs at N=64: 2.00× (2.00–2.00) as long as at N=8" in answer.figures


def test_the_best_of_many_is_not_better_by_chance_alone(tmp_path: Path) -> None:
    """2.5 % more: beyond the interval of one comparison, within that of the best of five."""
    noisy = (1.00, 1.01, 0.99, 1.02, 0.97)
    given = [one for one in entries() if one.case.subject != "convnet/bn1"]
    for batch, per_image_s in [
        (1, 1.025e-4),
        (2, 1.025e-4),
        (4, 1.025e-4),
        (8, 1e-4),
        (16, 1.025e-4),
    ]:
        one = case(subject="convnet/bn1", mode="training", batch=batch)
        spread = STEADY if batch == 16 else noisy
        given += replicates(one, [batch * per_image_s * noise for noise in spread])
    data = run(tmp_path, *given)
    best, last = data.row("convnet/bn1", "training", 8), data.row("convnet/bn1", "training", 16)
    assert (data.ratio(last, best).low or 0.0) > 2 > (data.ratio(last, best, of=4).low or 0.0)
    assert claims.batchnorm_large(data).verdict == "no difference found"


def test_a_run_of_something_else_is_one_line(tmp_path: Path) -> None:
    foreign = run(tmp_path, *replicates(case(), [0.01] * 3))
    for answer in (claims.batchnorm_large, claims.relu_cheap, claims.pooling_memory):
        with pytest.raises(SystemExit, match=r"run: has no .* that is ok; give a finished run"):
            answer(foreign)


@pytest.mark.parametrize(
    ("relu_s", "verdict"),
    [(0.001, "true"), (0.004, "no difference found at every batch size"), (0.008, "no difference")],
)
def test_relu_is_cheap_where_the_interval_says_so(
    tmp_path: Path, relu_s: float, verdict: str
) -> None:
    answer = claims.relu_cheap(run(tmp_path, *entries(relu_s=relu_s)))
    assert answer.verdict.startswith(verdict)


@pytest.mark.parametrize(("bytes_", "verdict"), [(9_000_000, "true"), (3_000_000, "not found")])
def test_pooling_saves_memory_where_the_peaks_say_so(
    tmp_path: Path, bytes_: int, verdict: str
) -> None:
    assert claims.pooling_memory(run(tmp_path, *entries(bare_bytes=bytes_))).verdict == verdict


def test_what_was_seen_decides_the_rest() -> None:
    assert claims.batchnorm_normalises(SEEN).verdict == "true, in training mode"
    assert claims.batchnorm_normalises(replace(SEEN, mean=0.3)).verdict == "not found"
    assert claims.batchnorm_small(SEEN).verdict == "true"
    assert "to the power -0.50" in claims.batchnorm_small(SEEN).figures
    assert claims.batchnorm_small(replace(SEEN, deviation={1: 0.1, 64: 0.1})).verdict == "not found"
    assert claims.relu_gradient(replace(SEEN, gradients=(0.0, 0.5))).verdict == "not found"
    assert claims.relu_dead(SEEN).verdict == "true"
    assert claims.relu_dead(replace(SEEN, killed=1e-9)).verdict == "not found"
    assert claims.relu_dead(replace(SEEN, alive=0.0)).verdict == "not found"
    assert "25.0 % of relu1's units get no gradient" in claims.relu_dead(SEEN).figures
    assert "5, 7, 13, 15: 12 of 16 are lost" in claims.pooling_by_hand(SEEN).figures


@pytest.mark.parametrize(
    ("channels_last", "verdict"),
    [
        ("it does not fit", "true for contiguous alone"),
        ((32, 1600), "true"),
        ((1600, 32), "true for contiguous alone"),
    ],
)
def test_view_is_judged_on_each_memory_format(
    channels_last: tuple[int, ...] | str, verdict: str
) -> None:
    views = {"contiguous": (32, 1600), "channels_last": channels_last}
    assert claims.view(replace(SEEN, views=views)).verdict == verdict


def test_view_says_what_torch_has_against_it_and_what_the_network_calls() -> None:
    assert claims.view(SEEN).figures == (
        "`x.view(x.size(0), -1)` of (32, 64, 5, 5): contiguous gives (32, 1600); channels_last "
        "raises it does not fit. The network calls `torch.flatten(x, 1)`: contiguous (32, 1600), "
        "channels_last (32, 1600)"
    )


@pytest.mark.parametrize("stage", claims.SHAPES)
def test_one_stage_of_another_shape_is_found(stage: str) -> None:
    seen = replace(SEEN, shapes={**claims.SHAPES, stage: (1, 2)})
    found = claims.shapes(seen, "forward", "all", tuple(claims.SHAPES))
    assert (found.verdict, found.figures.count("→")) == ("not found", 9)


def test_the_key_of_the_memory_plot_lies_on_no_bar(tmp_path: Path) -> None:
    figure = claims.figures(run(tmp_path), SEEN)["convnet-memory"]
    figure.draw_without_rendering()
    (axes,), (key,) = figure.axes, legends(figure)
    assert axes.get_legend() is None
    assert [one.get_text() for one in key.get_texts()] == ["with pooling", "without"]
    left = key.get_window_extent().x0
    assert left > max(one.get_window_extent().x1 for one in (*axes.patches, *axes.texts))


def test_the_page_has_a_line_a_claim_and_both_plots(tmp_path: Path) -> None:
    data = run(tmp_path)
    text = claims.text(data, SEEN)
    assert text.count("\n| ") == 12  # the head and eleven claims
    assert set(claims.figures(data, SEEN)) == {"convnet-batchnorm", "convnet-memory"}


@pytest.mark.slow
def test_a_look_at_the_numbers_finds_what_torch_computes() -> None:
    seen = look()
    assert seen.gradients == (0.0, 1.0)
    assert seen.pooled == ((5.0, 7.0), (13.0, 15.0))
    assert seen.mean < 1e-4
    assert seen.variance == pytest.approx(1.0, abs=1e-3)
    assert seen.deviation[1] > 4 * seen.deviation[64]
    assert (seen.killed, seen.alive > 0) == (0.0, True)
    assert seen.shapes == claims.SHAPES
    assert seen.views["contiguous"] == (32, 1600)
    assert str(seen.views["channels_last"]).startswith("view size is not compatible")
    assert seen.flattened == {"contiguous": (32, 1600), "channels_last": (32, 1600)}


def test_the_shapes_of_all_stages_are_those_of_the_table() -> None:
    found = shapes(ConvNet(10).eval())
    assert found == claims.SHAPES
    assert list(found)[-2:] == ["flatten", "fc"]


def test_the_whole_population_deviates_by_nothing() -> None:
    maps = torch.ones(4, 2, 3, 3) + torch.arange(3.0)  # every image the same
    assert deviation(maps, 4) == pytest.approx(0.0, abs=1e-6)


def test_without_its_poolings_the_network_gives_the_same_classes() -> None:
    assert without_pooling()(torch.zeros(2, 3, 224, 224)).shape == (2, 7)
