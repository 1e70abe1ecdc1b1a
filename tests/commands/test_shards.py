"""The shards of `bench run`, and the messages of `bench merge`."""

from pathlib import Path
from typing import Any

import pytest

from bench.commands import merge
from bench.commands import run as measure
from bench.core.errors import UserError
from bench.core.records import Failure
from bench.core.shard import WHOLE, Shard
from bench.plan import config
from bench.plots import draw
from tests.support import shards
from tests.support.cases import case
from tests.support.results import measurement
from tests.support.shards import shard


@pytest.fixture(autouse=True)
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take a second each, and no figure is in them."""
    monkeypatch.setattr(draw, "draw", lambda _: [])


def settings(**options: Any) -> config.Config:
    return config.load(config.DEFAULT, **options)


def test_a_shard_has_its_replicates_and_adds_none_for_precision() -> None:
    one, whole = measure._sharded("2/4", settings(replicates=6, budget_s=60.0))
    assert (one, whole.run.replicates, whole.run.most_replicates) == (Shard(2, 4), 6, 6)
    own = measure.own_options(whole.run, one)
    assert (own.replicates, own.most_replicates) == (2, 2)
    assert measure.own_options(whole.run, Shard(4, 4)).replicates == 1
    assert measure.own_options(settings().run, WHOLE) == settings().run


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("5/4", "--shard is '5/4'; expected i/n with i from 1 to n"),
        ("6/8", "--shard 6/8: a shard takes whole replicates, and the run has 5; make 5 shards"),
    ],
)
def test_a_shard_without_replicates_is_refused(text: str, says: str) -> None:
    with pytest.raises(UserError) as told:
        measure._sharded(text, settings())
    assert str(told.value).startswith(says)


def test_merging_prints_the_run_and_names_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = shard(tmp_path / "s1", 1, 3), shard(tmp_path / "s3", 3, 3)
    assert merge.run([first, second], tmp_path / "run") == 4
    told = capsys.readouterr().out
    assert "shards 1, 3 of 3, measured by 1 machine" in told
    assert "shard 2 of 3 is missing, so these figures have fewer replicates" in told
    assert "--shard 2/3" in told
    assert (tmp_path / "run" / "measurements.csv").exists()


def test_a_shard_that_was_cut_short_is_named_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that was given up by itself lacks nothing."""
    cases = [case(), case(batch=1)]
    final = Failure(case=cases[1], replicate=0, status="oom", reason="memory")
    for index, entries in ((1, [measurement(cases[0], 0, 1.0)]), (2, [])):
        document = shards.described(
            config__replicates=4, cases=[one.as_dict() for one in cases]
        ) | {"shard": {"index": index, "count": 2, "plan": "p"}}
        shards.write(tmp_path / "in" / str(index), [*entries, final], document)
    assert merge.run([tmp_path / "in"], tmp_path / "run") == 0
    told = " ".join(capsys.readouterr().out.split())
    for index, lacking in ((1, "1 outcome,"), (2, "2 outcomes,")):
        path = tmp_path / "in" / str(index)
        assert f"shard {index}/2 lacks {lacking}" in told.replace(str(path), "")
    assert "bench run --resume" in told


def test_a_whole_shard_has_no_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = shards.described(config__replicates=1, cases=[case().as_dict()])
    document["shard"] = {"index": 1, "count": 1, "plan": "p"}
    path = shards.write(tmp_path / "in", [measurement(case(), 0, 1.0)], document)
    assert merge.run([path], tmp_path / "run") == 0
    assert "lacks" not in capsys.readouterr().out


def test_merging_all_shards_of_two_kinds_makes_a_run_for_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [
        shard(tmp_path / "s1", 1, 2),
        shard(tmp_path / "s2", 2, 2, machine__machine_id="other"),
        shard(tmp_path / "again", 1, 2),
    ]
    assert merge.run(paths, tmp_path / "run") == 0
    told = capsys.readouterr().out
    assert "2 kinds of machine: each is a run of its own" in told
    assert "again: shard 1/2 is given more than once, and counts once" in told
    runs = sorted(one.parent.name for one in (tmp_path / "run").glob("*/measurements.csv"))
    assert len(runs) == 2


def test_a_folder_that_exists_is_not_written_to(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="exists already"):
        merge.run([shard(tmp_path / "s1", 1, 1)], tmp_path)
