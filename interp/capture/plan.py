"""The plan of a capture: a fixed list of batches, gathered into shards, so that a resumed run makes the same batches.

Texts are sorted by length (longest first) and cut into batches by a budget of tokens, padding counted; consecutive batches
make a shard. The same texts, model and options always give the same plan, and the plan's digest says so: batch shapes change
the last digits of activations, so what is missing is never repacked.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, cast

import numpy as np
from jaxtyping import Int

from interp.capture.positions import PositionRule, TokenisedText, parse_position
from interp.errors import DataError, UsageError
from interp.models import Dims, LanguageModel
from interp.models.checks.reliance import absent
from interp.models.texts.conversations import prompt_of, text_of, turns_of
from interp.sites import Site, expand
from stimuli.battery import Battery, Stimulus

STORAGE = ("float32", "float16")
ON_NONFINITE = ("stop", "quarantine")

_OF_NO_WEIGHT = ("on_nonfinite",)
"""Options that change no activation: a run that stopped at a bad text may go on without it."""

_AT_ONCE = 4096
"""Texts tokenised at once."""

IDENTITY = ("weights", "config_digest", "tokenizer_digest", "architecture", "dtype", "quantisation", "chat_template")
"""What of a model's provenance decides its activations; where its files lie, and which device computes, does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a capture is made. All but `on_nonfinite` are part of the plan's identity.

    `token_budget`: tokens a batch, padding counted; a batch keeps no more than a shard's bytes either. `storage`: float32 or
    float16 (values beyond float16 stay float32). `on_nonfinite`: stop with an error, or quarantine the pair. `truncate`: cut
    texts longer than the context on this side (left or right; None refuses them). `allow_special`: accept special tokens
    inside texts. `shard_bytes` (as float32), `shard_batches`: a shard ends at whichever comes first. `attention`: fast (no
    pattern is computed) or eager.
    """

    token_budget: int = 1024
    storage: str = "float32"
    on_nonfinite: str = "stop"
    truncate: str | None = None
    allow_special: bool = False
    shard_bytes: int = 64 << 20
    shard_batches: int = 64
    attention: str = "fast"

    def __post_init__(self) -> None:
        choices: dict[str, tuple[str | None, ...]] = {
            "storage": STORAGE,
            "on_nonfinite": ON_NONFINITE,
            "truncate": (None, "left", "right"),
            "attention": ("fast", "eager"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise UsageError(f"{name} is {getattr(self, name)!r}: expected one of {', '.join(map(str, allowed))}.")
        for name in ("token_budget", "shard_bytes", "shard_batches"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}: at least 1 is needed.")


@dataclass(frozen=True, slots=True)
class PlannedText:
    """One text of a plan: its tokens, and for each pooled rule the positions it selects."""

    id: str
    twin: str | None
    tokens: tuple[int, ...]
    selected: tuple[Int[np.ndarray, " _"], ...]


@dataclass(frozen=True)
class Plan:
    """What will be computed: `texts` in battery order, `batches` of places in it, `shards` of batch numbers.

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
    model: LanguageModel, battery: Battery, *, sites: Sequence[str | Site], positions: Sequence[str], options: Options
) -> Plan:
    """Tokenise `battery` for `model` and lay out what will be computed.

    Raises before any forward: `UsageError` for unknown sites, layers, rules; `DataError` naming the text that is too long,
    empty, or in which a rule selects no token.
    """
    wanted = expand([str(site) for site in sites], n_layers=model.dims.n_layers)
    rules = parse_positions(positions)
    _check_request(wanted, rules, model.dims, battery)
    if lacking := [site for site in wanted if not model.offers(site)]:
        raise UsageError(absent(model, lacking[0]))
    texts = tuple(_planned(model, battery, rules, options))
    batches, shards, _ = lay_out([len(text.tokens) for text in texts], wanted, rules, model.dims, options=options)
    return Plan(texts, batches, shards, wanted, rules, options, _config(model, battery, wanted, rules, options, texts))


def _planned(model: LanguageModel, battery: Battery, rules: Sequence[PositionRule], options: Options) -> Iterator[PlannedText]:
    """The battery's texts, some thousands at a time: where each token stands in its text is forgotten as soon as it can be."""
    twins = _twins(battery)
    pooled = [rule for rule in rules if rule.pooled]
    for start in range(0, len(battery), _AT_ONCE):
        for text in tokenise(model, battery.items[start : start + _AT_ONCE], options=options):
            yield PlannedText(text.id, twins.get(text.id), text.tokens, tuple(rule.select(text) for rule in pooled))


def identity(model: LanguageModel) -> dict[str, Any]:
    """What decides `model`'s activations; `tf32` is among it where a GPU computes float32 with three digits, not seven."""
    found = {key: model.provenance[key] for key in IDENTITY if key in model.provenance}
    flags = model.provenance.get("arithmetic")
    return {**found, "tf32": True} if flags and flags["tf32"] and found.get("dtype") == "float32" else found


def parse_positions(texts: Sequence[str]) -> tuple[PositionRule, ...]:
    """Position rules out of their texts, each once."""
    return tuple(dict.fromkeys(parse_position(str(text)) for text in texts))


Numbers = tuple[tuple[int, ...], ...]


def lay_out(
    lengths: Sequence[int], sites: Sequence[Site], rules: Sequence[PositionRule], dims: Dims, *, options: Options
) -> tuple[Numbers, Numbers, list[int]]:
    """Batches of places, shards of batches, and bytes (float32) a batch, for texts of `lengths` tokens."""
    held = texts_bytes(lengths, sites, rules, dims)
    batches = budget_batches(lengths, held, token_budget=options.token_budget, most_bytes=options.shard_bytes)
    sizes = [sum(held[place] for place in batch) for batch in batches]
    return batches, gather_shards(sizes, options=options), sizes


def tokenise(model: LanguageModel, items: Battery | Sequence[Stimulus], *, options: Options) -> list[TokenisedText]:
    """The items' texts as the model sees them, with the characters each token stands for.

    An item with a field `messages` is that conversation: its text is the messages' contents, joined by newlines.
    """
    ids = [item.id for item in items]
    prompts = [prompt_of(item.text, item.fields, name=item.id) for item in items]
    truncate = cast(Literal["left", "right"] | None, options.truncate)
    rows = model.encode(prompts, ids=ids, truncate=truncate, allow_special=options.allow_special)
    turns = turns_of if model.chat else lambda prompt: ()
    return [
        TokenisedText(item.id, text_of(prompt), tuple(row.ids), tuple(row.spans), item.fields, turns(prompt))
        for item, prompt, row in zip(items, prompts, rows, strict=True)
    ]


def budget_batches(
    lengths: Sequence[int], held: Sequence[int], *, token_budget: int, most_bytes: int
) -> tuple[tuple[int, ...], ...]:
    """Places of `lengths`, longest first, cut so that texts x longest stays within the token budget and what is kept of them
    (`held` bytes a text) within a shard; one text always fits.
    """
    batches: list[tuple[int, ...]] = []
    current: list[int] = []
    kept = 0
    for place in sorted(range(len(lengths)), key=lambda place: (-lengths[place], place)):
        full = current and ((len(current) + 1) * lengths[current[0]] > token_budget or kept + held[place] > most_bytes)
        if full:
            batches.append(tuple(current))
            current, kept = [], 0
        current.append(place)
        kept += held[place]
    return (*batches, tuple(current)) if current else tuple(batches)


def gather_shards(sizes: Sequence[int], *, options: Options) -> tuple[tuple[int, ...], ...]:
    """Consecutive batches of `sizes` bytes gathered into shards, each ended by its bytes or its number of batches."""
    shards: list[tuple[int, ...]] = []
    current: list[int] = []
    held = 0
    for number, size in enumerate(sizes):
        if current and (held + size > options.shard_bytes or len(current) >= options.shard_batches):
            shards.append(tuple(current))
            current, held = [], 0
        current.append(number)
        held += size
    return (*shards, tuple(current)) if current else tuple(shards)


def texts_bytes(lengths: Sequence[int], sites: Sequence[Site], rules: Sequence[PositionRule], dims: Dims) -> list[int]:
    """Bytes of float32 that each text of `lengths` tokens gives."""
    known = {length: text_bytes(sites, rules, dims, length) for length in set(lengths)}
    return [known[length] for length in lengths]


def text_bytes(sites: Sequence[Site], rules: Sequence[PositionRule], dims: Dims, length: int) -> int:
    """Bytes of float32 that a text of `length` tokens gives."""
    total = 0
    for site in sites:
        width = dims.n_heads * length if site.name == "pattern" else site_width(site, dims)
        width = width if site.head is None else width // _heads(site, dims)
        total += sum(width * (1 if rule.pooled else length) for rule in rules)
    return 4 * total


def site_width(site: Site, dims: Dims) -> int:
    """Numbers a token at a site (attention patterns apart, whose width is that of the text)."""
    if site.name in ("q", "z", "k", "v"):
        return _heads(site, dims) * dims.d_head
    return dims.d_mlp if site.name in ("pre", "post") else dims.d_model


def _heads(site: Site, dims: Dims) -> int:
    return dims.n_key_value_heads if site.name in ("k", "v") else dims.n_heads


def _check_request(sites: Sequence[Site], rules: Sequence[PositionRule], dims: Dims, battery: Battery) -> None:
    if not sites or not rules:
        raise UsageError("nothing to capture: name at least one site (resid_post) and one position rule (last).")
    if not len(battery):
        raise DataError(f"battery {battery.name!r} has no items: 0 texts to capture.")
    for site in sites:
        if site.head is not None and site.head >= _heads(site, dims):
            raise UsageError(
                f"site {str(site)!r}: head {site.head} is out of range. The model has heads 0..{_heads(site, dims) - 1}."
            )
        if site.name == "pattern" and not all(rule.pooled for rule in rules):
            raise UsageError("attention patterns are kept for pooled query positions (last, mean_content, ...), not for 'all'.")


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
                "options": {name: value for name, value in asdict(options).items() if name not in _OF_NO_WEIGHT},
            },
            default=str,
        )
    )
