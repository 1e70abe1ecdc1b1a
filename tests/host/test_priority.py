"""The priority of a process that measures."""

import os

import pytest

from bench.host import priority


def test_a_nice_process_becomes_a_normal_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[tuple[int, int, int]]()
    monkeypatch.setattr(os, "getpriority", lambda *_: 15)
    monkeypatch.setattr(os, "setpriority", lambda *given: asked.append(given))
    assert priority.undo_nice() is None
    assert asked == [(os.PRIO_PROCESS, 0, 0)]


def test_without_permission_it_says_how_to_start_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "getpriority", lambda *_: 15)
    monkeypatch.setattr(os, "setpriority", refuse)
    told = priority.undo_nice() or ""
    assert told.startswith("processes start at nice 15 there")
    assert told.endswith("start the node with RAY_worker_niceness=0")


def test_a_normal_or_a_favoured_process_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for nice in (0, -5):
        monkeypatch.setattr(os, "getpriority", lambda *_, nice=nice: nice)
        monkeypatch.setattr(os, "setpriority", lambda *_: pytest.fail("nothing was to be done"))
        assert priority.undo_nice() is None
