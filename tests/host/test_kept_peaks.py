"""Peaks of the machine that outlive a run by a day."""

import datetime
from pathlib import Path
from typing import Any

import pytest

from bench.host.kept_peaks import Store, cache_folder
from tests.support.cases import case

NOON = datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.UTC)
HOUR = datetime.timedelta(hours=1)
BUILD = {"machine_id": "m1", "torch": "2.13.0"}
CASES = [case()]


def ladder(*, disturbed: bool = False) -> dict[str, list[dict[str, Any]]]:
    point = {"what": "matrix product 64", "amount": 524288.0, "per_s": 1e11}
    return {
        "cpu": [
            {
                "threads": "auto",
                "arithmetic": {"float32": [point]},
                "traffic": [],
                "cache_bytes": 2**25,
                "disturbed": disturbed,
            }
        ]
    }


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache", BUILD)


def test_peaks_of_the_last_day_are_found_again_with_their_time(store: Store) -> None:
    store.save(CASES, ladder(), NOON)
    kept = store.load(CASES, NOON + 23 * HOUR)["cpu"]
    assert kept.measured == "2026-01-02T12:00:00+00:00"
    assert kept.fields[0]["arithmetic"]["float32"][0]["per_s"] == 1e11
    assert kept.fields[0]["cache_bytes"] == 2**25


@pytest.mark.parametrize("hours", [24, -1])
def test_peaks_of_an_earlier_day_or_of_the_future_are_not_used(store: Store, hours: int) -> None:
    store.save(CASES, ladder(), NOON)
    assert store.load(CASES, NOON + hours * HOUR) == {}


def test_disturbed_peaks_are_not_kept(store: Store) -> None:
    store.save(CASES, ladder(disturbed=True), NOON)
    assert store.load(CASES, NOON) == {}


def test_another_build_or_another_measurement_has_its_own_peaks(store: Store) -> None:
    store.save(CASES, ladder(), NOON)
    assert Store(store.folder, BUILD | {"torch": "2.14.0"}).load(CASES, NOON) == {}
    assert store.load([case(threads="1")], NOON) == {}
    assert store.load([case(amp="bfloat16")], NOON) == {}
    assert list(store.load([case(batch=4)], NOON)) == ["cpu"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"measured": 1}', "\xff", '{"measured": "now"}'])
def test_a_broken_file_is_ignored_and_replaced(store: Store, text: str) -> None:
    store.save(CASES, ladder(), NOON)
    assert store.folder is not None
    (path,) = store.folder.iterdir()
    path.write_text(text, encoding="latin-1")
    assert store.load(CASES, NOON) == {}
    store.save(CASES, ladder(), NOON)
    assert list(store.load(CASES, NOON)) == ["cpu"]


def test_a_folder_that_cannot_be_written_keeps_nothing_and_raises_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file" / "below", None):
        store = Store(folder, BUILD)
        store.save(CASES, ladder(), NOON)
        assert store.load(CASES, NOON) == {}


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"XDG_CACHE_HOME": "/c", "HOME": "/h"}, Path("/c/convnet-bench")),
        ({"HOME": "/h"}, Path("/h/.cache/convnet-bench")),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, Path("/h/.cache/convnet-bench")),
        ({}, None),
    ],
)
def test_the_cache_folder_is_the_users(environ: dict[str, str], folder: Path | None) -> None:
    assert cache_folder(environ) == folder
