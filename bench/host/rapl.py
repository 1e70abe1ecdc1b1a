"""The energy of the processor packages, as Linux counts it (Documentation/power/powercap).

The files are readable for root alone since 2020 (CVE-2020-8694), unless an administrator permits
more.  Where one of the packages cannot be read there is no energy, since a sum would lack a part.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
PER_JOULE = 1e6  # the files are in microjoules


@dataclass(slots=True)
class Package:
    """One counter.  range_uj: it begins again at 0 after this value."""

    file: Path
    range_uj: int
    last_uj: int
    total_uj: int = 0

    def read(self) -> None:
        """Add what was used since the last look.  Raises OSError, ValueError.

        A counter wraps around within a quarter of an hour or longer, so it wraps once at most
        between two looks.
        """
        now_uj = _number(self.file)
        more_uj = now_uj - self.last_uj
        self.total_uj += more_uj if more_uj >= 0 else more_uj + self.range_uj + 1
        self.last_uj = now_uj


@dataclass(slots=True)
class Rapl:
    """The packages of this machine together; the energy of other work is in it."""

    packages: list[Package] = field(default_factory=list)

    def energy_j(self) -> float | None:
        """Return the energy since this object was made; None if it cannot be read any more."""
        try:
            for package in self.packages:
                package.read()
        except (OSError, ValueError):
            return None
        return sum(one.total_uj for one in self.packages) / PER_JOULE


def opened(folder: Path = POWERCAP) -> Rapl | None:
    """Return the counters; None if the machine has none, or one may not be read."""
    try:
        packages = [
            Package(
                one / "energy_uj", _number(one / "max_energy_range_uj"), _number(one / "energy_uj")
            )
            for one in _packages(folder)
        ]
    except (OSError, ValueError):
        return None
    return Rapl(packages) if packages else None


def _packages(folder: Path) -> Iterator[Path]:
    """Yield the zones of whole packages.

    `intel-rapl:0` is one, on AMD as well; `intel-rapl:0:0` is a part of it, `psys` contains it, and
    `intel-rapl-mmio:0` is the same package by another interface.
    """
    for zone in sorted(folder.glob("intel-rapl:*")):
        if zone.name.count(":") == 1:
            name = (zone / "name").read_text(encoding="ascii").strip()
            if name.startswith("package"):
                yield zone


def _number(file: Path) -> int:
    return int(file.read_text(encoding="ascii"))
