"""Small tables in HTML, for notebooks."""

from collections.abc import Sequence
from html import escape


def table(
    title: str, head: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str] = ()
) -> str:
    """Return a table of texts with its title above and its notes below."""
    columns = "".join(f"<th>{escape(one)}</th>" for one in head) if any(head) else ""
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    below = "".join(f"<div><small>{escape(one)}</small></div>" for one in notes)
    top = f"<thead><tr>{columns}</tr></thead>" if columns else ""
    return f"<div><b>{escape(title)}</b><table>{top}<tbody>{body}</tbody></table>{below}</div>"
