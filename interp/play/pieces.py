"""Pieces of the page as HTML. All of it is escaped: texts come from anywhere."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from matplotlib.figure import Figure

from interp.play.desk import Continuations, Desk, by_layer
from interp.play.pictures import last_token_curves, surely, token_map
from interp.reporting.figures import as_bytes
from interp.reporting.formatting import number, visible
from interp.study.sentence import PRICE, told_price

NO_PICTURE = (
    "There is no picture: at no layer is the length of a direction, measured on held-out "
    "scenarios, surely above zero."
)


def told_lines(lines: Sequence[str]) -> str:
    """What is to be known, a paragraph each."""
    return "".join(f'<p class="told">{_shown(line)}</p>' for line in lines)


def told_error(error: Exception) -> str:
    """Why something was not done."""
    return f'<p class="told wrong" role="alert">{_shown(str(error))}</p>'


def side_by_side_texts(written: Continuations) -> str:
    """The texts of all arms side by side, or one below the other where the page is narrow, with
    what they cost and what they were written under.
    """
    sides = "".join(
        f"<section><h3>{escape(row['arm'])}</h3><p>{_shown(row['text'].strip())}</p></section>"
        for row in written.rows
    )
    prices = [told_price(row) for row in written.rows if "perplexity" in row]
    table = table_of(prices) + told_lines([PRICE]) if prices else ""
    return f'<div class="sides">{sides}</div>{told_lines(written.told)}{table}'


def table_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of equal columns, in a frame that scrolls where the page is narrow."""
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in rows[0])
    body = "".join(
        f"<tr>{''.join(f'<td>{_cell(value)}</td>' for value in row.values())}</tr>" for row in rows
    )
    return f'<div class="scroll" tabindex="0"><table><tr>{heads}</tr>{body}</table></div>'


def token_pictures(desk: Desk, text: str, emotion: str) -> str:
    """The text at every layer: a map of its tokens along one emotion, and its last token along all
    of them.
    """
    table = surely(by_layer(desk, desk.read(text)))
    own = table[table["emotion"] == emotion]
    if table["value"].isna().all():
        return told_lines([NO_PICTURE])
    found = ""
    if own["value"].notna().any():
        alt = f"Map of layers and tokens: the share of {emotion}. {summary(table, emotion)}"
        found = as_image(token_map(table, emotion), alt)
    else:
        found = told_lines([f"{emotion}: {NO_PICTURE}"])
    alt = "Curves by layer: the share of each emotion at the text's last token."
    return found + as_image(last_token_curves(table), alt)


def summary(table: Any, emotion: str) -> str:
    """Where in the map the highest share is, for whoever does not see it."""
    own = table[table["emotion"] == emotion]
    top = own.loc[own["value"].idxmax()]
    return f"Highest at layer {top['layer']}, token {top['piece'].strip()!r}: {top['value']:.2g}."


def as_image(figure: Figure, alt: str) -> str:
    """A figure in a frame that scrolls where the page is narrow."""
    data = base64.b64encode(as_bytes(figure, "svg")).decode("ascii")
    source = f"data:image/svg+xml;base64,{data}"
    return f'<div class="scroll" tabindex="0"><img alt="{escape(alt)}" src="{source}"></div>'


def _shown(text: str) -> str:
    return "<br>".join(escape(visible(line)) for line in text.split("\n"))


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return number(value) if isinstance(value, float) else _shown(str(value))
