"""Each of the twenty checks passes on good evidence, and fails on evidence of its own fault."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from bench.core.records import COLUMNS, Row
from experiments.gpu.__main__ import NEEDS
from experiments.gpu.checks import (
    CHAIN,
    CHECKS,
    CONVOLUTION,
    PRODUCT,
    TEMPORARY,
    Evidence,
    markdown,
    results,
)

OOM, FITS = f"{TEMPORARY}(300000000000)", f"{TEMPORARY}(67108864)"
Change = Callable[[Evidence], Evidence]


def row(subject: str, phase: str | None, **columns: Any) -> Row:
    own: dict[str, Any] = dict.fromkeys(COLUMNS)
    own |= {
        "subject": subject, "phase": phase, "device": "cuda:0", "status": "ok", "dtype": "float32",
        "amp": "off", "memory_format": "contiguous", "compile": "off", "cudnn_benchmark": "off",
        "tf32": "off", "mode": "inference", "batch": 1, "sm_clock_hz": 1.98e9,
        "temperature_c": 54.0,
    }  # fmt: skip
    own |= columns
    own["case_id"] = ":".join(str(own[name]) for name in ("subject", "mode", "batch", "compile"))
    return Row(**own)


def good() -> Evidence:
    """Figures near those of an H100 in the first run of the suite on one."""
    training = {"mode": "training", "batch": 256}
    return Evidence(
        device="cuda:0",
        fork_notes=(),
        start={"import_s": 3.8, "context_s": 0.32, "convolution_s": 0.33, "product_s": 0.07},
        rates={
            "product_flop_per_s": 697e12, "copy_bytes_per_s": 3.02e12, "power_w": 710.0,
            "limit_w": 700.0, "most_sm_clock_hz": 1.98e9, "torch": "2.11.0+cu130",
        },
        known={
            "latency_s": 21.54e-3, "device_s": 21.50e-3, "launch_s": 0.302e-3,
            "counted_bytes": 67108864, "contended_alone": False, "contended_beside": True,
        },
        rows=(
            row(PRODUCT, "forward", batch=2048, pipelined_s=5.465e-3, relative_error=4e-7),
            row(PRODUCT, "forward", batch=2048, tf32="on", pipelined_s=0.747e-3,
                relative_error=7e-5),
            row(PRODUCT, "forward", batch=8192, dtype="bfloat16", pipelined_s=1.555e-3,
                flop_per_s=707e12, energy_j_per_image=0.000135),
            row(CONVOLUTION, "forward", pipelined_s=0.549e-3),
            row(CONVOLUTION, "forward", memory_format="channels_last", pipelined_s=0.347e-3),
            row(CHAIN, "forward", pipelined_s=400e-6, energy_j_per_image=0.06),
            row(CHAIN, "forward", compile="reduce-overhead", pipelined_s=100e-6),
            row("convnet", "input_pageable", batch=1024, bytes_moved=616e6,
                latency_median_s=71e-3),
            row("convnet", "input_pinned", batch=1024, bytes_moved=616e6, latency_median_s=11.4e-3),
            row("convnet", "step", mode="training", compile="reduce-overhead",
                relative_error=1.3e-6),
            row("convnet", "forward", **training, amp="float16", device_s=1.49e-3),
            row("convnet", "backward", **training, amp="float16", device_s=2.74e-3),
            row("convnet", "optimizer", **training, amp="float16", device_s=0.30e-3),
            row("convnet", "step", **training, amp="float16", device_s=4.53e-3),
            row("convnet", "step", **training, first_call_s=0.36),
            row("convnet", "step", **training, cudnn_benchmark="on", tuning_s=0.08,
                first_call_s=0.43),
            row("convnet/bn1", "forward", bytes_per_s=2.25e12),
            row(OOM, None, status="oom", reason="CUDA out of memory"),
            row(FITS, "forward", pipelined_s=1e-4),
        ),
        states={"convnet/bn1:inference:1:off": {"cold": True}},
        peaks={
            "arithmetic": {"float32": [{"per_s": 56e12}], "bfloat16": [{"per_s": 775e12}]},
            "traffic": [{"amount": 2**20, "per_s": 9e12}, {"amount": 2**30, "per_s": 3.0e12}],
            "cache_bytes": 50 * 2**20,
        },
        profiles={
            "product": {"bound_by": "device", "busy_s": 0.998, "event_s": 1.0},
            "single": {"bound_by": "launches", "busy_s": 0.5, "event_s": 1.0},
        },
    )  # fmt: skip


def having(**parts: Any) -> Change:
    """Other figures in a part of the evidence."""

    def change(evidence: Evidence) -> Evidence:
        new: dict[str, Any] = {
            name: {**getattr(evidence, name), **part} if isinstance(part, dict) else part
            for name, part in parts.items()
        }
        return dataclasses.replace(evidence, **new)

    return change


def with_row(subject: str, axes: dict[str, Any], **columns: Any) -> Change:
    """Other cells in the rows of the subject that have these cells."""

    def change(evidence: Evidence) -> Evidence:
        rows = tuple(
            dataclasses.replace(one, **columns)
            if one.subject == subject and all(getattr(one, k) == v for k, v in axes.items())
            else one
            for one in evidence.rows
        )
        assert rows != tuple(evidence.rows)
        return dataclasses.replace(evidence, rows=rows)

    return change


FAULTS: list[tuple[int, Change]] = [
    (1, having(fork_notes=("a forked process cannot use cuda here",))),
    (2, having(start={"context_s": 1.9})),
    (3, having(known={"device_s": 20.9e-3})),
    (3, having(known={"launch_s": 1e-3})),
    (4, having(known={"counted_bytes": 67108864 + 512})),
    (5, having(known={"contended_beside": False})),
    (6, with_row(PRODUCT, {"dtype": "bfloat16"}, flop_per_s=600e12)),
    (7, with_row(PRODUCT, {"tf32": "on"}, pipelined_s=5e-3)),
    (7, with_row(PRODUCT, {"tf32": "on"}, relative_error=5e-7)),
    (8, with_row(CONVOLUTION, {"memory_format": "channels_last"}, pipelined_s=0.54e-3)),
    (9, having(peaks={"arithmetic": {"bfloat16": [{"per_s": 400e12}]}})),
    (9, having(peaks={"traffic": [{"amount": 2**30, "per_s": 2.0e12}]})),
    (10, with_row(OOM, {}, status="error")),
    (10, with_row(FITS, {}, status="oom")),
    (11, with_row(CHAIN, {"compile": "reduce-overhead"}, pipelined_s=390e-6)),
    (12, with_row("convnet", {"compile": "reduce-overhead"}, relative_error=0.1)),
    (13, with_row("convnet", {"cudnn_benchmark": "on"}, tuning_s=0.46)),
    (13, with_row("convnet", {"cudnn_benchmark": "on"}, tuning_s=0.0)),
    (14, with_row("convnet", {"phase": "backward"}, device_s=2.2e-3)),
    (15, with_row("convnet", {"phase": "input_pinned"}, latency_median_s=72e-3)),
    (15, with_row("convnet", {"phase": "input_pinned"}, latency_median_s=1e-6)),
    (16, with_row(PRODUCT, {"dtype": "bfloat16"}, energy_j_per_image=0.000171)),
    (17, with_row(CHAIN, {"compile": "off"}, energy_j_per_image=0.4)),
    (18, with_row(CHAIN, {"compile": "off"}, flags="contended;noisy")),
    (18, having(rates={"most_sm_clock_hz": 9e9})),
    (19, having(states={"convnet/bn1:inference:1:off": {"cold": False}})),
    (19, with_row("convnet/bn1", {}, bytes_per_s=6e12)),
    (20, having(profiles={"single": {"bound_by": "device", "busy_s": 1.0, "event_s": 1.0}})),
    (20, having(profiles={"product": {"bound_by": "device", "busy_s": 0.8, "event_s": 1.0}})),
]


def verdicts(evidence: Evidence) -> dict[int, str]:
    return {one.number: one.verdict for one in results(evidence)}


def test_kernels_that_no_profiler_sees_are_skipped_on_a_device_of_another_maker() -> None:
    unseen = {"bound_by": "device", "busy_s": None, "event_s": 1.0}
    evidence = having(profiles={"product": unseen})(good())
    assert verdicts(evidence)[20] == "FAILED"
    assert verdicts(dataclasses.replace(evidence, device="sim:0"))[20] == "skipped"


def test_good_evidence_passes_every_check() -> None:
    assert verdicts(good()) == dict.fromkeys(range(1, 21), "ok")


@pytest.mark.parametrize(("number", "fault"), FAULTS)
def test_a_check_fails_on_its_fault_and_no_other_check_does(number: int, fault: Change) -> None:
    found = verdicts(fault(good()))
    assert [one for one, verdict in found.items() if verdict != "ok"] == [number]


def test_every_check_has_a_fault_that_it_finds() -> None:
    assert {number for number, _ in FAULTS} == {one.number for one in CHECKS} == set(NEEDS)


def test_a_figure_that_is_missing_is_a_failure_that_names_it() -> None:
    missing = dataclasses.replace(good(), rows=())
    (one,) = [one for one in results(missing) if one.number == 6]
    assert one.verdict == "FAILED"
    assert one.seen == f"no row forward with subject={PRODUCT}, dtype=bfloat16"


def test_an_accelerator_of_another_maker_skips_the_checks_that_are_nvidias() -> None:
    evidence = good()
    rows = tuple(dataclasses.replace(one, device="xpu:0") for one in evidence.rows)
    other = dataclasses.replace(
        evidence, device="xpu:0", rows=rows, rates={"product_flop_per_s": 697e12,
                                                    "copy_bytes_per_s": 3.02e12}
    )  # fmt: skip
    assert {n for n, verdict in verdicts(other).items() if verdict == "skipped"} == {
        11, 12, 13, 16, 17, 18, 19,
    }  # fmt: skip
    assert "FAILED" not in verdicts(other).values()


def test_the_table_can_be_pasted() -> None:
    evidence = having(known={"contended_beside": False})(good())
    lines = markdown(results(evidence), "H100").splitlines()
    assert lines[0] == "### H100"
    assert "| 5 | a planted neighbour | FAILED | not seen | contended |" in lines
    assert lines[-1] == "19 ok, 1 FAILED, 0 skipped"
