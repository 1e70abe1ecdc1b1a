"""Run the commands of a tutorial, and put their output into its page.

    python -m tools.tutorials docs/tutorials/your-model.md

A block "```console" has a command after `$ ` and its output, which is replaced.  A block with
`title="FILE"` is written to FILE first.  All blocks of a page run in order, in one new folder,
which is a git repository.  Comments above a block: `<!-- commit: MESSAGE -->` commits the folder,
`<!-- last: N -->` and `<!-- first: N -->` keep so many lines of the output, and `<!-- exit: N -->`
allows this exit code.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(
    r"(?P<notes>(?:^<!-- [^\n]* -->\n)*)^```(?P<info>[^\n]*)\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
NOTE = re.compile(r"<!-- (\w+): ([^\n]*?) -->")
TITLE = re.compile(r'title="([^"]+)"')
LIMIT_S = 1200


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.  notes: the comments directly above it."""

    info: str
    body: str
    notes: dict[str, str]

    @property
    def commands(self) -> list[str]:
        """The commands of a console block; a line that ends in a backslash goes on."""
        text = self.body.replace("\\\n", " ")
        return [line[2:].strip() for line in text.splitlines() if line.startswith("$ ")]

    @property
    def file(self) -> str | None:
        found = TITLE.search(self.info)
        return found[1] if found else None


def blocks(page: str) -> Iterator[Block]:
    for found in BLOCK.finditer(page):
        yield Block(found["info"], found["body"], dict(NOTE.findall(found["notes"])))


def run(page: str, folder: Path) -> str:
    """Return the page with the output of its commands, which run in this folder."""
    _git(folder, "init", "--quiet", "--initial-branch=main")

    def replaced(found: re.Match[str]) -> str:
        block = Block(found["info"], found["body"], dict(NOTE.findall(found["notes"])))
        if block.file:
            path = folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.body, encoding="utf-8")
        if "commit" in block.notes:
            _git(folder, "add", "-A")
            _git(folder, "commit", "--quiet", "--allow-empty", "-m", block.notes["commit"])
        if not block.info.startswith("console"):
            return found[0]
        parts = [f"$ {one}\n{_output(one, folder, block.notes)}" for one in block.commands]
        return f"{found['notes']}```{block.info}\n{''.join(parts)}```"

    return BLOCK.sub(replaced, page)


def _output(command: str, folder: Path, notes: dict[str, str]) -> str:
    print(f"$ {command}", flush=True)
    words = re.sub(r"^(bench|pytest)\b", rf"{sys.executable} -m \1", command)
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        words, shell=True, cwd=folder, text=True, timeout=LIMIT_S, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "100"},
    )  # fmt: skip
    lines = [line.rstrip() for line in done.stdout.strip().splitlines()]
    if "last" in notes and len(lines) > int(notes["last"]):
        lines = ["…", *lines[-int(notes["last"]) :]]
    if "first" in notes and len(lines) > int(notes["first"]):
        lines = [*lines[: int(notes["first"])], "…"]
    if done.returncode not in (0, int(notes.get("exit", 0))):
        raise SystemExit(f"{command}: exit code {done.returncode}\n{done.stdout}")
    return "".join(f"{line}\n" for line in lines)


def _git(folder: Path, *arguments: str) -> None:
    own = ("-c", "user.name=you", "-c", "user.email=you@example.com")
    subprocess.run(["git", *own, *arguments], cwd=folder, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("pages", nargs="+", type=Path)
    for page in parser.parse_args().pages:
        with tempfile.TemporaryDirectory(prefix="tutorial-") as folder:
            text = run(page.read_text(encoding="utf-8"), Path(folder))
            page.write_text(text.replace(folder, "."), encoding="utf-8")


if __name__ == "__main__":
    main()
