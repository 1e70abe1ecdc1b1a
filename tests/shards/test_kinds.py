"""Kinds of machines and versions of software."""

from bench.shards import kinds

FIXED = {
    "machine": "m1",
    "torch": "2.13.0",
    "Python": "3.12.1",
    "bench": "abc",
    "commit": "0123",
    "cuDNN": None,
    "number of processors allowed": 8,
    "set of processors allowed": [0, 1],
    "driver of cuda:0": "580",
}


def test_machines_that_differ_in_what_times_depend_on_are_of_two_kinds() -> None:
    here = kinds.kind(FIXED)
    assert kinds.kind({**FIXED, "machine": "m2"}) != here
    assert kinds.kind({**FIXED, "driver of cuda:0": "570"}) != here
    assert kinds.kind({**FIXED, "number of processors allowed": 4}) != here
    assert kinds.kind(FIXED, "rack 2") != here


def test_the_version_of_the_code_and_the_numbers_of_processors_make_no_kind() -> None:
    here = kinds.kind(FIXED)
    assert kinds.kind({**FIXED, "torch": "2.14.0", "commit": "9"}) == here
    assert kinds.kind({**FIXED, "set of processors allowed": [2, 3]}) == here
    for number in "01":
        given = {"environment variable CUDA_VISIBLE_DEVICES": number}
        assert kinds.kind({**FIXED, **given}) == here


def test_another_version_is_named_with_both_of_its_values() -> None:
    other = {**FIXED, "torch": "2.12.0", "machine": "m2"}
    assert kinds.different(kinds.versions(FIXED), kinds.versions(other)) == (
        "another torch: 2.12.0 instead of 2.13.0"
    )
    assert kinds.different(kinds.versions(FIXED), kinds.versions(FIXED)) is None


def test_a_kind_is_named_by_its_label_or_its_accelerator() -> None:
    devices = {"cpu": "AMD EPYC(TM) 7B13 64-Core", "cuda:0": "NVIDIA H100 80GB HBM3"}
    assert kinds.folder_name(devices, "0123abcd") == "NVIDIA-H100-80GB-HBM3-0123abcd"
    assert kinds.folder_name({}, "0123abcd", "big box") == "big-box-0123abcd"
    assert kinds.folder_name({}, "0123abcd") == "machine-0123abcd"
