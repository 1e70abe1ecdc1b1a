"""The sides of a comparison, their folders, and code of another side that ran instead."""

import os
import shutil
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.ab import worktrees
from bench.ab.variants import Side, SideError, bring, lacks, opened, parse, unproven
from bench.core.protocol import Proof
from bench.host import git as host_git
from bench.host.environment import no_commit
from tests.support.git import git


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two commits of net.py, and uncommitted work on it."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    for text in ("first", "second"):
        (folder / "net.py").write_text(f"{text!r}\n")
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "-m", text)
    (folder / "net.py").write_text("'uncommitted'\n")
    return folder


def test_settings_may_be_several_and_their_values_may_hold_commas(tmp_path: Path) -> None:
    a, b = parse("amp=off,input=3,32,32", "input=3,64,64,amp=bfloat16", tmp_path)
    assert (a.kind, a.settings) == ("settings", {"amp": "off", "input": "3,32,32"})
    assert b.settings == {"input": "3,64,64", "amp": "bfloat16"}


def test_an_interpreter_is_taken_by_its_path(tmp_path: Path) -> None:
    a, b = parse(f"python={sys.executable}", f"python={sys.executable}", tmp_path)
    assert (a.kind, b.place.python) == ("python", sys.executable)


@pytest.mark.slow
def test_revisions_become_commits_and_the_working_tree_says_whether_it_differs(
    repository: Path,
) -> None:
    first = git(repository, "rev-parse", "HEAD~1")
    a, b = parse("HEAD~1", ".", repository)
    assert (a.commit, a.changes) == (first, None)
    assert a.shown == f"HEAD~1 ({first[:8]})"
    assert b.changes is not None
    assert b.shown.endswith("and uncommitted work)")


@pytest.mark.slow
def test_a_branch_may_have_the_sign_of_a_setting_in_its_name(repository: Path) -> None:
    for name in ("feat=1", "amp=off"):
        git(repository, "branch", name, "HEAD~1")
    first = git(repository, "rev-parse", "HEAD~1")
    a, b = parse("feat=1", "refs/heads/amp=off", repository)
    assert (a.kind, a.commit) == ("revision", first)
    assert (b.kind, b.commit) == ("revision", first)
    a, _ = parse("amp=off", "amp=bfloat16", repository)
    assert a.kind == "settings"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ("nowhere", ".", "nowhere: the repository has no such revision"),
        ("--upload-pack=x", ".", "'--upload-pack' is not an axis"),
        ("-x", ".", "'-x' is not a side"),
        ("amp=of", "amp=off", "amp is 'of'; expected one of off, bfloat16, float16"),
        ("ampp=off", "amp=off", "'ampp' is not an axis"),
        ("amp=off", "compile=off", "set different axes"),
        ("amp=off", ".", "both sides must be of the same kind"),
        ("python=/nowhere/python", "python=python3", "no interpreter there"),
    ],
)
def test_what_is_no_side_is_refused_in_one_line(
    repository: Path, a: str, b: str, said: str
) -> None:
    with pytest.raises(SideError) as caught:
        parse(a, b, repository)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_outside_a_repository_there_are_no_revisions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(SideError, match="main: this is not a git repository"):
        parse("main", ".", tmp_path)


@pytest.mark.slow
def test_each_revision_has_its_own_tree_and_uncommitted_work_stays(repository: Path) -> None:
    before = git(repository, "status", "--porcelain")
    with opened(*parse("HEAD~1", ".", repository), repository) as (a, b):
        assert a.tree is not None
        assert (a.tree / "net.py").read_text() == "'first'\n"
        assert b.tree == repository
        assert (repository / "net.py").read_text() == "'uncommitted'\n"
        assert a.place.path[0] == a.tree == a.place.folder
    assert git(repository, "status", "--porcelain") == before
    assert (repository / "net.py").read_text() == "'uncommitted'\n"


@pytest.mark.slow
def test_worktrees_are_gone_however_it_ends_and_those_of_others_stay(
    repository: Path, tmp_path: Path
) -> None:
    git(repository, "worktree", "add", "--detach", "--quiet", str(tmp_path / "theirs"), "HEAD")
    (tmp_path / "theirs").rename(tmp_path / "moved")  # `git worktree prune` would forget it
    before = git(repository, "worktree", "list")
    made: list[Path] = []

    def interrupted() -> None:
        with opened(*parse("HEAD~1", "HEAD", repository), repository) as both:
            made.extend(path for side in both for path in side.place.path[:1])
            assert all(path.exists() for path in made)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert git(repository, "worktree", "list") == before
    assert not any(path.exists() for path in made)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_worktrees_are_gone_though_a_second_signal_comes_while_they_are_removed(
    repository: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    kept = host_git.git

    def hurried(folder: Path, *arguments: str, **more: Any) -> str:
        if arguments[:2] == ("worktree", "remove"):
            os.kill(os.getpid(), number)
        return kept(folder, *arguments, **more)

    made: list[Path] = []
    before = signal.signal(number, signal.default_int_handler)
    try:
        with opened(*parse("HEAD~1", "HEAD", repository), repository) as both:
            made.extend(path for side in both for path in side.place.path[:1])
            monkeypatch.setattr(worktrees, "git", hurried)
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)
    assert len(git(repository, "worktree", "list").splitlines()) == 1
    assert not any(path.exists() for path in made)


@pytest.mark.slow
def test_git_removes_a_worktree_where_no_key_reaches_it(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands, seen = tmp_path / "commands", tmp_path / "seen"
    commands.mkdir()
    (commands / "git").write_text(
        f"#!/bin/sh\necho $1 $2 $(cut -d' ' -f6 /proc/$$/stat) >> {seen}\n"
        f'exec {shutil.which("git")} "$@"\n'
    )
    (commands / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    with opened(*parse("HEAD~1", "HEAD", repository), repository):
        pass
    removals = [line.split()[2] for line in seen.read_text().splitlines() if " remove " in line]
    assert len(removals) == 2  # one try a side
    assert str(os.getsid(0)) not in removals


@pytest.mark.slow
def test_worktrees_of_a_comparison_that_was_killed_are_forgotten_where_they_are_gone(
    repository: Path, tmp_path: Path
) -> None:
    gone, there, theirs = (tmp_path / name for name in ("bench-ab-1", "bench-ab-2", "theirs"))
    for folder in (gone, there, theirs):
        git(repository, "worktree", "add", "--detach", "--quiet", str(folder / "A"), "HEAD")
    shutil.rmtree(gone)
    shutil.rmtree(theirs)
    with opened(*parse("HEAD~1", "HEAD", repository), repository):
        listed = git(repository, "worktree", "list")
        assert str(gone) not in listed
    listed = git(repository, "worktree", "list")
    assert str(there) in listed  # perhaps it runs
    assert str(theirs) in listed


@pytest.mark.slow
def test_what_is_left_of_a_worktree_that_was_not_finished_is_removed(repository: Path) -> None:
    """git locks it while it makes it, and one that is killed leaves the lock."""
    with opened(*parse("HEAD~1", "HEAD", repository), repository) as (a, _):
        git(repository, "worktree", "lock", "--reason", "initializing", str(a.tree))
    assert len(git(repository, "worktree", "list").splitlines()) == 1


@pytest.mark.slow
def test_in_a_hook_of_git_the_users_index_stays_as_it_is(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """git starts a hook with the index of the commit that is being made."""
    (repository / "new.py").write_text("1\n")
    git(repository, "add", ".")
    before = git(repository, "status", "--porcelain")
    assert before.splitlines() == ["M  net.py", "A  new.py"]
    monkeypatch.setenv("GIT_INDEX_FILE", str(repository / ".git" / "index"))
    monkeypatch.setenv("GIT_DIR", str(repository / ".git"))
    with opened(*parse("HEAD~1", ".", repository), repository) as (a, _):
        assert a.tree is not None
        assert (a.tree / "net.py").read_text() == "'first'\n"
    monkeypatch.delenv("GIT_INDEX_FILE")
    monkeypatch.delenv("GIT_DIR")
    assert git(repository, "status", "--porcelain") == before


@pytest.mark.slow
def test_a_src_layout_in_a_folder_of_the_repository_is_on_the_path(repository: Path) -> None:
    inside = repository / "part" / "src"
    inside.mkdir(parents=True)
    with opened(*parse(".", ".", repository), repository / "part") as (a, _):
        assert inside in a.place.path


@pytest.mark.slow
def test_a_folder_that_a_revision_lacks_is_named(repository: Path) -> None:
    (repository / "new").mkdir()
    with (
        pytest.raises(SideError, match=r"HEAD~1: has no folder new"),
        opened(*parse("HEAD~1", ".", repository / "new"), repository / "new"),
    ):
        pass
    assert len(git(repository, "worktree", "list").splitlines()) == 1


A = Side(name="A", asked="main", kind="revision", tree=Path("/trees/A"))
B = Side(name="B", asked=".", kind="revision", tree=Path("/repository"))


def proof(subject: str | None, *files: str, packages: Mapping[str, str] | None = None) -> Proof:
    return Proof(subject=subject, files=files, packages=packages or {})


@pytest.mark.slow
def test_a_subject_from_its_own_tree_is_proven() -> None:
    own = proof("/trees/A/net.py", "/trees/A/net.py", "/elsewhere/other.py")
    assert unproven(A, B, own) is None


@pytest.mark.parametrize("subject", ["/repository/net.py", "/lib/net.py", None])
def test_a_subject_from_elsewhere_would_be_the_same_on_both_sides(subject: str | None) -> None:
    said = unproven(A, B, proof(subject))
    assert said is not None
    assert said.startswith("main: the subject was imported from")
    assert "give a subject of this repository (--subject, or bench.toml)" in said


@pytest.mark.slow
def test_a_module_of_the_other_tree_behind_the_subject_is_found() -> None:
    files = ["/repository/layers.py", "/trees/A/net.py"]
    said = unproven(A, B, proof("/trees/A/net.py", *files))
    assert said is not None
    assert said.startswith("main: /repository/layers.py was imported as well")


@pytest.mark.slow
def test_a_package_of_the_revision_that_is_installed_as_well_is_found(repository: Path) -> None:
    (repository / "python/mylib").mkdir(parents=True)
    (repository / "python/mylib/__init__.py").write_text("")
    git(repository, "add", ".")
    side = replace(A, tree=repository)

    def problem(file: str, below: str = "mylib/__init__.py") -> str | None:
        net = f"{repository}/net.py"
        return unproven(side, B, Proof(subject=net, files=(net,), packages={below: file}))

    assert problem(f"{repository}/python/mylib/__init__.py") is None
    assert problem("/site-packages/numpy/__init__.py", "numpy/__init__.py") is None
    assert problem("/site-packages/mylib/__init__.py") == (
        "main: /site-packages/mylib/__init__.py was imported, and not python/mylib/__init__.py of "
        "the revision: the installed package would run on both sides; start in python, which then "
        "comes before installed packages, or uninstall it"
    )


def test_settings_need_no_proof_of_their_code() -> None:
    one = Side(name="A", asked="amp=off", kind="settings")
    assert unproven(one, one, proof(None)) is None


@pytest.mark.slow
def test_a_hook_that_fails_after_a_good_checkout_stops_nothing(repository: Path) -> None:
    hook = repository / ".git/hooks/post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    with opened(*parse("HEAD~1", ".", repository), repository) as (a, _):
        assert a.tree is not None
        assert (a.tree / "net.py").read_text() == "'first'\n"


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="a repository can be given away by root alone")
def test_a_repository_of_another_user_is_told_how_it_becomes_readable(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(variable, os.devnull)
    for path in (repository, repository / ".git"):
        os.chown(path, 1234, 1234)
    mend = f"git config --global --add safe.directory {repository}"
    with pytest.raises(SideError) as caught:
        parse("main", ".", repository)
    assert str(caught.value) == (
        f"main: the repository {repository} belongs to another user; if you trust it: {mend}"
    )
    why = no_commit(repository)
    assert why is not None
    assert why.endswith(mend)


@pytest.mark.slow
def test_what_git_ignores_comes_from_the_working_tree_where_it_is_python(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository)
    (repository / ".gitignore").write_text("_version.py\n*.so\n")
    git(repository, "add", ".gitignore")
    git(repository, "commit", "--quiet", "-m", "third")
    (repository / "_version.py").write_text("version = 1\n")
    (repository / "fast.so").touch()
    with opened(*parse("HEAD", ".", repository), repository) as (a, b):
        assert bring(a, ["_version", "nowhere", "fast"]) == ["_version.py"]
        assert a.tree is not None
        assert (a.tree / "_version.py").read_text() == "version = 1\n"
        assert bring(a, ["_version"]) == []
        assert bring(b, ["_version"]) == []
        assert lacks(a, "fast").startswith(" (fast.so is ignored by git, so the revision lacks it")
        assert lacks(a, "nowhere") == ""


@pytest.mark.slow
def test_why_no_commit_is_known_is_said(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert no_commit(repository) is None
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (tmp_path / "plain").mkdir()
    assert no_commit(tmp_path / "plain") == "this is not a git repository"
    git(tmp_path / "plain", "init", "--quiet")
    assert no_commit(tmp_path / "plain") == "the repository has no commit yet"
