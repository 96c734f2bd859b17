"""What a notebook shows of an object: a title and a table of two columns, as HTML."""

from collections.abc import Iterable
from html import escape


def as_html(title: str, rows: Iterable[tuple[str, object]]) -> str:
    """The title and one line per (name, value). All of it is escaped: texts come from anywhere."""
    lines = (f"<tr><th>{_safe(name)}</th><td>{_safe(value)}</td></tr>" for name, value in rows)
    return f"<strong>{_safe(title)}</strong><table>{''.join(lines)}</table>"


def _safe(value: object) -> str:
    return escape(str(value))
