"""Tokens of texts in calibrated units: one forward pass, one row per token, per turn or per text.

Only tokens that belong to the text are read: what tokenizer and chat template write, and blanks,
are not. Directions are fitted at a text's last token; every other token is read with them all the
same, and nothing here says that a direction means there what it means at the end.

In many models a text's first token holds a stream that is tens of times as long as all others, on
which attention rests (a sink; Xiao et al. 2023). What such a token projects is hundreds of natural
lengths and means nothing: it gets no units, and no part in a mean.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.analysis.units import READINGS
from interp.capture.packing import budget_batches, longest_first
from interp.errors import DataError
from interp.models import LanguageModel
from interp.models.texts.chat import encode_prompts
from interp.models.texts.conversations import text_of, turns_of
from interp.models.texts.ends import content_positions, refuse_unembedded
from interp.models.texts.tokens import Tokens
from interp.sites import Site
from interp.study.reading.place import ReadAt
from interp.study.reading.texts import TextRow

BY = ("token", "turn", "text")
"""What a row of the result is."""

TOO_LONG = ("stop", "skip", "left", "right")
"""What becomes of a text that is longer than the model's context: an error, none of it is read, or
this end is cut.
"""

READ_AT_ONCE = 2048
"""Tokens of a batch, padding counted."""

SINK = 5.0
"""A token whose stream is longer than this many times that of the fitted texts is a sink."""

EXCERPT = 160
"""Characters of a text that its row repeats."""

DIGITS = 6


class ReadText(NamedTuple):
    """A text that was read: its row, its own characters, where its tokens stand in these, which of
    them are content, and the projections of the content on each direction (NaN at sinks).
    """

    row: TextRow
    text: str
    spans: Sequence[tuple[int, int]]
    content: Int[np.ndarray, " token"]
    projections: Float[np.ndarray, "token emotion"]


def read_rows(
    model: LanguageModel,
    place: ReadAt,
    rows: Sequence[TextRow],
    *,
    too_long: str = "stop",
    allow_special: bool = False,
) -> tuple[list[ReadText], dict[str, str]]:
    """The texts read, in order, and what was done with each one that is too long, by its place.

    Raises `DataError` naming a text that is too long (`too_long` "stop"), holds special tokens
    (unless allowed) or gives values that are not finite; else as `LanguageModel.encode`.
    """
    kept, encoded, told = [], [], {}
    for row, tokens in zip(rows, _uncut(model, rows, allow_special), strict=True):
        n, most = len(tokens.ids), model.dims.n_ctx
        if n <= most:
            kept.append(row)
            encoded.append(tokens)
        elif too_long == "stop":
            raise DataError(
                f"{row.where}: the text has {n} tokens and the context of {model.name} holds "
                f"{most} (n_ctx): shorten it, or say what becomes of such texts (--too-long "
                "skip|left|right)."
            )
        elif too_long == "skip":
            told[row.where] = f"not read: {n} tokens, and the context holds {most}"
        else:
            cut = model.encode(
                [row.prompt], ids=[row.where], truncate=too_long, allow_special=allow_special
            )
            kept.append(row)
            encoded += cut
            told[row.where] = f"{n - len(cut[0].ids)} of {n} tokens cut at the {too_long}"
    vectors = torch.from_numpy(place.vectors.astype(np.float32))
    names = [row.where for row in kept]
    found = project_texts(model, place.site, names, encoded, vectors)
    longest = SINK * max(one.stream_norm for one in place.directions.values())
    return [
        _content(row, tokens, x, longest)
        for row, tokens, x in zip(kept, encoded, found, strict=True)
    ], told


def _uncut(model: LanguageModel, rows: Sequence[TextRow], allow_special: bool) -> list[Tokens]:
    names = [row.where for row in rows]
    allowed = allow_special or model.reading.allow_special
    found = encode_prompts(
        model.tokenizer,
        model.chat,
        [row.prompt for row in rows],
        names=names,
        allow_special=allowed,
        open_turn=False,
    )
    refuse_unembedded(model.tokenizer, found, model.dims.d_vocab, names=names)
    return found


def _content(
    row: TextRow, tokens: Tokens, x: Float[np.ndarray, "token number"], longest: float
) -> ReadText:
    """The text with what its own tokens project; the last of a token's numbers is its norm."""
    text = text_of(row.prompt)
    content = content_positions(text, tokens.spans)
    if not np.isfinite(x[content]).all():
        raise DataError(
            f"{row.where}: the model's activations are not finite there: leave the text out, or "
            "make the run in float32."
        )
    projections = np.where(x[content, -1:] > longest, np.nan, x[content, :-1])
    return ReadText(row, text, tokens.spans, content, projections)


def project_texts(
    model: LanguageModel,
    site: Site,
    names: Sequence[str],
    encoded: Sequence[Tokens],
    vectors: Float[Tensor, "vector d_model"],
) -> list[Float[np.ndarray, "token number"]]:
    """What every token of every text projects on each of `vectors` at `site`, and its norm; of a
    batch nothing else is kept. `names` are the texts', in order.
    """
    ids = [tokens.ids for tokens in encoded]
    lengths = [len(one) for one in ids]
    order = longest_first(ids, names)
    held = [0] * len(ids)
    batches = budget_batches(lengths, held, order=order, token_budget=READ_AT_ONCE, most_bytes=1)
    found: list[np.ndarray] = [np.empty((0, 0))] * len(ids)
    for batch in batches:
        x = projected(model, site, [ids[at] for at in batch], vectors)
        for row, at in enumerate(batch):
            found[at] = x[row, : lengths[at]]
    return found


def projected(
    model: LanguageModel,
    site: Site,
    ids: Sequence[Sequence[int]],
    vectors: Float[Tensor, "vector d_model"],
) -> Float[np.ndarray, "text token number"]:
    """What every token of a batch projects on each of `vectors`, and its norm; padding means
    nothing. The model runs up to the site and no further.
    """
    kept: list[Tensor] = []

    def look(x: Tensor, hook: Any = None) -> None:
        x = x.float()
        kept.append(torch.cat([x @ vectors.to(x.device).T, x.norm(dim=-1, keepdim=True)], -1).cpu())

    hooks: list[tuple[str, Callable[..., None]]] = [(site.hook, look)]
    model.forward(model.pad(ids), hooks=hooks, stop_at_layer=site.layer + 1)
    (found,) = kept
    return found.double().numpy()


def frame_of(texts: Sequence[ReadText], place: ReadAt, *, by: str) -> pd.DataFrame:
    """The texts as rows by `token`, `turn` or `text`.

    Of each emotion E: `share_E`, `percentile_E` and `probability_E` (`interp.analysis.units`), of
    the token, or of the turn's or the text's last one; of turns and texts also `mean_share_E` and
    `peak_share_E` over their tokens.
    """
    make = {"token": _token_rows, "turn": _turn_rows, "text": _text_rows}[by]
    rows = [row for text in texts for row in make(text, place)]
    return pd.DataFrame(rows, columns=read_columns(place, by=by))


def read_columns(place: ReadAt, *, by: str) -> list[str]:
    """The columns of the rows by `by`."""
    start = {
        "token": ["id", "turn", "role", "token", "piece"],
        "turn": ["id", "turn", "role", "tokens", "text"],
        "text": ["id", "tokens", "text"],
    }[by]
    units = (*READINGS, *(() if by == "token" else ("mean_share", "peak_share")))
    return [*start, *(f"{unit}_{emotion}" for emotion in place.directions for unit in units)]


def _token_rows(read: ReadText, place: ReadAt) -> Iterator[dict[str, Any]]:
    turns = turns_of(read.row.prompt)
    of_turn = _turns_at(read, turns).tolist()
    units = _in_units(read.projections, place)
    end = 0
    for at, position in enumerate(read.content.tolist()):
        stop = max(end, read.spans[position][1])
        number = of_turn[at]
        yield {
            "id": read.row.id,
            "turn": number + 1,
            "role": _role(read, turns, number),
            "token": position,
            "piece": read.text[end:stop],
            **_unit_columns(place, {name: values[at] for name, values in units.items()}),
        }
        end = stop


def _turn_rows(read: ReadText, place: ReadAt) -> Iterator[dict[str, Any]]:
    turns = turns_of(read.row.prompt)
    of_turn = _turns_at(read, turns)
    for number, (_, start, end) in enumerate(turns):
        mine = np.flatnonzero(of_turn == number)
        if len(mine):
            told = {"turn": number + 1, "role": _role(read, turns, number)}
            text = read.text[start:end]
            yield {"id": read.row.id, **told, **_summary(read.projections[mine], place, text)}


def _text_rows(read: ReadText, place: ReadAt) -> Iterator[dict[str, Any]]:
    yield {"id": read.row.id, **_summary(read.projections, place, read.text)}


def _summary(
    projections: Float[np.ndarray, "token emotion"], place: ReadAt, text: str
) -> dict[str, Any]:
    """The last of these tokens in all units, and the mean and the highest share of all."""
    units = _in_units(projections, place)
    excerpt = text if len(text) <= EXCERPT else f"{text[: EXCERPT - 1]}…"
    last = {name: values[-1] for name, values in units.items()}
    share = units["share"]
    of_all = {"mean_share": _over(np.mean, share), "peak_share": _over(np.max, share)}
    columns = _unit_columns(place, {**last, **of_all})
    return {"tokens": len(projections), "text": excerpt, **columns}


def _over(
    summary: Callable[..., Any], share: Float[np.ndarray, "token emotion"]
) -> Float[np.ndarray, " emotion"]:
    """The mean or the highest over those tokens that have a share; NaN where none has."""
    told = [column[~np.isnan(column)] for column in share.T]
    return np.array([summary(one) if len(one) else np.nan for one in told])


def _turns_at(read: ReadText, turns: Sequence[tuple[str, int, int]]) -> Int[np.ndarray, " token"]:
    """The place of the turn that each content token belongs to, by the token's last character."""
    ends = np.array([end for _, _, end in turns])
    lasts = np.array([read.spans[position][1] for position in read.content.tolist()])
    return np.minimum(np.searchsorted(ends, lasts), len(turns) - 1)


def _role(read: ReadText, turns: Sequence[tuple[str, int, int]], number: int) -> str:
    """The role of a turn; a text that is no conversation has none."""
    return "" if isinstance(read.row.prompt, str) else turns[number][0]


def _in_units(
    projections: Float[np.ndarray, "token emotion"], place: ReadAt
) -> dict[str, Float[np.ndarray, "token emotion"]]:
    directions = list(enumerate(place.directions.values()))
    return {
        name: np.stack([read(projections[:, at], one) for at, one in directions], axis=1)
        for name, read in READINGS.items()
    }


def _unit_columns(
    place: ReadAt, units: Mapping[str, Float[np.ndarray, " emotion"]]
) -> Mapping[str, float]:
    return {
        f"{unit}_{emotion}": round(float(values[at]), DIGITS)
        for at, emotion in enumerate(place.directions)
        for unit, values in units.items()
    }
