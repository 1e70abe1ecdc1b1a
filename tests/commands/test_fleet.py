"""The files and settings that `bench fleet` sends to other machines."""

import os
from contextlib import nullcontext
from pathlib import Path

import pytest

from bench.commands import fleet, provenance, unit
from bench.commands import run as measure
from bench.core.exit_codes import INTERRUPTED
from bench.fleet import directories, journal, on_ray
from bench.fleet.driver import FleetError
from bench.host import environment, priority, probe


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


def test_a_fleet_that_another_driver_measures_is_not_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its journal and its run directories are left alone."""
    state = {"git_commit": "abc", "git_dirty": False, "git_changes": None}
    path = tmp_path / "fleet"
    directories.create(path, {"asked": {}, "versions": {}, "git": state, "units": 3})
    (path / journal.NAME).write_text("half a li", encoding="utf-8")
    monkeypatch.setattr(on_ray, "ray_module", lambda: None)
    monkeypatch.setattr(on_ray, "connected", lambda *_: nullcontext())
    monkeypatch.setattr(environment, "git_state", lambda _: state)
    monkeypatch.setattr(probe, "look", lambda *_: None)
    monkeypatch.setattr(provenance, "fixed", lambda _: {})
    monkeypatch.setattr(fleet, "versions_of", lambda _: {})
    held = directories.lock(path)
    with pytest.raises(FleetError, match="another `bench fleet` is writing here"):
        fleet.run(fleet.Asked(run=measure.Asked(), resume=path))
    os.close(held)
    assert (path / journal.NAME).read_text(encoding="utf-8") == "half a li"


def test_a_unit_that_was_interrupted_is_not_taken_for_a_whole_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(asked: measure.Asked, _console: object) -> measure.Ran:
        assert asked.out is not None
        asked.out.mkdir()
        (asked.out / "run.json").write_text("{}", encoding="utf-8")
        (asked.out / "journal.jsonl").write_text("", encoding="utf-8")
        return measure.Ran(asked.out, INTERRUPTED)

    monkeypatch.setattr(measure, "measured", interrupted)
    monkeypatch.setattr(priority, "undo_nice", lambda: None)
    known: dict[str, object] = {"static_metrics": (), "wrong": (), "calls": {}}
    asked = {"run": unit.asked_fields(measure.Asked()), "shard": "1/3", "known": known}
    assert unit.shard(asked) == {"error": "was interrupted before its end"}


def test_a_unit_has_the_flags_but_not_where_they_are_written() -> None:
    asked = measure.Asked(subjects=("net:make",), axes={"batch": ("1", "8")}, quick=True)
    fields = unit.asked_fields(asked)
    assert fields["subjects"] == ("net:make",)
    assert fields["axes"] == {"batch": ("1", "8")}
    assert fields["quick"] is True
    assert fields.keys().isdisjoint({"out", "resume", "shard", "known", "list_only"})
