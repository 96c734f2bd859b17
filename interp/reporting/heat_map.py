"""A heat map over tokens: each token of a text on a colour that says how it reads, as HTML.

A page of its own, or a piece for a notebook. Nothing is loaded and no script runs: radio buttons
choose the emotion. Orange with a solid line is above the neutral texts, blue with a dotted line
below, so that the sign is told by more than a colour; the numbers appear when a token is pointed
at. Colours are laid over the page's own, light or dark.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd

MOST_TEXTS = 100
"""Texts that are shown, at most; the table has all of them."""

_TOLD = ("share", "percentile", "probability")
"""What a token's numbers are of, in the order in which they are told."""

FULL = 1.5
"""The share whose colour is full: one and a half natural lengths."""

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Reading</title>
<meta name="viewport" content="width=device-width"><style>:root{{color-scheme:light dark}}
body{{font:16px/1.7 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1.25rem;
background:Canvas;color:CanvasText}}</style></head><body><h1>How each token reads</h1>{piece}
</body></html>
"""

_STYLE = """<style>.{k} p{{margin:.5rem 0 1rem;line-height:2;white-space:pre-wrap}}
.{k} .notes{{font-size:.85rem;line-height:1.5;overflow-wrap:anywhere}}.{k} .panel{{display:none}}
.{k} b{{font-weight:600;font-size:.8rem;opacity:.75}}.{k} label{{margin-right:1rem}}
.{k} span{{padding:.15em 0;cursor:help}}
.{k} .up{{background:rgb(213 94 0/calc(var(--a)*.6));
border-bottom:2px solid rgb(213 94 0/var(--a))}}
.{k} .low{{background:rgb(0 114 178/calc(var(--a)*.6));
border-bottom:2px dotted rgb(0 114 178/var(--a))}}{chosen}</style>"""


def heat_map(
    frame: pd.DataFrame,
    emotions: Sequence[str],
    *,
    zero: str,
    notes: Sequence[str] = (),
    page: bool = True,
) -> str:
    """The tokens of `frame` (columns `id`, `turn`, `role`, `token`, `piece`, and of each emotion E
    `share_E`, `percentile_E` and `probability_E`) coloured by share, or by percentile where there
    is no share.

    `zero` says what a share of 0 is the mean of; `notes` stand above. All of it is escaped: texts
    come from anywhere.
    """
    texts = _texts(frame)
    shown, left = texts[:MOST_TEXTS], len(texts) - MOST_TEXTS
    told = [*notes, *([f"{left} more texts are not shown."] if left > 0 else [])]
    panels = "".join(_panel(shown, emotion) for emotion in emotions)
    key = f"read-{hashlib.sha256((panels + str(page)).encode()).hexdigest()[:10]}"
    choices = "".join(
        f'<input type="radio" name="{key}" id="{key}-{at}"{" checked" if at == 0 else ""}>'
        f'<label for="{key}-{at}">{escape(emotion)}</label>'
        for at, emotion in enumerate(emotions)
    )
    chosen = "".join(
        f".{key} #{key}-{at}:checked~.panel:nth-of-type({at + 1}){{display:block}}"
        for at in range(len(emotions))
    )
    lines = "<br>".join(map(escape, [*told, _legend(zero)]))
    piece = (
        f'{_STYLE.format(k=key, chosen=chosen)}<section class="{key}">'
        f'<p class="notes">{lines}</p>{choices}{panels}</section>'
    )
    return _PAGE.format(piece=piece) if page else piece


def _legend(zero: str) -> str:
    return (
        f"Orange, solid line: above the mean of {zero}; blue, dotted line: below. The "
        f"colour is full at {FULL:g} natural lengths. Point at a token for its numbers."
    )


def _texts(frame: pd.DataFrame) -> list[list[dict[Any, Any]]]:
    """The rows of each text; a new one begins where the id changes or tokens begin again."""
    found: list[list[dict[Any, Any]]] = []
    for row in frame.to_dict("records"):
        last = found[-1][-1] if found else None
        if last is None or last["id"] != row["id"] or row["token"] <= last["token"]:
            found.append([])
        found[-1].append(row)
    return found


def _panel(texts: Sequence[Sequence[Mapping[Any, Any]]], emotion: str) -> str:
    body = "".join(f"<p>{''.join(_tokens(rows, emotion))}</p>" for rows in texts)
    return f'<div class="panel">{body}</div>'


def _tokens(rows: Sequence[Mapping[Any, Any]], emotion: str) -> Iterator[str]:
    yield f"<b>{escape(str(rows[0]['id']))}</b>  "
    turn = rows[0]["turn"] if rows[0]["role"] else None
    if turn is not None:
        yield f"<b>{escape(str(rows[0]['role']))}:</b> "
    for row in rows:
        piece = str(row["piece"])
        if turn is not None and row["turn"] != turn:
            turn = row["turn"]
            yield f"<br><b>{escape(str(row['role']))}:</b> "
            piece = piece.lstrip("\n")
        share, percentile = row[f"share_{emotion}"], row[f"percentile_{emotion}"]
        colour = (percentile - 50) / 50 if math.isnan(share) else share / FULL
        side = "up" if colour >= 0 else "low"
        units = (f"{name} {_number(row[f'{name}_{emotion}'])}" for name in _TOLD)
        told = f"{emotion}: {', '.join(units)}"
        alpha = 0.0 if math.isnan(colour) else min(abs(colour), 1.0)
        yield (
            f'<span class="{side}" style="--a:{alpha:.2f}" title="{escape(told)}, token '
            f'{row["token"]}">{escape(piece)}</span>'
        )


def _number(value: float) -> str:
    return "none" if math.isnan(value) else f"{value:.3g}"
