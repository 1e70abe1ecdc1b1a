"""The sentences of a run: what each kind says, and what it does not dare to say."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.core.records import FLAGS, Case, Entry, Failure, Measurement, Samples, StaticMetrics
from bench.insights.collect import DOUBTS, of_run
from bench.insights.insight import Insight
from bench.results.loading import load
from tests.support import synthetic
from tests.support.cases import case
from tests.support.results import replicates, run_of

STEADY = (1.00, 1.01, 0.99, 1.005, 0.995)
LAST = case(memory_format="channels_last")


def times(scale: float, noise: Sequence[float] = STEADY) -> list[float]:
    return [0.01 * scale * one for one in noise]


def told(tmp_path: Path, *entries: Entry, kind: str, **run: Any) -> list[Insight]:
    found = of_run(run_of(tmp_path / "run", entries, **run))
    return [one for one in found if one.kind == kind]


def static(one: Case, **values: float) -> StaticMetrics:
    return StaticMetrics(case=one, metrics=values)


# --- settings --------------------------------------------------------------------------------


def test_a_setting_that_gains_says_how_much_what_it_costs_and_on_what_that_rests(
    tmp_path: Path,
) -> None:
    (gain,) = told(
        tmp_path,
        *replicates(case(), times(1.0)),
        *replicates(LAST, times(0.5)),
        static(case(), peak_bytes=1_000_000),
        static(LAST, peak_bytes=1_200_000),
        kind="speedup",
    )
    assert gain.text == (
        "channels_last is faster than plain for inference of convnet: 2.00× (2.00–2.00) at N=8. "
        "It needs up to 20 % more memory."
    )
    assert gain.evidence == "N=8: 10.0 ms → 5.00 ms, 5 replicates, paired, unverified"
    assert gain.case_ids == (case().case_id, LAST.case_id)


def test_what_is_paid_once_is_told_with_the_calls_after_which_it_has_paid(tmp_path: Path) -> None:
    compiled = case(compile="default")
    (gain,) = told(
        tmp_path,
        *replicates(case(), times(1.0, [1.0] * 5)),
        *replicates(compiled, times(0.5, [1.0] * 5), metrics={"compile_cold_s": 10.0}),
        kind="speedup",
    )
    assert (
        "Compiling takes 10.0 s once (measured in one replicate); at N=8 this is paid back after "
        "2,000 calls." in gain.text
    )


def test_an_interval_that_holds_1_is_no_difference_found(tmp_path: Path) -> None:
    entries = [
        *replicates(case(), times(1.0, (1.0, 1.2, 0.9, 1.1, 0.8))),
        *replicates(LAST, times(1.0, (1.1, 0.9, 1.2, 0.8, 1.0))),
    ]
    found = of_run(run_of(tmp_path / "run", entries))
    best, gain = (one for one in found if one.kind in ("best", "none"))
    assert best.text == (
        "No setting was found faster than plain for inference of convnet: 1 other was tested."
    )
    assert gain.text.startswith(
        "No difference was found between channels_last and plain for inference of convnet at N=8 ("
    )


def test_a_setting_that_loses_says_how_many_times_as_long_it_takes(tmp_path: Path) -> None:
    slow = case(amp="bfloat16")
    entries = [*replicates(case(), times(1.0)), *replicates(slow, times(11.0))]
    (slowdown,) = told(tmp_path, *entries, kind="slowdown")
    assert slowdown.text == (
        "amp bfloat16 is slower than plain for inference of convnet: it takes 11× (11–11) as "
        "long at N=8."
    )


def test_nothing_is_paid_back_where_nothing_was_found_to_be_gained(tmp_path: Path) -> None:
    compiled = case(compile="default", batch=32)
    noise = ((1.0, 1.2, 0.9, 1.1, 0.8), (1.1, 0.9, 1.2, 0.7, 0.9))
    entries = [
        *replicates(case(), times(1.0)),
        *replicates(case(compile="default"), times(0.5), metrics={"compile_cold_s": 10.0}),
        *replicates(case(batch=32), times(1.0, noise[0])),
        *replicates(compiled, times(0.99, noise[1]), metrics={"compile_cold_s": 10.0}),
    ]
    (gain,) = told(tmp_path, *entries, kind="speedup")
    assert "No difference was found at N=32 (" in gain.text
    assert gain.text.count("paid back") == 1
    assert "at N=8 this is paid back after 2,000 calls" in gain.text


def test_of_single_replicates_no_setting_is_called_the_fastest(tmp_path: Path) -> None:
    entries = [*replicates(case(), [0.03]), *replicates(LAST, [0.01])]
    (best,) = told(tmp_path, *entries, kind="best")
    assert best.text == (
        "The fastest setting for inference of convnet is unknown: there are too few replicates."
    )


def test_of_one_replicate_a_ratio_is_said_and_that_nothing_was_tested(tmp_path: Path) -> None:
    entries = [*replicates(case(), [0.01]), *replicates(LAST, [0.005])]
    texts = [one.text for one in told(tmp_path, *entries, kind="none")]
    assert texts[0] == (
        "The difference between channels_last and plain for inference of convnet is uncertain: a "
        "speedup of 2.00× (no interval) at N=8, from too few replicates."
    )
    assert len(texts) == 1


def test_an_error_of_another_kind_than_the_plain_settings_is_a_price(tmp_path: Path) -> None:
    (gain,) = told(
        tmp_path,
        *replicates(case(), times(1.0)),
        *replicates(case(amp="bfloat16"), times(0.5)),
        static(case(), relative_error=1e-6),
        static(case(amp="bfloat16"), relative_error=5e-3),
        kind="speedup",
    )
    assert "Its relative error is up to 0.005, compared with float64." in gain.text


def test_what_is_faster_than_possible_supports_nothing(tmp_path: Path) -> None:
    machine = {
        "machine_id": "m1",
        "peaks": {
            "cpu": [
                {
                    "threads": "auto",
                    "disturbed": False,
                    "arithmetic": {"float32": [{"what": "a", "amount": 1, "per_s": 1e9}]},
                    "traffic": [{"what": "copy", "amount": 1e9, "per_s": 1e9}],
                }
            ]
        },
    }
    impossible = replicates(LAST, times(0.5))
    entries = [
        *replicates(case(), times(1.0)),
        *impossible,
        static(LAST, flops=10_000_000),  # 2 GFLOP/s, at most 1
    ]
    assert not told(tmp_path, *entries, kind="speedup", machine=machine)


def test_the_best_setting_of_each_batch_size_is_named_and_how_many_it_was_chosen_from(
    tmp_path: Path,
) -> None:
    run_of(tmp_path / "run", synthetic.entries())
    (best, other) = (one for one in of_run(load(tmp_path / "run")) if one.kind == "best")
    assert best.text.startswith(
        "compile default is the fastest setting for inference of convnet: 1.39× (1.30–1.49) at N=1"
    )
    assert "The choice among 3 settings uses 98.3 % intervals" in best.text
    assert "training" in other.text


# --- batch sizes and devices -----------------------------------------------------------------


def test_a_batch_beyond_which_little_is_gained_is_named(tmp_path: Path) -> None:
    entries: list[Entry] = []
    for batch, time_s in ((1, 0.01), (8, 0.02), (32, 0.0798)):
        one = case(batch=batch)
        entries += replicates(one, [time_s] * 5)
        entries.append(static(one, peak_bytes=1_000_000 * (batch + 1)))
    (batch_,) = told(tmp_path, *entries, kind="batch")
    assert batch_.text == (
        "A batch of 8 is enough for inference of convnet: it reaches 400 images/s, 100 % (100–100) "
        "of the 401 images/s at N=32. Each further image needs 1.00 MB."
    )


def batches(first: Sequence[float], second: Sequence[float], third_s: float) -> list[Entry]:
    """Replicates at N=1, 8 and 32."""
    return [
        *replicates(case(batch=1), first),
        *replicates(case(batch=8), second),
        *replicates(case(batch=32), [third_s] * len(first)),
    ]


def test_a_batch_that_is_not_sure_to_be_enough_is_not_said_to_be(tmp_path: Path) -> None:
    noisy = [0.02 * one for one in (1.0, 1.1, 0.95, 1.05, 0.9)]
    (batch_,) = told(tmp_path, *batches([0.01] * 5, noisy, 0.08), kind="batch")
    assert batch_.text == (
        "A batch of 8 may be enough for inference of convnet: it reaches 401 images/s, 100 % "
        "(91–111) of the 400 images/s at N=32. The true share may be below 95 %."
    )


def test_of_one_replicate_no_batch_is_surely_enough(tmp_path: Path) -> None:
    (batch_,) = told(tmp_path, *batches([0.01], [0.02], 0.0816), kind="batch")
    assert batch_.text == (
        "A batch of 8 may be enough for inference of convnet: it reaches 400 images/s, 102 % of "
        "the 392 images/s at N=32. The share is uncertain: there are too few replicates."
    )


def test_a_batch_with_the_most_throughput_is_held_against_the_largest(tmp_path: Path) -> None:
    (batch_,) = told(tmp_path, *batches([0.01] * 5, [0.02] * 5, 0.1), kind="batch")
    assert batch_.text == (
        "A batch of 8 is enough for inference of convnet: it reaches 400 images/s, 125 % (125–125) "
        "of the 320 images/s at N=32."
    )


def test_throughput_that_still_grows_asks_for_larger_batches(tmp_path: Path) -> None:
    entries = [
        entry
        for batch, time_s in ((1, 0.01), (8, 0.02))
        for entry in replicates(case(batch=batch), [time_s] * 5)
    ]
    (batch_,) = told(tmp_path, *entries, kind="batch")
    assert batch_.text == (
        "The throughput of inference of convnet still grows at N=8, the largest batch measured: it "
        "is 400 images/s, 4.00× (4.00–4.00) as much as at N=1. Try larger batches."
    )


def test_throughput_that_noise_hides_is_no_difference_found(tmp_path: Path) -> None:
    entries = [
        *replicates(case(batch=8), times(1.0, (1.4, 0.7, 1.3, 0.6, 1.0))),
        *replicates(case(batch=32), times(3.6, (0.6, 1.3, 0.7, 1.4, 1.0))),
    ]
    (batch_,) = told(tmp_path, *entries, kind="batch")
    assert batch_.text.startswith(
        "No difference in throughput was found for inference of convnet between N=8 and N=32, the "
        "largest batch measured: "
    )


def on(device: str, scale: float, **settings: Any) -> list[Entry]:
    own = {} if device == "cpu" else {"threads": None, "allocator": None}
    return replicates(case(device=device, **own, **settings), times(scale))


def test_devices_are_compared_in_the_plain_setting_whatever_another_does_to_one(
    tmp_path: Path,
) -> None:
    entries = [
        *on("cpu", 1.0),
        *on("cuda:0", 0.5),
        *on("cpu", 20.0, amp="bfloat16"),
        *on("cuda:0", 0.4, amp="bfloat16"),
    ]
    (device,) = told(tmp_path, *entries, kind="device")
    assert device.text == (
        "cuda:0 is faster than cpu for inference of convnet: 2.00× (2.00–2.00) at N=8. Both use "
        "the plain setting, with the data already on the device."
    )


def test_every_input_has_a_verdict_of_its_own(tmp_path: Path) -> None:
    entries = []
    for input_, scale in (("3,32,32", 2.0), ("3,224,224", 0.05)):
        entries += [*on("cpu", 1.0, input=input_), *on("cuda:0", scale, input=input_)]
    small, large = told(tmp_path, *entries, kind="device")
    assert "cuda:0 is slower than cpu for inference of convnet 3,32,32: it takes" in small.text
    assert "cuda:0 is faster than cpu for inference of convnet 3,224,224: 20×" in large.text


def devices(tmp_path: Path, *scales: tuple[int, Sequence[float]]) -> str:
    """The GPU's times over the CPU's, by batch size."""
    entries = []
    for batch, scale in scales:
        gpu = case(device="cuda:0", batch=batch, threads=None, allocator=None)
        entries += on("cpu", 1.0, batch=batch)
        entries += replicates(
            gpu, [one * more for one, more in zip(times(1.0), scale, strict=True)]
        )
    (device,) = told(tmp_path, *entries, kind="device")
    return device.text.partition(" Both use")[0]


NOISE = (1.3, 0.8, 1.1, 0.75, 1.2)


def test_a_device_that_is_slower_at_one_size_says_how_much_longer_it_takes_there(
    tmp_path: Path,
) -> None:
    text = devices(tmp_path, (1, [2.0] * 5), (8, NOISE))
    assert text.startswith(
        "cuda:0 is slower than cpu for inference of convnet: it takes 2.00× (2.00–2.00) as long "
        "at N=1. No difference was found at N=8 ("
    )


def test_every_batch_size_of_a_device_has_its_result(tmp_path: Path) -> None:
    text = devices(tmp_path, (1, [2.0] * 5), (2, NOISE), (8, [0.5] * 5), (32, [0.25] * 5))
    assert text.startswith(
        "cuda:0 is faster than cpu for inference of convnet: 2.00× (2.00–2.00) at N=8 and "
        "4.00× (4.00–4.00) at N=32. It takes 2.00× (2.00–2.00) as long at N=1. No difference was "
        "found at N=2 ("
    )


def test_of_single_replicates_a_device_is_neither_faster_nor_slower(tmp_path: Path) -> None:
    entries = [*replicates(case(), [0.01])]
    entries += replicates(case(device="cuda:0", threads=None, allocator=None), [0.001])
    (device,) = told(tmp_path, *entries, kind="device")
    assert device.text.startswith(
        "The difference between cuda:0 and cpu for inference of convnet is uncertain: a speedup of "
        "10× (no interval) at N=8, from too few replicates."
    )


# --- layers ----------------------------------------------------------------------------------

TWO = {"net": [{"name": "a", "alias": "a", "same_as": []}, {"name": "b", "same_as": ["b#2"]}]}


def layered(a_s: float, b_s: float, whole_s: float = 0.01) -> list[Entry]:
    parts = {"net/a": a_s, "net/b": b_s, "net": whole_s}
    return [e for name, s in parts.items() for e in replicates(case(subject=name), [s] * 5)]


@pytest.mark.parametrize(
    ("a_s", "b_s", "said"),
    [
        (0.004, 0.003, "is 1.00× (1.00–1.00) the time of the whole: no difference was found."),
        (0.004, 0.001, "is 0.60× (0.60–0.60) the time of the whole. The rest is work between"),
        (0.008, 0.004, "is 1.60× (1.60–1.60) the time of the whole. Inside the whole, data may"),
    ],
)
def test_layers_alone_stand_beside_the_whole_and_equal_ones_count_as_often_as_they_are_called(
    tmp_path: Path, a_s: float, b_s: float, said: str
) -> None:
    (layers,) = told(tmp_path, *layered(a_s, b_s), kind="layers", layers=TWO)
    assert said in layers.text


def test_a_layer_that_was_not_measured_leaves_the_sum_unknown(tmp_path: Path) -> None:
    three = {"net": [*TWO["net"], {"name": "c", "same_as": []}]}
    (layers,) = told(tmp_path, *layered(0.004, 0.003), kind="layers", layers=three)
    assert layers.text == (
        "The shares of the layers in inference of net at N=8 are unknown: some layers were not "
        "measured (c)."
    )
    assert "%" not in layers.evidence


def test_what_equal_layers_take_together_is_not_said_of_one(tmp_path: Path) -> None:
    (layers,) = told(tmp_path, *layered(0.004, 0.003), kind="layers", layers=TWO)
    assert layers.text == (
        "Most of the time of the layers in inference of net at N=8 goes to 2 equal calls of b "
        "(60 %) and a (40 %). The sum of the layers measured alone is 1.00× (1.00–1.00) the time "
        "of the whole: no difference was found."
    )


def test_two_modes_of_the_compiler_are_told_apart_beside_the_layers(tmp_path: Path) -> None:
    entries = layered(0.004, 0.003)
    for mode in ("default", "max-autotune"):
        entries += replicates(case(subject="net", compile=mode), [0.005] * 5)
    _, *compiled = told(tmp_path, *entries, kind="layers", layers=TWO)
    assert [one.text.partition("the time of ")[2].partition(" at ")[0] for one in compiled] == [
        "compiled inference of net",
        "compiled (max-autotune) inference of net",
    ]


def test_layers_on_several_devices_are_told_with_their_device(tmp_path: Path) -> None:
    entries = layered(0.004, 0.003)
    for name, time_s in (("net", 0.001), ("net/a", 0.0001), ("net/b", 0.0004)):
        entries += replicates(case(subject=name, device="cuda:0"), [time_s] * 5)
    first, second = told(tmp_path, *entries, kind="layers", layers=TWO)
    assert "in inference of net on cpu at N=8 goes to 2 equal calls of b" in first.text
    assert "in inference of net on cuda:0 at N=8 goes to 2 equal calls of b" in second.text


def test_layers_of_another_setting_than_the_wholes_are_not_held_against_it(tmp_path: Path) -> None:
    entries = replicates(case(subject="net"), [0.01] * 5)
    for name in ("net/a", "net/b"):
        entries += replicates(case(subject=name, memory_format="channels_last"), [0.001] * 5)
    assert not told(tmp_path, *entries, kind="layers", layers=TWO)


def test_a_module_that_is_no_layer_of_the_list_is_not_counted_twice(tmp_path: Path) -> None:
    entries = [*layered(0.004, 0.003), *replicates(case(subject="net/block"), [0.01] * 5)]
    (layers,) = told(tmp_path, *entries, kind="layers", layers=TWO)
    assert "block" not in layers.text + layers.evidence
    assert "is 1.00×" in layers.text


def test_of_many_equal_layers_none_takes_most(tmp_path: Path) -> None:
    names = [f"l{number}" for number in range(40)]
    entries = replicates(case(subject="net"), [0.04] * 5)
    for name in names:
        entries += replicates(case(subject=f"net/{name}"), [0.001] * 5)
    many = {"net": [{"name": name, "calls": 1} for name in names]}
    (layers,) = told(tmp_path, *entries, kind="layers", layers=many)
    assert (
        "No layer dominates inference of net at N=8: the largest of 40 is l0 (2 %)." in layers.text
    )


def test_a_layer_without_a_backward_adds_its_forward_alone(tmp_path: Path) -> None:
    def trained(name: str, forward_s: float, backward_s: float) -> list[Measurement]:
        return [
            Measurement(
                case=case(subject=name, mode="training"),
                replicate=number,
                samples=tuple(
                    Samples(phase=phase, kind="latency", calls_per_sample=1, times_s=(time_s,))
                    for phase, time_s in (
                        ("forward", forward_s),
                        ("backward", backward_s),
                        ("step", forward_s + backward_s),
                    )
                ),
            )
            for number in range(5)
        ]

    none = Failure(
        case=case(subject="net/a", mode="training"),
        replicate=0,
        status="unsupported",
        reason="training is not supported here: nothing requires a gradient",
    )
    own = {"net": [{"name": "a", "calls": 1}, {"name": "b", "calls": 1}]}
    entries: list[Entry] = [
        *trained("net", 0.003, 0.002),
        *trained("net/b", 0.002, 0.002),
        *replicates(case(subject="net/a"), [0.001] * 5),
        none,
    ]
    forward, backward = told(tmp_path, *entries, kind="layers", layers=own)
    assert "is 1.00× (1.00–1.00)" in forward.text
    assert "is 1.00× (1.00–1.00)" in backward.text


def test_a_compiled_whole_beside_its_layers_names_no_single_cause(tmp_path: Path) -> None:
    entries = layered(0.004, 0.003)
    entries += replicates(case(subject="net", compile="default"), [0.005] * 5)
    _, compiled = told(tmp_path, *entries, kind="layers", layers=TWO)
    assert compiled.text == (
        "The sum of the uncompiled layers measured alone is 2.00× (2.00–2.00) the time of compiled "
        "inference of net at N=8. The difference is the effect of compiling and of running "
        "together."
    )


# --- doubts ----------------------------------------------------------------------------------


def test_a_disturbed_machine_and_failed_cases_are_said_first(tmp_path: Path) -> None:
    disturbed = [
        Measurement(
            case=case(),
            replicate=number,
            samples=(Samples(phase="forward", kind="latency", calls_per_sample=1, times_s=(1.0,)),),
            flags=("contended",),
        )
        for number in range(5)
    ]
    broken = Failure(case=LAST, replicate=0, status="crash", reason="ended by SIGSEGV")
    found = of_run(run_of(tmp_path / "run", [*disturbed, broken]))
    assert [one.kind for one in found[:2]] == ["doubt", "doubt"]
    assert found[0].text.startswith("1 of 2 cases is contended: other work on the machine took")
    assert found[1].text == "1 of 2 cases has no figures: 1 crash."
    assert "ended by SIGSEGV" in found[1].evidence


def flagged(tmp_path: Path, *flags: str) -> list[str]:
    """Return the advice on cases with these flags."""
    entries = [
        dataclasses.replace(one, flags=flags) if isinstance(one, Measurement) else one
        for one in replicates(case(), times(1.0))
    ]
    return [one.text for one in of_run(run_of(tmp_path / "run", entries)) if one.kind == "doubt"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("contended",), "Measure them again while nothing else runs on this machine."),
        (("throttled",), "Let the device cool"),
        (("unsteady",), "Measure them again on a quiet machine, or with a longer warm-up"),
        (("unsteady", "growing"), "A quieter machine does not help: let each call"),
    ],
)
def test_each_doubt_says_what_helps_against_its_own_cause(
    tmp_path: Path, flags: tuple[str, ...], words: str
) -> None:
    (text,) = flagged(tmp_path, *flags)
    assert text.startswith(f"1 of 1 case is {flags[-1]}: ")
    assert words in text
    assert ("quiet machine" in text) == (flags == ("unsteady",))


def test_every_doubt_that_is_advised_on_is_a_flag_and_each_has_an_advice_of_its_own() -> None:
    assert DOUBTS.keys() <= FLAGS.keys()
    assert len(set(DOUBTS.values())) == len(DOUBTS)


def test_an_empty_run_says_nothing_of_settings(tmp_path: Path) -> None:
    broken = Failure(case=case(), replicate=0, status="oom", reason="too big")
    found = of_run(run_of(tmp_path / "run", [broken]))
    assert {one.kind for one in found} == {"doubt"}
