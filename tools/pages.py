"""Pages of the documentation that are made from the code.

`tools/site_hooks.py` puts them into the site, so they cannot be out of date.
"""

import inspect
import re
from typing import Any

from typer.main import get_command

from bench.cli import app
from bench.core.axes import AXES, Axis
from bench.plan.config import RunOptions, Sweep
from tools import columns

COMMANDS_HEAD = """\
# Commands

This page is made from the command line itself. `bench COMMAND --help` prints the same.
"""


def pages() -> dict[str, str]:
    """Return the generated pages by their path below the folder of the docs."""
    return {
        "reference/commands.md": commands(),
        "reference/toml.md": toml_keys(),
        "reference/columns.md": columns.text(),
    }


def commands() -> str:
    """Return the page of all commands, with their flags as the command line has them."""
    found: Any = get_command(app)
    parts = [COMMANDS_HEAD]
    axes = {axis.name for axis in AXES}
    for name, one in sorted(found.commands.items()):
        if one.hidden:
            continue
        arguments = [p for p in one.params if p.param_type_name == "argument"]
        usage = " ".join(["bench", name, "[flags]", *(p.metavar or p.name for p in arguments)])
        parts.append(f"## {name}\n\n{_help(one.help)}\n\n```\n{usage}\n```\n")
        rows: list[tuple[str, str]] = [
            (f"`{p.metavar or p.name}`", p.help or "") for p in arguments
        ]
        options = [p for p in one.params if p.param_type_name == "option" and p.name not in axes]
        rows += [(_flag(p), p.help or "") for p in options if not p.hidden and p.name != "help"]
        if rows:
            parts.append(_table(("flag", "meaning"), rows))
        if any(p.name in axes for p in one.params):
            parts.append("The [axes](#axes) are flags as well.\n")
    rows = [(f"`{axis.flag}`", _axis(axis)) for axis in AXES]
    parts.append("## Axes\n\nAn axis is a setting of a case. Each flag can be repeated.\n")
    parts.append(_table(("flag", "meaning"), rows))
    return "\n".join(parts)


def _help(text: str | None) -> str:
    return inspect.cleandoc(text or "").replace("<", "&lt;")


def _flag(parameter: Any) -> str:
    metavar = "" if parameter.is_flag else f" {parameter.metavar or 'VALUE'}"
    return "`" + ", ".join(parameter.opts) + metavar + "`"


def _axis(axis: Axis) -> str:
    values = f" One of {', '.join(f'`{value}`' for value in axis.values)}." if axis.values else ""
    example = f" For example `{axis.example}`." if axis.example else ""
    default = f" Default: `{axis.default}`." if axis.default else ""
    return f"{axis.help}.{values}{example}{default}"


def toml_keys() -> str:
    """Return the page of the keys of bench.toml, made from the models that read it."""
    axes = [(f"`{axis.name}`", _axis(axis) + " A value or a list of values.") for axis in AXES]
    return "\n".join(
        [
            "# Keys of bench.toml",
            "",
            "This page is made from the models that read the file. An unknown key is refused.",
            "",
            "## `[run]`",
            "",
            _table(("key", "default", "meaning"), _fields(RunOptions)),
            "## `[[sweep]]`",
            "",
            "Every combination of the values is a case.",
            "",
            _table(("key", "default", "meaning"), _fields(Sweep)),
            "### Axes of a sweep",
            "",
            _table(("key", "meaning"), axes),
        ]
    )


def _fields(model: Any) -> list[tuple[str, ...]]:
    comments = _comments(model)
    found: list[tuple[str, ...]] = []
    for name, field in model.model_fields.items():
        key = field.alias or name
        if key.startswith("["):
            continue
        default = field.get_default(call_default_factory=True)
        shown = "" if default is None else f"`{default}`"
        found.append((f"`{key}`", shown, field.description or comments.get(name, "")))
    return found


def _comments(model: Any) -> dict[str, str]:
    """Return the comment of each field in the source: beside it, or in the lines above it."""
    found: dict[str, str] = {}
    above: list[str] = []
    for line in inspect.getsource(model).splitlines():
        text = line.strip()
        if text.startswith("#"):
            above.append(text.lstrip("# "))
            continue
        field = re.match(r"(\w+): [^#]*(?:#\s*(.*))?$", text)
        if field and line.startswith("    ") and not line.startswith("     "):
            found[field[1]] = field[2] or " ".join(above)
        above = []
    return found


def _table(head: tuple[str, ...], rows: list[Any]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = [_cell(str(cell)) for cell in row]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Return the text in one line, with `<` escaped outside of code."""
    parts = " ".join(text.split()).replace("|", "\\|").split("`")
    return "`".join(
        part if number % 2 else part.replace("<", "&lt;") for number, part in enumerate(parts)
    )
