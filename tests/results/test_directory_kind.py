"""Every directory is known as that of its command, and no command takes that of another."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.ab import ab_directory
from bench.ab.ab_plan import Asked
from bench.commands import bisect
from bench.core.errors import UserError
from bench.fleet import directories
from bench.history import store
from bench.results import directory_kind, run_directory
from bench.results.directory_kind import Kind, kind_of
from bench.results.loading import ReadError, load
from tests.support.paths import ROOT

# file → content, and the kind of the directory
LEFT: list[tuple[dict[str, Any], Kind | None]] = [
    ({"run.json": {}}, directory_kind.A_RUN),
    ({"run.json": "damaged"}, directory_kind.A_RUN),
    ({"run.json": [3]}, directory_kind.A_RUN),
    ({"measurements.csv": ""}, directory_kind.A_RUN),
    ({"run.json": {"shard": None}}, directory_kind.A_RUN),
    ({"run.json": {"shard": {"index": 1}}, "measurements.csv": ""}, directory_kind.SHARD),
    ({"run.json": {"merged": {"count": 2}}}, directory_kind.MERGED),
    ({"run.json": {"tune": {}}}, directory_kind.SEARCH),
    ({"run.json": {}, "tune.json": {}}, directory_kind.SEARCH),  # of an earlier version
    ({"ab.json": {}}, directory_kind.COMPARISON),
    ({"count.json": {}}, directory_kind.COUNT),
    ({"bisect.json": {}}, directory_kind.BISECTION),
    ({"fleet.json": {}}, directory_kind.FLEET),
    ({"run.json": {}, "a/profile.json": {}}, directory_kind.PROFILE),
    ({"run.json": {"command": ["bench", "profile", "x"]}}, directory_kind.PROFILE),
    ({"profile.json": {}}, directory_kind.PROFILE),  # the folder of a case
    ({"run.json": {"sides": {}}}, directory_kind.PAIR),
    ({"A/a/profile.json": {}, "B/a/profile.json": {}}, directory_kind.PAIR),
    # A run stays one beside the profile that somebody has put into it.
    ({"run.json": {}, "measurements.csv": "", "mine/profile.json": {}}, directory_kind.A_RUN),
    ({"report.html": ""}, None),
    ({}, None),
]


def lay(folder: Path, files: dict[str, Any]) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(("files", "kind"), LEFT)
def test_a_directory_is_known_by_the_file_that_describes_it(
    tmp_path: Path, files: dict[str, Any], kind: Kind | None
) -> None:
    assert kind_of(lay(tmp_path / "left", files)) == kind


def test_what_is_no_directory_is_of_no_kind(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert kind_of(tmp_path / "file") is None
    assert kind_of(tmp_path / "nowhere") is None
    assert kind_of(tmp_path / ("a" * 300)) is None


def test_the_runs_that_are_committed_here_are_known() -> None:
    assert kind_of(ROOT / "results/example") == directory_kind.A_RUN
    assert kind_of(ROOT / "tests/data/earlier_run") == directory_kind.A_RUN


OWN: Mapping[str, Callable[[Path], object]] = {
    "run": lambda path: run_directory.reopen(path),
    "tune": lambda path: run_directory.reopen(path, (directory_kind.SEARCH,)),
    "ab": lambda path: ab_directory.stored(Asked(resume=path)),
    "bisect": lambda path: bisect._stored(bisect.Wanted(resume=path)),
    "fleet": lambda path: directories.reopen(path),
}


@pytest.mark.parametrize("resumed", sorted(OWN))
@pytest.mark.parametrize(
    ("file", "content", "made_by"),
    [
        ("run.json", {"tune": {}}, "tune"),
        ("ab.json", {}, "ab"),
        ("bisect.json", {}, "bisect"),
        ("fleet.json", {}, "fleet"),
        ("run.json", {}, "run"),
    ],
)
def test_a_resume_of_another_commands_directory_names_the_right_command(
    tmp_path: Path, resumed: str, file: str, content: dict[str, Any], made_by: str
) -> None:
    path = lay(tmp_path / "left", {file: content})
    with pytest.raises(UserError) as caught:
        OWN[resumed](path)
    said = f" of `bench {made_by}`; to resume: bench {made_by} --resume {path}"
    assert str(caught.value).endswith(said) == (made_by != resumed)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"ab.json": {}}, "was left by `bench ab`, whose own report lies in it; give the dir"),
        ({"bisect.json": {}}, "was left by `bench bisect`, whose own report lies in it"),
        ({"run.json": {"tune": {}}}, "was left by `bench tune`, whose own report lies in it"),
        ({"run.json": {"sides": {}}}, "was left by `bench profile A B`, whose own report"),
        ({"run.json": {}}, "the run is not finished; to resume: bench run --resume"),
        ({}, "has no measurements.csv; give the directory of a finished run"),
    ],
)
def test_a_reader_of_runs_says_what_a_directory_is_instead(
    tmp_path: Path, files: dict[str, Any], says: str
) -> None:
    path = lay(tmp_path / "left", files)
    with pytest.raises(ReadError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: {says}")


def test_a_store_has_runs_and_those_of_a_fleet_and_no_search(tmp_path: Path) -> None:
    for name, files in {
        "a": {"run.json": {}, "measurements.csv": ""},
        "b": {"run.json": {"tune": {}}},
        "c": {"ab.json": {}, "profiles/A/x/profile.json": {}},
        "d": {"fleet.json": {}},
        "d/kind": {"run.json": {"merged": {}}, "measurements.csv": ""},
        "e": {"run.json": {}},
        "f/deep/g": {"measurements.csv": ""},
    }.items():
        lay(tmp_path / name, files)  # type: ignore[arg-type]
    found = [str(one.relative_to(tmp_path)) for one in store.folders_of_runs(tmp_path)]
    assert found == ["a", "d/kind", "e", "f/deep/g"]
