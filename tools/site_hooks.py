"""Hooks of MkDocs: pages made from the code, and links that leave the folder of the docs.

`mkdocs build` calls these functions by their names.  The pages of the commands, of the keys of
bench.toml and of the columns are made here, so they cannot be out of date.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from tools import pages

ROOT = Path(__file__).parent.parent
PLOTS = ROOT / "results" / "example" / "plots"
EXAMPLE = ROOT / "build" / "example.html"  # `nox -s docs` makes it first
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")
# Pages whose source lies outside the folder of the docs.
MOVED = {"results/README.md": "reference/columns.md"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, and the plots of the example run."""
    for path, text in pages.pages().items():
        files.append(File.generated(config, path, content=text))
    for plot in sorted(PLOTS.glob("*.png")):
        files.append(File.generated(config, f"plots/{plot.name}", abs_src_path=str(plot)))
    if EXAMPLE.is_file():
        files.append(File.generated(config, "example.html", abs_src_path=str(EXAMPLE)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return the text of a page with links that work inside the site."""
    del config
    here = Path("docs") / page.file.src_uri

    def resolved(link: re.Match[str]) -> str:
        image, text, target, anchor = link[1], link[2], link[3], link[4] or ""
        if ":" in target:
            return link[0]
        path = _normal(here.parent / target)
        inside = MOVED.get(path) or path.removeprefix("docs/")
        if path.startswith("results/example/plots/"):
            inside = f"plots/{Path(path).name}"
        if files.get_file_from_path(inside):
            return f"{image}[{text}]({_relative(inside, page.file.src_uri)}{anchor})"
        return f"{text} (`{path}`)"

    return LINK.sub(resolved, markdown)


def _normal(path: Path) -> str:
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts = parts[:-1]
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


def _relative(target: str, page: str) -> str:
    return "../" * page.count("/") + target
