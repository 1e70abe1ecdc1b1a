"""The sentences, tables and files of a search."""

import dataclasses
import json
import tomllib
from pathlib import Path

import pytest

from bench.tune import tune_result
from bench.tune.confirm import Confirmed, confirmed
from bench.tune.search import Refused
from bench.tune.static import Static
from bench.tune.tune_result import Candidate, TuneOutcome
from tests.support.cases import case

PLAIN = case(subject="net", batch=8)
AMP = dataclasses.replace(PLAIN, amp="bfloat16")
LAST = dataclasses.replace(PLAIN, memory_format="channels_last")
BIG = dataclasses.replace(PLAIN, compile="default")


def candidate(of: object, time_s: float, peak: float, error: float) -> Candidate:
    static = Static({"peak_bytes": peak, "relative_error": error})
    return Candidate(of, time_s, 4, static)  # type: ignore[arg-type]


def made(**changes: object) -> TuneOutcome:
    given = TuneOutcome(
        objective="latency",
        plain=PLAIN,
        winner=AMP,
        second=LAST,
        against_plain=Confirmed(2.0, 1.9, 2.1, 8),
        against_second=Confirmed(1.01, 0.98, 1.04, 8),
        candidates=(
            candidate(PLAIN, 10e-3, 2e6, 1e-7),
            candidate(AMP, 5e-3, 1e6, 4e-3),
            candidate(LAST, 5.1e-3, 2e6, 1e-7),
            candidate(BIG, 6e-3, 3e6, 5e-3),
        ),
        refused=(Refused(BIG, "oom: out of memory"),),
        rounds=4,
        complete=True,
        spent_s=60.0,
    )
    return dataclasses.replace(given, **changes)  # type: ignore[arg-type]


def test_the_answer_has_the_confirmed_speedup() -> None:
    first, second, *_ = tune_result.sentences(made())
    assert first == (
        "amp bfloat16 is the fastest of 4 settings for inference of net at N=8 on cpu: 2.00× "
        "(1.90–2.10) against plain in 8 fresh pairs."
    )
    assert second.startswith("channels_last cannot be told from it (1.01× (0.98–1.04))")


def test_a_speedup_that_pairs_do_not_confirm_is_not_claimed() -> None:
    first = tune_result.sentences(made(against_plain=Confirmed(1.02, 0.97, 1.07, 8)))[0]
    assert first.startswith("No setting is shown to be faster than plain")


def test_without_pairs_the_answer_says_so() -> None:
    first = tune_result.sentences(made(against_plain=None))[0]
    assert first.endswith("It was not confirmed: the budget ended before.")


def test_the_front_holds_what_nothing_beats() -> None:
    assert [one.case for one in made().front] == [AMP, LAST]  # LAST beats PLAIN; AMP beats BIG


def test_the_code_sets_what_won() -> None:
    assert 'torch.autocast("cpu", dtype=torch.bfloat16)' in tune_result.code(made())


def test_the_toml_measures_plain_and_the_winner_again() -> None:
    sweeps = tomllib.loads(tune_result.toml(made()))["sweep"]
    assert [one["amp"] for one in sweeps] == ["off", "bfloat16"]
    assert sweeps[1]["subject"] == "net"
    assert sweeps[1]["batch"] == 8


def test_the_files_have_the_sentences_and_the_reasons(tmp_path: Path) -> None:
    tune_result.write(tmp_path, made())
    stored = json.loads((tmp_path / "tune.json").read_text())
    assert stored["winner"]["amp"] == "bfloat16"
    assert stored["refused"][0]["reason"] == "oom: out of memory"
    assert "| compile default | oom: out of memory |" in (tmp_path / "tune.md").read_text()


def test_the_plot_is_written_where_errors_are_known(tmp_path: Path) -> None:
    assert tune_result.draw(made(), tmp_path) == tmp_path / "time-error.png"
    unknown = tuple(dataclasses.replace(one, static=None) for one in made().candidates)
    assert tune_result.draw(made(candidates=unknown), tmp_path / "none") is None


@pytest.mark.parametrize(
    ("values", "faster"),
    [([-0.7, -0.69, -0.71], True), ([-0.1, 0.2, -0.05], False), ([-0.7, -0.7], False)],
)
def test_a_confirmed_speedup_needs_an_interval_above_one(values: list[float], faster: bool) -> None:
    found = confirmed(values)
    assert found is not None
    assert found.faster is faster


def test_plain_is_not_called_the_fastest_where_faster_ones_were_not_checked() -> None:
    first = tune_result.sentences(made(winner=PLAIN, against_plain=None, unchecked=2))[0]
    assert first == (
        "No setting for inference of net at N=8 on cpu is known to be faster than plain: 2 "
        "settings that may be faster could not be checked before the search ended."
    )


def test_a_counted_objective_says_nothing_of_a_second_best_in_time() -> None:
    said = tune_result.sentences(made(objective="memory"))
    assert not any("cannot be told from it" in one for one in said)


def test_the_toml_keeps_the_weights() -> None:
    assert tomllib.loads(tune_result.toml(made(weights="/w.pt")))["run"]["weights"] == "/w.pt"
