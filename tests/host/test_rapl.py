"""The energy of the processor packages, from a made-up tree of powercap."""

from pathlib import Path

import pytest

from bench.host import rapl

RANGE_UJ = 262_143_328_850  # of a desktop processor


def zone(folder: Path, name: str, kind: str, energy_uj: int) -> Path:
    made = folder / name
    made.mkdir(parents=True)
    (made / "name").write_text(f"{kind}\n", encoding="ascii")
    (made / "energy_uj").write_text(f"{energy_uj}\n", encoding="ascii")
    (made / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n", encoding="ascii")
    return made


def write(package: Path, energy_uj: int) -> None:
    (package / "energy_uj").write_text(f"{energy_uj}\n", encoding="ascii")


def test_packages_are_added_and_no_part_of_them_is_counted_twice(tmp_path: Path) -> None:
    first = zone(tmp_path, "intel-rapl:0", "package-0", 5_000_000)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 7_000_000)
    core = zone(tmp_path, "intel-rapl:0:0", "core", 0)
    whole = zone(tmp_path, "intel-rapl:2", "psys", 0)
    again = zone(tmp_path, "intel-rapl-mmio:0", "package-0", 0)
    counter = rapl.opened(tmp_path)
    assert counter is not None
    assert counter.energy_j() == 0
    write(first, 6_500_000)
    write(second, 9_000_000)
    for other in (core, whole, again):
        write(other, 99_000_000)
    assert counter.energy_j() == pytest.approx(3.5)


def test_a_counter_that_wraps_around_goes_on(tmp_path: Path) -> None:
    package = zone(tmp_path, "intel-rapl:0", "package-0", RANGE_UJ - 1_000_000)
    counter = rapl.opened(tmp_path)
    assert counter is not None
    write(package, 499_999)  # 1 J to the end, and the value 0 is one more step
    assert counter.energy_j() == pytest.approx(1.5)
    write(package, 600_000)
    write(package, 100)  # a second time
    assert counter.energy_j() == pytest.approx((RANGE_UJ + 1 + 100 + 1_000_000) / 1e6)


def test_without_powercap_or_without_permission_there_is_no_energy(tmp_path: Path) -> None:
    assert rapl.opened(tmp_path / "nowhere") is None
    assert rapl.opened(tmp_path) is None
    zone(tmp_path, "intel-rapl:0", "package-0", 5)
    other = zone(tmp_path, "intel-rapl:1", "package-1", 5)
    (other / "energy_uj").unlink()
    (other / "energy_uj").mkdir()  # root may read every file: a folder refuses to be read
    assert rapl.opened(tmp_path) is None


def test_a_counter_that_cannot_be_read_any_more_gives_no_energy(tmp_path: Path) -> None:
    package = zone(tmp_path, "intel-rapl:0", "package-0", 5)
    counter = rapl.opened(tmp_path)
    assert counter is not None
    (package / "energy_uj").write_text("", encoding="ascii")
    assert counter.energy_j() is None
