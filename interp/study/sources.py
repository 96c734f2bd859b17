"""Where the direction of a sentence comes from: a saved file, a finished run, or texts that the
model reads now, once, and whose directions are then kept.

What is kept lies under `XDG_CACHE_HOME` (else `~/.cache`), in `interp/directions`, a folder for
each model (weights, configuration, tokenizer, precision, chat template), battery, arm and method,
and in it a file for each emotion and layer: any of them is a `Direction`, for use elsewhere, too.
"""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import stimuli
from interp.analysis.emotion_directions import fit_centred, origin_of, usual_layer
from interp.array_files import card_path
from interp.capture import ActivationStore, capture
from interp.defaults import SENTENCE_ARM
from interp.directions import Direction
from interp.errors import ArtefactError, ResourceError, UsageError
from interp.files import caches, make_folder, sha256_bytes
from interp.models import LanguageModel
from interp.models.direction_files import directions_in
from interp.sites import LAST, STREAM, Site
from interp.study.representation import file_name
from stimuli.battery import NEUTRAL, Battery, Stimulus, in_content_order

METHOD = "group_centred"

BATTERY = "plain"
"""The battery of a model that has none of its own."""

FORM = 1
"""The form of what is kept: another one makes other folders."""

USUAL = "two thirds of the depth, a rule of thumb"


class DirectionSource(NamedTuple):
    """Directions by emotion, all at one `layer`; `told` says where they are from, `layer_told` why
    that layer.
    """

    directions: Mapping[str, Direction]
    layer: int
    told: str
    layer_told: str


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which directions are asked for: those of a `direction` file, of a finished `run`, or else of
    a battery's texts of one `arm`, which are fitted, and kept if `keep`.

    `model` is the model's name, `stimuli` a battery (None: `default_battery`). Raises `UsageError`
    where file and run are both named.
    """

    model: str
    direction: Path | None = None
    run: Path | None = None
    stimuli: str | None = None
    arm: str = SENTENCE_ARM
    keep: bool = True

    def __post_init__(self) -> None:
        if self.direction is not None and self.run is not None:
            raise UsageError("--direction is one file and --run a whole folder: name one of them.")

    @cached_property
    def battery(self) -> Battery:
        """The texts that are read, or whose emotions a judge chooses among."""
        return stimuli.load(self.stimuli or default_battery(self.model, stimuli.names()))

    def emotions(self) -> list[str]:
        """The emotions that can be asked for; known without the model. Raises as `from_file`,
        `from_run` and `fitted`.
        """
        if self.direction is not None:
            return sorted({one.labels[0] for one in directions_in(self.direction)})
        if self.run is not None:
            return sorted({one.labels[0] for one in saved_directions(self.run)})
        return sorted({item.emotion for item in texts_of_arm(self.battery, self.arm)})

    def check(self, emotions: Sequence[str | None]) -> None:
        """Raise `UsageError`, with the choices, for an emotion that cannot be asked for; None is
        one that was not named."""
        known = self.emotions()
        where = self.direction or self.run or f"battery {self.battery.name!r}, arm {self.arm},"
        for emotion in emotions:
            one_of(emotion, known, where=str(where))

    def choices(self) -> list[str]:
        """The emotions that a judge chooses among: those asked for, and all of the battery's."""
        found = {item.emotion for item in self.battery if item.emotion != NEUTRAL}
        return sorted(found | set(self.emotions()))

    def source(self, model: LanguageModel, layer: int | None) -> DirectionSource:
        """The directions. Raises as `from_file`, `from_run` and `fitted`."""
        if self.direction is not None:
            return from_file(self.direction, layer=layer)
        if self.run is not None:
            return from_run(self.run, layer=layer, n_layers=model.dims.n_layers)
        return fitted(model, self.battery, arm=self.arm, layer=layer, keep=self.keep)


def centred(
    store: ActivationStore, battery: Battery, *, arm: str, site: Site | str
) -> dict[str, Direction]:
    """The group-centred direction of each emotion that has texts of `arm`, at the text's last
    token. Raises `UsageError` for an arm without texts and a site that was not recorded, and as
    `fit_centred`.
    """
    at = Site.parse(site) if isinstance(site, str) else site
    items = [item for item in texts_of_arm(battery, arm) if item.id not in store.quarantined]
    origin = origin_of(
        store.provenance["model"], battery=battery.sha256, position=store.positions[0]
    )
    return fit_centred(
        store.read(at).select(item.id for item in items),
        [item.emotion for item in items],
        [item.group for item in items],
        site=at,
        origin={**origin, "arm": arm},
    )


def chosen_emotion(emotion: str | None, battery: Battery, arm: str) -> str:
    """`emotion`, if the battery has texts of it in `arm`. Raises `UsageError` with the choices."""
    known = sorted({item.emotion for item in texts_of_arm(battery, arm)})
    return one_of(emotion, known, where=f"battery {battery.name!r}, arm {arm},")


def one_of(emotion: str | None, known: Sequence[str], *, where: str) -> str:
    """`emotion`, if it is `known`. Raises `UsageError` with what is."""
    if emotion in known:
        return str(emotion)
    near = difflib.get_close_matches(str(emotion), known, n=1)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    lacking = "no emotion was named" if emotion is None else f"there is no {emotion!r}"
    raise UsageError(f"{where} offers {', '.join(known) or 'no emotion'}: {lacking}.{meant}")


def default_battery(model: str, batteries: Sequence[str]) -> str:
    """The battery in the words of this model: a testbed's own, else `BATTERY`."""
    own = model.removesuffix("_null")
    return own if own in batteries else BATTERY


def from_file(path: Path, *, layer: int | None = None) -> DirectionSource:
    """The direction in a file, at its own layer; a GGUF control vector may have several. Raises
    `ArtefactError` for what is none, `UsageError` for another layer, or where one must be named.
    """
    found = {one.site.layer: one for one in directions_in(path)}
    layers = ", ".join(map(str, found))
    if layer is None and len(found) > 1:
        raise UsageError(f"{path} has directions at the layers {layers}: name one by --layer.")
    one = found.get(next(iter(found)) if layer is None else layer)
    if one is None:
        raise UsageError(
            f"layer {layer}: the direction in {path} was fitted at layer {layers}, and acts there. "
            "Leave out --layer, or name another."
        )
    told = f"{path} ({one.method}, {one.labels[0]} against {one.labels[1]})"
    return DirectionSource({one.labels[0]: one}, one.site.layer, told, "the file's own")


def from_run(out: Path, *, layer: int | None, n_layers: int) -> DirectionSource:
    """The directions of a finished run at `layer`, by default at the one of the run's layers that
    lies nearest to `usual_layer`. Raises `ArtefactError` for a folder without directions,
    `UsageError` for a layer that the run has none for.
    """
    saved = saved_directions(out)
    layers = sorted({one.site.layer for one in saved})
    if layer is None:
        chosen = min(layers, key=lambda at: abs(at - usual_layer(n_layers)))
        why = f"of the run's layers the nearest to {USUAL}"
    elif layer in layers:
        chosen, why = layer, "as asked for"
    else:
        known = ", ".join(map(str, layers))
        raise UsageError(f"layer {layer}: the run {out} has directions at the layers {known}.")
    found = {one.labels[0]: one for one in saved if one.site.layer == chosen}
    one = next(iter(found.values()))
    texts = "replies" if "judge" in one.provenance else "twins"
    return DirectionSource(found, chosen, f"the run {out} ({one.method}, from its {texts})", why)


def fitted(
    model: LanguageModel, battery: Battery, *, arm: str, layer: int | None, keep: bool
) -> DirectionSource:
    """The group-centred directions of `battery` at `layer` (by default `usual_layer`): kept ones,
    or else fitted now, at all layers, and kept, if `keep`.

    Raises `UsageError` for a layer that the model lacks, `ArtefactError` for a kept file that was
    changed, `ResourceError` where nothing can be kept; and as `centred`.
    """
    n_layers = model.dims.n_layers
    if layer is not None and not 0 <= layer < n_layers:
        raise UsageError(
            f"layer {layer} is out of range: {model.name} has layers 0..{n_layers - 1}."
        )
    chosen = usual_layer(n_layers) if layer is None else layer
    folder = kept_folder(model, battery, arm)
    emotions = sorted({item.emotion for item in texts_of_arm(battery, arm)})
    files = {one: folder / file_name(one, emotions, chosen) for one in emotions}
    if keep and all(path.exists() and card_path(path).exists() for path in files.values()):
        found = {one: _kept(path) for one, path in files.items()}
        from_where = f"kept in {folder}"
    else:
        every = _fit_all(model, battery, arm=arm)
        found = every[chosen]
        from_where = "fitted now, not kept"
        if keep:
            _make(folder)
            for at, directions in every.items():
                for one, direction in directions.items():
                    direction.save(folder / file_name(one, emotions, at))
            from_where = f"fitted now and kept in {folder}"
    size = next(iter(found.values())).provenance["texts"]
    told = f"{battery.name}, arm {arm}, {size} texts, {METHOD} over {len(emotions)} emotions"
    return DirectionSource(
        found, chosen, f"{told}; {from_where}", USUAL if layer is None else "as asked for"
    )


def kept_folder(model: LanguageModel, battery: Battery, arm: str) -> Path:
    """Where the directions of this model and these texts are kept."""
    about = {
        **{name: model.provenance.get(name) for name in ("digest", "dtype", "quantisation")},
        "chat_template": model.provenance.get("chat_template"),
        "battery": battery.sha256,
        "arm": arm,
        "method": METHOD,
        "position": LAST,
        "form": FORM,
    }
    digest = sha256_bytes(json.dumps(about, sort_keys=True).encode())
    return caches() / "interp" / "directions" / digest[:24]


def _fit_all(
    model: LanguageModel, battery: Battery, *, arm: str
) -> dict[int, dict[str, Direction]]:
    """The directions of every emotion by layer; the model reads the texts once."""
    texts = Battery(battery.name, tuple(texts_of_arm(battery, arm)))
    with capture(model, texts, sites=[STREAM], positions=(LAST,)) as store:
        return {
            layer: centred(store, battery, arm=arm, site=Site(STREAM, layer))
            for layer in range(model.dims.n_layers)
        }


def texts_of_arm(battery: Battery, arm: str) -> list[Stimulus]:
    """The texts of `arm` that evoke an emotion, ordered by their content."""
    items = [item for item in battery.where(arm=arm) if item.emotion != NEUTRAL]
    if not items:
        arms = ", ".join(dict.fromkeys(item.arm for item in battery))
        raise UsageError(
            f"battery {battery.name!r} has no text of the arm {arm!r} that evokes an emotion; its "
            f"arms are {arms}."
        )
    return in_content_order(items)


def saved_directions(out: Path) -> list[Direction]:
    """The directions of a run, of every emotion and layer. Raises `ArtefactError` where it has
    none.
    """
    found = sorted((out / "directions").glob("*.safetensors"))
    if not found:
        raise ArtefactError(
            f"{out} holds no directions: a finished run has them in {out / 'directions'}. Make "
            "them with `interp directions`."
        )
    return [Direction.load(path) for path in found]


def _kept(path: Path) -> Direction:
    try:
        return Direction.load(path)
    except ArtefactError as error:
        raise ArtefactError(f"{error} Or delete {path.parent}, or say --no-cache.") from error


def _make(folder: Path) -> None:
    try:
        make_folder(folder)
    except ResourceError as error:
        raise ResourceError(
            f"cannot keep directions in {folder}: set XDG_CACHE_HOME to a folder that can be "
            f"written, or say --no-cache. ({error})"
        ) from error
