"""What run.json says of the code that was measured."""

from pathlib import Path

import pytest

from bench.commands import provenance
from bench.host import environment
from bench.host.probed import Device, Probe, Source
from tests.support.git import git


def probe(**files: Path) -> Probe:
    return Probe(
        torch="2.13.0",
        torch_details={},
        devices={"cpu": Device(name="cpu", shown="a CPU")},
        subjects={},
        sources={
            name.replace("_", " "): Source(file=str(one), digest="0123")
            for name, one in files.items()
        },
    )


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    for name in ("net.py", "made.py", "new.py", "net[w].py"):
        (folder / name).write_text("one = 1\n")
    (folder / ".gitignore").write_text("made.py\nw.pt\n")
    git(folder, "init", "--quiet")
    git(folder, "add", "net.py", "net[w].py", ".gitignore")
    (folder / "netw.py").touch()
    git(folder, "commit", "--quiet", "-m", "first")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.slow
def test_a_subject_in_a_file_that_git_does_not_have_is_an_uncommitted_change(
    repository: Path,
) -> None:
    around = environment.git_state(repository)
    assert around["git_dirty"] is False

    def dirty(**files: Path) -> object:
        return provenance.software(probe(**files), around)["git_dirty"]

    assert dirty(net=repository / "net.py", new=repository / "new.py") is True
    assert dirty(net=repository / "net.py") is False
    assert dirty(net=repository / "net[w].py") is False
    assert dirty(net=repository / "net.py", made=repository / "made.py") is False
    assert dirty(other=repository.parent / "elsewhere.py") is False
    assert dirty(weights_new=repository / "new.py") is False
    assert dirty() is False


@pytest.mark.slow
def test_changes_stay_changes_and_outside_of_a_repository_nothing_is_known(
    repository: Path,
) -> None:
    found = probe(new=repository / "new.py")
    assert provenance.software(found, {"git_dirty": True})["git_dirty"] is True
    assert provenance.software(found, {"git_dirty": None})["git_dirty"] is None
