"""The best setting, what it costs, when that has paid, and what is not sure enough to be best."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.core.records import Case, Entry, StaticMetrics
from bench.insights.collect import of_run
from bench.insights.insight import Insight
from bench.terminal.run_summary import TOLD
from tests.support.cases import case
from tests.support.results import replicates, run_of

PLAIN, LAST, COMPILED = case(), case(memory_format="channels_last"), case(compile="default")
SETTINGS = (LAST, case(amp="bfloat16"), COMPILED, case(threads="1"))


def told(tmp_path: Path, entries: Sequence[Entry], *kinds: str) -> list[Insight]:
    return [one for one in of_run(run_of(tmp_path / "run", entries)) if one.kind in kinds]


def gaining(one: Case, gains: Sequence[float], **metrics: float) -> list[Entry]:
    """Replicates that take the plain setting's 10 ms over each gain."""
    return replicates(one, [0.01 / gain for gain in gains], metrics=metrics)


def plain() -> list[Entry]:
    return gaining(PLAIN, [1.0] * 5)


# --- which is the best -----------------------------------------------------------------------

# 1.030 (1.009–1.052) at 95 %, and 1.030 (0.997–1.064) at 98.75 %.
SLIGHT = (1.03, 1.05, 1.01, 1.045, 1.016)


def test_the_winner_of_several_is_held_to_an_interval_for_all_of_them(tmp_path: Path) -> None:
    entries = plain() + gaining(LAST, SLIGHT)
    for other in SETTINGS[1:]:
        entries += gaining(other, [0.5] * 5)
    (best,) = told(tmp_path, entries, "best")
    assert best.text == (
        "No setting was found faster than plain for inference of convnet: 4 others were tested "
        "with 98.8 % intervals (95 % for all 4 together). Tested alone, channels_last at N=8 would "
        "be faster."
    )


def test_a_setting_without_others_is_held_to_its_own_interval(tmp_path: Path) -> None:
    (best,) = told(tmp_path, plain() + gaining(LAST, SLIGHT), "best")
    assert best.text == (
        "channels_last is the fastest setting for inference of convnet: 1.03× (1.01–1.05) at N=8."
    )


def test_how_the_winner_was_chosen_is_said(tmp_path: Path) -> None:
    entries = plain()
    for other, gain in zip(SETTINGS, (2.0, 0.5, 0.5, 0.5), strict=True):
        entries += gaining(other, [gain] * 5)
    (best,) = told(tmp_path, entries, "best")
    assert best.text.endswith(
        " The choice among 4 settings uses 98.8 % intervals (95 % for all 4 together). The best of "
        "several speedups is a little too high on average."
    )


def test_the_fastest_names_those_that_it_is_not_told_from(tmp_path: Path) -> None:
    """Against plain both are sure to be faster; which of them is faster is not."""
    entries = plain()
    entries += gaining(LAST, [1.50, 1.62, 1.45, 1.55, 1.60])
    entries += gaining(COMPILED, [1.45, 1.50, 1.52, 1.40, 1.58])
    entries += gaining(SETTINGS[3], [1.1] * 5)
    (best,) = told(tmp_path, entries, "best")
    assert best.text.startswith(
        "channels_last is the fastest setting for inference of convnet: 1.54× (1.46–1.63) at N=8. "
        "It is not clearly faster than compile default at N=8. "
    )


def test_the_best_settings_are_told_with_what_they_cost_on_the_terminal_too(
    tmp_path: Path,
) -> None:
    one, last = case(batch=1), case(batch=1, memory_format="channels_last")
    entries = [
        *plain(),
        *gaining(COMPILED, [2.0] * 5, compile_cold_s=10.0),
        *gaining(one, [1.0] * 5),
        *gaining(last, [2.0] * 5),
        StaticMetrics(case=PLAIN, metrics={"peak_bytes": 1_000_000, "relative_error": 1e-6}),
        StaticMetrics(case=COMPILED, metrics={"peak_bytes": 1_160_000, "relative_error": 1e-3}),
        StaticMetrics(case=one, metrics={"peak_bytes": 1_000_000}),
        StaticMetrics(case=last, metrics={"peak_bytes": 1_000_000}),
    ]
    (best,) = told(tmp_path, entries, "best")
    assert best.kind in TOLD
    assert (
        "compile default is the fastest setting for inference of convnet: 2.00× (2.00–2.00) at "
        "N=8. It needs up to 16 % more memory. Its relative error is up to 0.001, compared with "
        "float64. Compiling takes 10.0 s once (measured in one replicate); at N=8 this is paid "
        "back after 2,000 calls. The choice among 2" in best.text
    )
    assert "the same memory" not in best.text


@pytest.mark.parametrize(("at_1", "kind"), [(0.95, "mixed"), (3.0, "speedup"), (1.0, "speedup")])
def test_what_gains_at_one_batch_size_and_loses_at_another_is_neither_speedup_nor_slowdown(
    tmp_path: Path, at_1: float, kind: str
) -> None:
    entries = [
        *plain(),
        *gaining(LAST, [3.0] * 5),
        *gaining(case(batch=1), [1.0] * 5),
        *gaining(case(batch=1, memory_format="channels_last"), [at_1] * 5),
    ]
    (one,) = told(tmp_path, entries, "speedup", "slowdown", "mixed", "none")
    assert one.kind == kind


# --- what is spent once ----------------------------------------------------------------------


def tuned(tmp_path: Path, base: dict[str, Any], value: dict[str, Any]) -> str:
    """Of max-autotune, twice as fast as the default's 10 ms a call."""
    entries = gaining(COMPILED, [1.0] * 5, **base)
    entries += gaining(case(compile="max-autotune"), [2.0] * 5, **value)
    (gain,) = told(tmp_path, entries, "speedup")
    return gain.text


def test_what_the_base_spends_as_well_is_not_the_settings_cost(tmp_path: Path) -> None:
    text = tuned(tmp_path, {"compile_cold_s": 58.0}, {"compile_cold_s": 60.0})
    assert (
        "Compiling takes 2.00 s more than in the plain setting, once (measured in one replicate); "
        "at N=8 this is paid back after 400 calls." in text
    )


@pytest.mark.parametrize(
    ("base", "value"),
    [
        ({"compile_cold_s": 60.0}, {"compile_cold_s": 60.0}),
        ({"compile_cold_s": 61.0}, {"compile_cold_s": 60.0}),
        ({}, {"compile_cold_s": 60.0}),  # it did compile: how long is unknown
        ({"compile_cold_s": 60.0}, {}),
    ],
)
def test_what_costs_no_more_than_the_base_or_nobody_knows_has_nothing_to_pay_back(
    tmp_path: Path, base: dict[str, Any], value: dict[str, Any]
) -> None:
    assert "once" not in tuned(tmp_path, base, value)


def compiled(tmp_path: Path, gains: Sequence[float], cold_s: float = 10.0) -> str:
    entries = plain() + gaining(COMPILED, gains, compile_cold_s=cold_s)
    (gain,) = told(tmp_path, entries, "speedup")
    return gain.text


def test_the_calls_until_something_has_paid_have_the_ends_of_the_gains_interval(
    tmp_path: Path,
) -> None:
    text = compiled(tmp_path, (1.1, 1.2, 1.3, 1.2, 1.2))
    assert "1.20× (1.11–1.29) at N=8" in text
    assert "paid back after 6,040 calls (4,450–9,810)." in text


def test_what_pays_back_after_more_calls_than_anyone_makes_never_does(tmp_path: Path) -> None:
    text = compiled(tmp_path, (1.00001, 1.000011, 1.000009, 1.00001, 1.00001), 600.0)
    assert "at N=8 this is practically never paid back." in text


def test_a_gain_that_may_be_next_to_none_may_never_pay_back(tmp_path: Path) -> None:
    text = compiled(tmp_path, (1.0, 1.0004, 1.0002, 1.0002, 1.000204), 1_000.0)
    assert "paid back after" in text
    assert " to practically never)." in text


def test_a_search_that_every_replicate_does_is_not_said_to_be_seen_once(tmp_path: Path) -> None:
    entries = plain() + gaining(LAST, [2.0] * 5, tuning_s=1.0)
    (gain,) = told(tmp_path, entries, "speedup")
    assert (
        "The search of cuDNN takes 1.00 s once; at N=8 this is paid back after 200 calls."
        in gain.text
    )


# --- what plain has already ------------------------------------------------------------------


def on_gpu(tf32: str) -> Case:
    return case(device="cuda:0", cudnn_benchmark="off", tf32=tf32, threads=None, allocator=None)


@pytest.mark.parametrize(("setting", "gain"), [("on", 1.5), ("off", 0.5)])
def test_a_sentence_about_tf32_says_what_the_default_has_of_it(
    tmp_path: Path, setting: str, gain: float
) -> None:
    entries = gaining(on_gpu("default"), [1.0] * 5) + gaining(on_gpu(setting), [gain] * 5)
    (text,) = [one.text for one in told(tmp_path, entries, "speedup", "slowdown")]
    assert text.startswith("TF32 is faster" if setting == "on" else "TF32 off is slower")
    assert text.endswith(
        " Plain is torch's default: TF32 in convolutions, and not in matrix products."
    )


def test_results_from_before_the_default_are_relative_to_tf32_off(tmp_path: Path) -> None:
    entries = gaining(on_gpu("off"), [1.0] * 5) + gaining(on_gpu("on"), [1.5] * 5)
    (text,) = [one.text for one in told(tmp_path, entries, "speedup")]
    assert text.startswith("TF32 is faster than plain")
    assert "default" not in text


def test_a_sentence_about_another_setting_does_not_explain_tf32(tmp_path: Path) -> None:
    other = replace(on_gpu("default"), memory_format="channels_last")
    entries = gaining(on_gpu("default"), [1.0] * 5) + gaining(other, [1.5] * 5)
    assert all("TF32" not in one.text for one in told(tmp_path, entries, "speedup", "best"))
