"""The plan of a capture: a fixed list of batches, gathered into shards, so that a resumed run makes
the same batches.

Texts are sorted by length (longest first) and cut into batches by a budget of tokens, padding
counted; consecutive batches make a shard. Texts of one length are in the order of a digest of their
tokens: which texts share a batch, and with that the last digits of their activations, does not
depend on the order of the rows in a file. The same texts, model and options always give the same
plan, and the plan's digest says so: what is missing is never repacked.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, cast

import numpy as np
from jaxtyping import Int

from interp.capture.options import Options
from interp.capture.packing import budget_batches, gather_shards, longest_first, shard_bytes_for
from interp.capture.positions import PositionRule, TokenisedText, parse_position
from interp.errors import DataError, UsageError
from interp.models import Dims, LanguageModel
from interp.models.checks.reliance import absent
from interp.models.texts.conversations import prompt_of, text_of, turns_of
from interp.sites import Site, expand
from stimuli.battery import Battery, Stimulus

_AT_ONCE = 4096
"""Texts tokenised at once."""

IDENTITY = (
    "weights",
    "config_digest",
    "tokenizer_digest",
    "architecture",
    "dtype",
    "quantisation",
    "chat_template",
)
"""What of a model's provenance decides its activations; where its files lie, and which device
computes, does not.
"""


@dataclass(frozen=True, slots=True)
class PlannedText:
    """One text of a plan: its tokens, and for each pooled rule the positions it selects."""

    id: str
    twin: str | None
    tokens: tuple[int, ...]
    selected: tuple[Int[np.ndarray, " _"], ...]


@dataclass(frozen=True)
class Plan:
    """What will be computed: `texts` in battery order, `batches` of places in it, `shards` of batch
    numbers.

    `config` identifies model, texts and options; `digest` is its digest together with the batches.
    """

    texts: tuple[PlannedText, ...]
    batches: tuple[tuple[int, ...], ...]
    shards: tuple[tuple[int, ...], ...]
    sites: tuple[Site, ...]
    positions: tuple[PositionRule, ...]
    options: Options
    config: Mapping[str, Any]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the configuration, the batches and the shards."""
        content = json.dumps([self.config, self.batches, self.shards], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def lengths(self) -> list[int]:
        """Tokens of each text, in battery order."""
        return [len(text.tokens) for text in self.texts]

    def places(self, shard: int) -> list[int]:
        """Places in the battery of a shard's texts, in the order in which they are computed."""
        return [place for batch in self.shards[shard] for place in self.batches[batch]]


def make_plan(
    model: LanguageModel,
    battery: Battery,
    *,
    sites: Sequence[str | Site],
    positions: Sequence[str],
    options: Options,
) -> Plan:
    """Tokenise `battery` for `model` and lay out what will be computed.

    Raises before any forward: `UsageError` for unknown sites, layers, rules; `DataError` naming the
    text that is too long, empty, or in which a rule selects no token.
    """
    wanted = expand([str(site) for site in sites], n_layers=model.dims.n_layers)
    rules = parse_positions(positions)
    _check_request(wanted, rules, model.dims, battery)
    if lacking := [site for site in wanted if not model.offers(site)]:
        raise UsageError(absent(model, lacking[0]))
    texts = tuple(_planned(model, battery, rules, options))
    lengths = [len(text.tokens) for text in texts]
    held = texts_bytes(lengths, wanted, rules, model.dims)
    most = shard_bytes_for(held) if options.shard_bytes is None else options.shard_bytes
    batches = budget_batches(
        lengths,
        held,
        order=longest_first([text.tokens for text in texts], [text.id for text in texts]),
        token_budget=options.token_budget,
        most_bytes=most,
    )
    sizes = [sum(held[place] for place in batch) for batch in batches]
    shards = gather_shards(sizes, most_bytes=most, most_batches=options.shard_batches)
    return Plan(
        texts,
        batches,
        shards,
        wanted,
        rules,
        options,
        _config(model, battery, wanted, rules, options, texts),
    )


def _planned(
    model: LanguageModel, battery: Battery, rules: Sequence[PositionRule], options: Options
) -> Iterator[PlannedText]:
    """The battery's texts, some thousands at a time: where each token stands in its text is
    forgotten as soon as it can be.
    """
    twins = _twins(battery)
    pooled = [rule for rule in rules if rule.pooled]
    for start in range(0, len(battery), _AT_ONCE):
        for text in tokenise(model, battery.items[start : start + _AT_ONCE], options=options):
            yield PlannedText(
                text.id,
                twins.get(text.id),
                text.tokens,
                tuple(rule.select(text) for rule in pooled),
            )


def identity(model: LanguageModel) -> dict[str, Any]:
    """What decides `model`'s activations; `tf32` is among it where a GPU computes float32 with
    three digits, not seven.
    """
    found = {key: model.provenance[key] for key in IDENTITY if key in model.provenance}
    flags = model.provenance.get("arithmetic")
    return (
        {**found, "tf32": True}
        if flags and flags["tf32"] and found.get("dtype") == "float32"
        else found
    )


def parse_positions(texts: Sequence[str]) -> tuple[PositionRule, ...]:
    """Position rules out of their texts, each once."""
    return tuple(dict.fromkeys(parse_position(str(text)) for text in texts))


def tokenise(
    model: LanguageModel, items: Battery | Sequence[Stimulus], *, options: Options
) -> list[TokenisedText]:
    """The items' texts as the model sees them, with the characters each token stands for.

    An item with a field `messages` is that conversation: its text is the messages' contents, joined
    by newlines.
    """
    ids = [item.id for item in items]
    prompts = [prompt_of(item.text, item.fields, name=item.id) for item in items]
    truncate = cast(Literal["left", "right"] | None, options.truncate)
    rows = model.encode(prompts, ids=ids, truncate=truncate, allow_special=options.allow_special)
    turns = turns_of if model.chat else lambda prompt: ()
    return [
        TokenisedText(
            item.id, text_of(prompt), tuple(row.ids), tuple(row.spans), item.fields, turns(prompt)
        )
        for item, prompt, row in zip(items, prompts, rows, strict=True)
    ]


def texts_bytes(
    lengths: Sequence[int], sites: Sequence[Site], rules: Sequence[PositionRule], dims: Dims
) -> list[int]:
    """Bytes of float32 that each text of `lengths` tokens gives."""
    known = {length: text_bytes(sites, rules, dims, length) for length in set(lengths)}
    return [known[length] for length in lengths]


def text_bytes(
    sites: Sequence[Site], rules: Sequence[PositionRule], dims: Dims, length: int
) -> int:
    """Bytes of float32 that a text of `length` tokens gives."""
    total = 0
    for site in sites:
        width = dims.n_heads * length if site.name == "pattern" else site_width(site, dims)
        width = width if site.head is None else width // _heads(site, dims)
        total += sum(width * (1 if rule.pooled else length) for rule in rules)
    return 4 * total


def site_width(site: Site, dims: Dims) -> int:
    """Numbers per token at a site (attention patterns apart, whose width is that of the text)."""
    if site.name in ("q", "z", "k", "v"):
        return _heads(site, dims) * dims.d_head
    return dims.d_mlp if site.name in ("pre", "post") else dims.d_model


def _heads(site: Site, dims: Dims) -> int:
    return dims.n_key_value_heads if site.name in ("k", "v") else dims.n_heads


def _check_request(
    sites: Sequence[Site], rules: Sequence[PositionRule], dims: Dims, battery: Battery
) -> None:
    if not sites or not rules:
        raise UsageError(
            "nothing to capture: name at least one site (resid_post) and one position rule (last)."
        )
    if not len(battery):
        raise DataError(f"battery {battery.name!r} has no items: 0 texts to capture.")
    for site in sites:
        if site.head is not None and site.head >= _heads(site, dims):
            raise UsageError(
                f"site {str(site)!r}: head {site.head} is out of range. The model has heads "
                f"0..{_heads(site, dims) - 1}."
            )
        if site.name == "pattern" and not all(rule.pooled for rule in rules):
            raise UsageError(
                "attention patterns are kept for pooled query positions (last, mean_content, "
                "...), not for 'all'."
            )


def _twins(battery: Battery) -> dict[str, str]:
    """The other member of each pair of two, by item id: a refused item takes its twin with it."""
    members: dict[str, list[str]] = {}
    for item in battery:
        if item.pair is not None:
            members.setdefault(item.pair, []).append(item.id)
    pairs = [ids for ids in members.values() if len(ids) == 2]
    return {one: other for a, b in pairs for one, other in ((a, b), (b, a))}


def _config(
    model: LanguageModel,
    battery: Battery,
    sites: Sequence[Site],
    rules: Sequence[PositionRule],
    options: Options,
    texts: Sequence[PlannedText],
) -> dict[str, Any]:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(json.dumps([text.id, text.tokens]).encode())
    return json.loads(
        json.dumps(
            {
                "model": identity(model),
                "battery": {
                    "name": battery.name,
                    "sha256": battery.sha256,
                    "items": len(battery),
                    "tokens": digest.hexdigest(),
                },
                "sites": [str(site) for site in sites],
                "positions": [str(rule) for rule in rules],
                "options": {
                    name: value
                    for name, value in asdict(options).items()
                    if name not in Options.OF_NO_WEIGHT
                },
            },
            default=str,
        )
    )
