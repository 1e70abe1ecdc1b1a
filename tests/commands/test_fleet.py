"""The files and settings that `bench fleet` sends to other machines."""

from pathlib import Path

import pytest

from bench.commands import fleet, unit
from bench.commands import run as measure
from bench.fleet.driver import FleetError


def test_paths_hold_on_every_machine_or_are_refused(tmp_path: Path) -> None:
    asked = measure.Asked(
        config=tmp_path / "a" / "sweep.toml", options={"weights": str(tmp_path / "net.pt")}
    )
    inside = fleet._inside(asked, tmp_path)
    assert inside.config == Path("a/sweep.toml")
    assert inside.options["weights"] == "net.pt"
    with pytest.raises(FleetError, match=r"--config .*sweep\.toml: lies outside of"):
        fleet._inside(asked, tmp_path / "b")
    nothing = fleet._inside(measure.Asked(options={"seed": 1}), tmp_path)
    assert (nothing.config, nothing.options) == (None, {"seed": 1, "weights": None})


def test_a_unit_has_the_flags_but_not_where_they_are_written() -> None:
    asked = measure.Asked(subjects=("net:make",), axes={"batch": ("1", "8")}, quick=True)
    fields = unit.asked_fields(asked)
    assert fields["subjects"] == ("net:make",)
    assert fields["axes"] == {"batch": ("1", "8")}
    assert fields["quick"] is True
    assert fields.keys().isdisjoint({"out", "resume", "shard", "known", "list_only"})
