"""The settings that ran are those that were asked for: traps of each kind, as in a run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.core.records import Entry, Failure, Measurement
from bench.engine.collect import collect
from bench.engine.fork_server import ForkServer
from bench.engine.requests import request
from bench.plan.config import RunOptions
from bench.results.run_directory import Folders
from bench.worker.checks.state import problems
from bench.worker.timing import contention
from tests.support.cases import case

STANDS: dict[str, Any] = {
    "training": False,
    "inference_mode": False,
    "autocast": False,
    "flushes_denormals": False,
    "threads": 2,
    "matmul_precision": "highest",
}
SWITCHES = {"threads": 2, "matmul_precision": "highest"}


def test_a_state_as_asked_has_no_problem() -> None:
    assert problems(case(), STANDS, SWITCHES) == []


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("threads", 1, "threads is 1, should be 2"),
        ("matmul_precision", "medium", "matmul_precision is medium, should be highest"),
        ("training", True, "training is True, should be False"),
        ("autocast", True, "autocast is True, should be False"),
        ("flushes_denormals", True, "flushes_denormals is True, should be False"),
    ],
)
def test_each_thing_that_is_otherwise_is_named(name: str, value: object, words: str) -> None:
    assert problems(case(), {**STANDS, name: value}, SWITCHES) == [words]


@pytest.mark.parametrize(("asked", "runs"), [("off", "on"), ("on", "off")])
def test_products_that_run_otherwise_than_the_flags_say_are_named_with_the_variable(
    monkeypatch: pytest.MonkeyPatch, asked: str, runs: str
) -> None:
    one = case(device="cuda:0", cudnn_benchmark="off", tf32=asked, threads=None, allocator=None)
    state = {**STANDS, "cudnn_benchmark": "off", "tf32": asked}
    assert problems(one, {**state, "tf32_in_products": asked}, SWITCHES) == []
    words = f"tf32={asked} was asked for, but matrix products run with tf32={runs}"
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    assert problems(one, {**state, "tf32_in_products": runs}, SWITCHES) == [words]
    value = "1" if runs == "on" else "0"
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", value)
    assert problems(one, {**state, "tf32_in_products": runs}, SWITCHES) == [
        f"{words}: NVIDIA_TF32_OVERRIDE={value} overrules the flags; unset it"
    ]


def test_settings_of_a_gpu_are_held_against_what_the_case_asks() -> None:
    asked = case(device="cuda:0", cudnn_benchmark="on", tf32="off", threads=None, allocator=None)
    state = {**STANDS, "cudnn_benchmark": "off", "tf32": "mixed"}
    assert problems(asked, state, SWITCHES) == [
        "cudnn_benchmark is off, should be on",
        "tf32 is mixed, should be off",
    ]


def shares(**kinds: float) -> dict[str, Any]:
    return {kind: {"share": share, "first": f"{kind}.0"} for kind, share in kinds.items()}


def test_half_of_the_work_has_to_be_in_the_dtype_asked_for() -> None:
    state = {**STANDS, "output_dtypes": shares(bfloat16=0.5, float32=0.5)}
    assert problems(case(amp="bfloat16"), state, SWITCHES) == []
    state = {**STANDS, "output_dtypes": shares(bfloat16=0.4, float32=0.6)}
    (words,) = problems(case(amp="bfloat16"), state, SWITCHES)
    assert words.startswith(
        "autocast to bfloat16 was asked for, but the layers put out float32 60%"
    )
    assert "(first float32.0)" in words


def test_a_network_without_such_layers_cannot_disobey() -> None:
    state = {**STANDS, "output_dtypes": {}, "convolution_layouts": {}}
    assert problems(case(amp="bfloat16", memory_format="channels_last"), state, SWITCHES) == []


def test_contiguous_convolutions_matter_where_channels_last_was_asked_for() -> None:
    state = {**STANDS, "convolution_layouts": shares(contiguous=1.0)}
    assert problems(case(), state, SWITCHES) == []
    (words,) = problems(case(memory_format="channels_last"), state, SWITCHES)
    assert words.startswith("channels_last was asked for, but the layers put out contiguous 100%")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    log = tmp_path_factory.mktemp("session") / "log"
    one = ForkServer(
        allocator="retained", modules=["tests.subjects.turncoats"], inductor=False, log=log
    )
    yield one
    one.close()


def measured(session: ForkServer, folder: Path, subject: str, **settings: Any) -> Entry:
    folders = Folders(scratch=folder, failures=folder / "failures")
    one = case(
        subject=f"tests.subjects.turncoats:{subject}", **{"batch": 2, "input": "4", **settings}
    )
    options = RunOptions(samples_s=0.02, warmup_s=0.01)
    asked = request("measure", one, 0, options, folders)
    return collect(asked, session.ask(asked), folders)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("subject", "words"),
    [
        ("Precision", "matmul_precision is medium"),
        ("Mkldnn", "mkldnn is False"),
        ("Denormals", "flushes_denormals is True"),
        ("Deterministic", "deterministic is True"),
        ("DefaultDtype", "default_dtype is bfloat16"),
        ("GradOff", "grad_enabled is False"),
        pytest.param(
            "Pinned",
            "processors is [",
            marks=pytest.mark.skipif(
                contention.processors() is None or len(contention.processors() or ()) < 2,
                reason="one processor, or a system that does not pin",
            ),
        ),
        ("Nice", "priority is 19"),
        ("InItsConstructor", "threads is 1"),
        ("InItsConstructor", "cudnn_deterministic is True"),
        ("LateTurn", "matmul_precision is medium"),
    ],
)
def test_a_subject_that_turns_a_switch_is_invalid(
    session: ForkServer, tmp_path: Path, subject: str, words: str
) -> None:
    found = measured(session, tmp_path, subject)
    assert isinstance(found, Failure)
    assert found.status == "invalid"
    assert words in found.reason


@pytest.mark.slow
@pytest.mark.parametrize(
    ("subject", "settings"),
    [
        ("TrunkInFloat32", {"amp": "bfloat16"}),
        ("LargeContiguous", {"memory_format": "channels_last", "input": "3,8,8"}),
    ],
)
def test_most_of_the_work_done_otherwise_is_invalid(
    session: ForkServer, tmp_path: Path, subject: str, settings: dict[str, Any]
) -> None:
    found = measured(session, tmp_path, subject, **settings)
    assert isinstance(found, Failure)
    assert found.status == "invalid"
    assert "was asked for" in found.reason
    assert "(first large)" in found.reason


@pytest.mark.slow
@pytest.mark.parametrize(
    ("subject", "settings", "kind", "other"),
    [
        ("HeadInFloat32", {"amp": "bfloat16"}, "output_dtypes", "float32"),
        (
            "SmallContiguous",
            {"memory_format": "channels_last", "input": "3,8,8"},
            "convolution_layouts",
            "contiguous",
        ),
    ],
)
def test_a_small_part_done_otherwise_is_measured_and_named(
    session: ForkServer,
    tmp_path: Path,
    subject: str,
    settings: dict[str, Any],
    kind: str,
    other: str,
) -> None:
    found = measured(session, tmp_path, subject, **settings)
    assert isinstance(found, Measurement)
    assert found.state[kind][other]["first"] == "small"
    assert 0 < found.state[kind][other]["share"] < 0.5


def test_torchs_default_has_no_tf32_in_matrix_products() -> None:
    one = case(device="cuda:0", cudnn_benchmark="off", tf32="default", threads=None, allocator=None)
    state = {**STANDS, "cudnn_benchmark": "off", "tf32": "default"}
    assert problems(one, {**state, "tf32_in_products": "off"}, SWITCHES) == []
    assert len(problems(one, {**state, "tf32_in_products": "on"}, SWITCHES)) == 1
