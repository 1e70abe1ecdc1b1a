"""The two variants of `bench ab`: the place of their code, and the check that it is what ran.

A revision gets its own worktree in a temporary folder; the working tree is never changed.  Both
variants are measured with the same copy of the suite (`bench.start`).  On the import path, the
variant's tree comes after the standard library and before installed packages.
"""

import contextlib
import dataclasses
import functools
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bench.ab import worktrees
from bench.ab.own_packages import own_packages
from bench.core.axes import BY_NAME, AxisError
from bench.core.errors import UserError
from bench.core.near import did_you_mean
from bench.core.protocol import Proof
from bench.host.environment import git_state, refused_by_git
from bench.host.git import GitError, git, top_of
from bench.host.interpreter import HERE, Place

Kind = Literal["revision", "settings", "python"]
WORKING_TREE = "."
_SETTING = re.compile(rf",(?=(?:{'|'.join(BY_NAME)})=)")  # a value may contain commas
_HOW = "write a git revision, `.` for the working tree, axis=value, or python=PATH"


class SideError(UserError):
    """An argument is not a variant, or other code than the variant's ran.

    The message is one line.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One variant of a comparison."""

    name: str  # A or B
    asked: str
    kind: Kind
    settings: Mapping[str, str] = field(default_factory=dict)  # axis → value
    commit: str | None = None  # the commit of a revision, or HEAD of the working tree
    changes: str | None = None  # digest of the uncommitted changes of the working tree
    tree: Path | None = None  # the folder with the code of a revision
    place: Place = HERE

    @property
    def shown(self) -> str:
        """The name of the variant for messages and tables."""
        if self.kind != "revision" or not self.commit:
            return self.asked
        if self.asked == WORKING_TREE:
            return f". ({self.commit[:8]}{' and uncommitted work' if self.changes else ''})"
        return (
            self.asked
            if self.commit.startswith(self.asked)
            else f"{self.asked} ({self.commit[:8]})"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the variant for ab.json, without its temporary place."""
        return {
            "asked": self.asked,
            "kind": self.kind,
            "settings": dict(self.settings),
            "commit": self.commit,
            "changes": self.changes,
            "python": self.place.python if self.kind == "python" else None,
        }


def parse(a: str, b: str, folder: Path | None = None) -> tuple[Side, Side]:
    """Parse the two arguments; no worktree is made yet.  Raises SideError."""
    folder = folder or Path.cwd()
    left, right = _parse("A", a, folder), _parse("B", b, folder)
    if left.kind != right.kind:
        raise SideError(
            f"{a} is a {left.kind}, {b} a {right.kind}: both sides must be of the same kind"
        )
    if set(left.settings) != set(right.settings):
        raise SideError(f"{a} and {b} set different axes: give each axis on both sides")
    return left, right


def _parse(name: str, text: str, folder: Path) -> Side:
    head, equals, value = text.partition("=")
    if equals and head == "python":
        found = shutil.which(value)
        if not found:
            raise SideError(f"{text}: no interpreter there; write e.g. python=/usr/bin/python3")
        # The link is not resolved, because a virtual environment is recognized by it.
        python = str(Path(found).absolute())
        return Side(name=name, asked=text, kind="python", place=Place(python=python))
    if equals and (head in BY_NAME or not _is_revision(text, folder)):
        return Side(name=name, asked=text, kind="settings", settings=_settings(text))
    if text == WORKING_TREE:
        state = git_state(folder)
        return Side(
            name=name,
            asked=text,
            kind="revision",
            commit=state["git_commit"],
            changes=state["git_changes"],
        )
    return Side(name=name, asked=text, kind="revision", commit=_commit(text, folder))


def _is_revision(text: str, folder: Path) -> bool:
    """Return whether a text is a revision, such as a branch named `feat=1`.

    A branch named like a setting has to be written `refs/heads/amp=off`.
    """
    with contextlib.suppress(SideError):
        return bool(_commit(text, folder))
    return False


def _settings(text: str) -> dict[str, str]:
    settings = {}
    for part in _SETTING.split(text):
        axis, _, value = part.partition("=")
        if axis not in BY_NAME:
            near = did_you_mean(axis, BY_NAME)
            raise SideError(
                f"{text}: {axis!r} is not an axis; expected one of {', '.join(BY_NAME)}{near}"
            )
        try:
            settings[axis] = BY_NAME[axis].check(value)
        except AxisError as error:
            raise SideError(f"{text}: {error}") from None
    return settings


def _commit(revision: str, folder: Path) -> str:
    if not revision or revision.startswith("-"):
        raise SideError(f"{revision!r} is not a side; {_HOW}")
    _refuse_unread(revision, folder)
    return _git(
        folder,
        "rev-parse",
        "--verify",
        "--quiet",
        f"{revision}^{{commit}}",
        why=f"{revision}: the repository has no such revision; {_HOW}{_if_shallow(folder)}",
    )


def _refuse_unread(revision: str, folder: Path) -> None:
    """Raise SideError if git cannot read a repository here."""
    try:
        git(folder, "rev-parse", "--git-dir", why="")
    except GitError as error:
        why = refused_by_git(error.stderr) or str(error)
        how = f"; {_HOW}" if "not a git repository" in why else ""
        raise SideError(f"{revision}: {why}{how}") from None


def _if_shallow(folder: Path) -> str:
    with contextlib.suppress(SideError):
        if _git(folder, "rev-parse", "--is-shallow-repository", why="") == "true":
            return " (the clone is shallow: git fetch --unshallow)"
    return ""


@contextlib.contextmanager
def opened(a: Side, b: Side, folder: Path | None = None) -> Iterator[tuple[Side, Side]]:
    """Make the places of both variants; worktrees are always removed afterwards.

    Raises SideError.
    """
    if a.kind == "settings":
        yield a, b
        return
    here = (folder or Path.cwd()).resolve()
    top = top_of(here)
    with worktrees.scratch(top) as scratch:
        yield placed(a, scratch / a.name, here, top), placed(b, scratch / b.name, here, top)


def opened_in(side: Side, tree: Path, folder: Path | None = None) -> Side:
    """Make the place of one revision.  Raises SideError.

    tree: the new worktree, in a folder of `worktrees.scratch`, which removes it.
    """
    here = (folder or Path.cwd()).resolve()
    return placed(side, tree, here, top_of(here))


def placed(side: Side, new: Path, here: Path, top: Path) -> Side:
    """Return the variant with its place; a revision gets a new worktree.

    new: the worktree that is made, in a folder of `worktrees.scratch`.
    here: the current directory, inside the repository `top`.

    Raises SideError.
    """
    if side.kind == "python":
        place = Place(python=side.place.python, folder=here)
        return dataclasses.replace(side, place=place)
    tree = top
    if side.asked != WORKING_TREE:
        tree = new
        _git(
            top, *worktrees.WITHOUT_HOOKS,
            "worktree", "add", "--detach", "--quiet", str(tree), str(side.commit),
            why=f"{side.asked}: git could not make a worktree of it",
        )  # fmt: skip
    inside = tree / here.relative_to(top)
    if not inside.is_dir():
        raise SideError(f"{side.asked}: has no folder {here.relative_to(top)}")
    path = dict.fromkeys((inside, inside / "src", tree, tree / "src"))
    return dataclasses.replace(side, tree=tree, place=Place(folder=inside, path=tuple(path)))


def bring(side: Side, modules: Sequence[str], folder: Path | None = None) -> list[str]:
    """Copy modules that git ignores, and that a revision lacks, from the working tree.

    Only Python files are copied, since a compiled file belongs to another revision.

    modules: names that the import of a subject does not find, such as `pkg._version`.

    Returns the paths of the copies, relative to the top of the repository.
    """
    brought = []
    for name in modules:
        for file, place in _ignored(side, name, folder):
            if file.suffix == ".py":
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, place)
                brought.append(place.relative_to(_tree(side)).as_posix())
    return brought


def lacks(side: Side, module: str, folder: Path | None = None) -> str:
    """Return a hint for a message if a file that git ignores is the missing module, else ""."""
    for _, place in _ignored(side, module, folder):
        return (
            f" ({place.relative_to(_tree(side))} is ignored by git, so the revision lacks it: "
            "install each revision into its own environment, and give python=PATH on both sides)"
        )
    return ""


def _ignored(side: Side, module: str, folder: Path | None) -> Iterator[tuple[Path, Path]]:
    """Yield the ignored files of a module in the working tree, with their place in the tree."""
    top = top_of(folder or Path.cwd())
    if side.tree in (None, top) or not all(part.isidentifier() for part in module.split(".")):
        return
    *parents, last = module.split(".")
    for root in side.place.path:
        inside = root.relative_to(_tree(side)).joinpath(*parents)
        for file in sorted((top / inside).glob(f"{last}.*")):
            place = _tree(side) / inside / file.name
            with contextlib.suppress(GitError):
                if not place.exists() and git(top, "check-ignore", str(file), why=""):
                    yield file, place


def _tree(side: Side) -> Path:
    assert side.tree is not None
    return side.tree


def unproven(side: Side, other: Side, proof: Proof) -> str | None:
    """Return the reason why the code that a process ran is not the side's own, or None."""
    if side.tree is None:
        return None
    subject = proof.subject
    if subject is None or not Path(subject).is_relative_to(side.tree):
        where = "nowhere" if subject is None else subject
        return (
            f"{side.asked}: the subject was imported from {where}, not from the revision's own "
            "tree, so that both sides would run the same code; give a subject of this repository "
            "(--subject, or bench.toml), or start in the folder that its package lies in, which "
            "then comes before what is installed"
        )
    foreign = _outside(proof.files, side, other)
    if foreign:
        return (
            f"{side.asked}: {foreign} was imported as well, which does not belong to this "
            "revision; is the package installed in editable mode?"
        )
    return _installed(side, proof.packages)


def _installed(side: Side, packages: Mapping[str, str]) -> str | None:
    """Return a message if an installed package ran instead of the variant's own, else None."""
    assert side.tree is not None
    for below, file in packages.items():
        if Path(file).is_relative_to(side.tree):
            continue
        if tracked := _own_packages(side.tree).get(below):
            root = tracked.removesuffix(below).rstrip("/") or "the top of the repository"
            return (
                f"{side.asked}: {file} was imported, and not {tracked} of the revision: the "
                f"installed package would run on both sides; start in {root}, which then comes "
                "before installed packages, or uninstall it"
            )
    return None


@functools.cache
def _own_packages(tree: Path) -> dict[str, str]:
    with contextlib.suppress(SideError):
        return own_packages(_git(tree, "ls-files", "-z", "*.py", why="").split("\0"))
    return {}


def _outside(files: Sequence[str], side: Side, other: Side) -> str | None:
    """Return the first file that belongs to the other side or to the working tree, or None."""
    assert side.tree is not None
    trees = [tree for tree in (other.tree, top_of(Path.cwd())) if tree not in (None, side.tree)]
    for file in map(Path, files):
        if not file.is_relative_to(side.tree) and any(
            tree is not None and file.is_relative_to(tree) for tree in trees
        ):
            return str(file)
    return None


def _git(folder: Path, *arguments: str, why: str) -> str:
    """Return the output of git.  Raises SideError with `why` and git's own message."""
    try:
        return git(folder, *arguments, why=why)
    except GitError as error:
        raise SideError(str(error)) from None
