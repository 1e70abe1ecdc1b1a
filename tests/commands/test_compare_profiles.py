"""`bench compare` of profiles: it reads what is stored."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.commands import check as reading
from bench.commands.check import ReadingError
from bench.core.records import Case
from bench.results import pair_profiles, profile_parts
from bench.results.loading import ReadError
from bench.results.profile_load import is_profile
from bench.results.profile_parts import StepParts
from tests.explain.sides import CONV, MODULES, PLAIN, side
from tests.support.cases import case

LAST: Case = case(memory_format="channels_last")
SLOWER: StepParts = side({**PLAIN, CONV: (2, 30e-3)}, modules=MODULES)


def stored(folder: Path, *cases: StepParts) -> Path:
    for number, one in enumerate(cases):
        own = folder / str(number)
        own.mkdir(parents=True)
        (own / "profile.json").write_text(json.dumps({"case": one.case.as_dict()}))
        profile_parts.write(own, one)
    return folder


def test_two_profiles_are_compared_part_by_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = stored(tmp_path / "a", side(PLAIN, modules=MODULES))
    b = stored(tmp_path / "b", SLOWER)
    assert reading.compare(a, b, None) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "1. forward of `layer1.conv` +20.0 ms (100 % of the slowdown)" in printed
    assert "`aten::mkldnn_convolution` 1 → 2 calls" in printed
    assert "the profiles were made one after the other" in printed


def test_two_settings_of_one_profile_are_compared_by_their_axis(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = stored(tmp_path / "a", side(PLAIN, modules=MODULES), replace(SLOWER, case=LAST))
    assert reading.compare(a, None, "memory_format") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "`layer1.conv` +20.0 ms" in printed
    assert "the profiles of the cases were made one after the other" in printed
    with pytest.raises(ReadingError, match="no two cases belong together that differ in dtype"):
        reading.compare(a, None, "dtype")
    with pytest.raises(ReadingError, match="compare with what"):
        reading.compare(a, None, None)


def test_the_folder_of_one_case_can_be_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = stored(tmp_path / "a", side(PLAIN, modules=MODULES), replace(SLOWER, case=LAST))
    assert is_profile(a / "0")
    assert reading.compare(a / "0", a / "1", None) == 0
    assert "+20.0 ms" in capsys.readouterr().out


def test_a_profile_of_an_earlier_version_says_what_to_do(tmp_path: Path) -> None:
    a = stored(tmp_path / "a", SLOWER)
    (a / "0" / "parts.json").unlink()
    with pytest.raises(ReadError, match=r"parts\.json: is missing; profile the case again"):
        reading.compare(a, a, None)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"case": 3}'])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    a = stored(tmp_path / "a", SLOWER)
    (a / "0" / "parts.json").write_text(text)
    with pytest.raises(ReadError, match=r"parts\.json: is not a profile"):
        reading.compare(a, a, None)


def test_the_profiles_of_bench_ab_are_found_in_its_directory(tmp_path: Path) -> None:
    stored(tmp_path / "profiles" / "A", side(PLAIN))
    assert not pair_profiles.is_pair(tmp_path)
    stored(tmp_path / "profiles" / "B", SLOWER)
    assert pair_profiles.is_pair(tmp_path)
    assert pair_profiles.load(tmp_path) == ([side(PLAIN)], [SLOWER])
