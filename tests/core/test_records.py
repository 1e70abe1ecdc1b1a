import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core import decode
from bench.core.records import (
    Failure,
    Measurement,
    Samples,
    StaticMetrics,
    to_line,
)
from tests.support.cases import PLAIN, case

TIMES = Samples(phase="forward", kind="latency", calls_per_sample=1, times_s=(0.001, 0.002))


def test_a_case_id_is_as_the_contract_writes_it() -> None:
    written = case(
        subject="convnet/conv1", mode="training", batch=32, memory_format="channels_last"
    )
    assert written.case_id == (
        "convnet/conv1:training:b32:3x224x224:cpu:float32:amp=off:channels_last:compile=off:"
        "t=auto:retained"
    )


def test_axes_without_a_meaning_are_left_out_of_the_id() -> None:
    on_gpu = case(device="cuda:0", threads=None, allocator=None, cudnn_benchmark="on", tf32="off")
    assert on_gpu.case_id.endswith("compile=off:cudnn=on:tf32=off")


@pytest.mark.parametrize(
    "entry",
    [
        Measurement(case=PLAIN, replicate=2, samples=(TIMES,), flags=("unsteady",), wall_s=1.0),
        Failure(case=PLAIN, replicate=0, status="oom", reason="no memory"),
        StaticMetrics(case=PLAIN, metrics={"flops": 12.0}, problems={"peak_bytes": "no profiler"}),
    ],
)
def test_an_entry_survives_the_journal(entry: Measurement | Failure | StaticMetrics) -> None:
    assert decode.entry(to_line(entry)) == entry


def test_a_line_names_its_case_status_and_reason_on_top() -> None:
    line = json.loads(to_line(Failure(case=PLAIN, replicate=1, status="crash", reason="SIGSEGV")))
    assert line["case_id"] == PLAIN.case_id
    assert (line["status"], line["reason"], line["replicate"]) == ("crash", "SIGSEGV", 1)


def test_a_figure_that_is_no_number_never_reaches_the_journal() -> None:
    entry = StaticMetrics(case=PLAIN, metrics={"flops": float("nan")})
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_line(entry)


@given(subject=st.text(min_size=1), batch=st.integers(1, 9999))
def test_cases_with_different_settings_have_different_ids(subject: str, batch: int) -> None:
    ids = {
        case(subject=subject, batch=batch, mode=mode).case_id for mode in ("inference", "training")
    }
    assert len(ids) == 2


def test_the_journal_keeps_the_key_that_earlier_versions_gave_to_metrics() -> None:
    line = json.loads(to_line(StaticMetrics(case=PLAIN, metrics={"flops": 12.0})))
    assert (line["kind"], line["facts"]) == ("facts", {"flops": 12.0})
    assert "metrics" not in line
