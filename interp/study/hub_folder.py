"""Directions as a folder for the Hugging Face Hub, back again, and onto the Hub.

The folder holds each direction as its own pair of files (`Direction.save`), `config.json`, which
says what each is and how much of it is added, and `README.md`, the Hub's model card. Layer N is the
stream behind block N, counted from 0: what that block gives out (in transformers
`hidden_states[N + 1]`, but for the last block, behind which that is normalised). Each direction is
used by itself; the folder does not say that several are added at once, nor at which tokens, and it
can only add.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from interp.array_files import card_path
from interp.causal.origins import same_origin
from interp.causal.steps import check_direction, step
from interp.directions import Direction
from interp.errors import ArtefactError, ResourceError, UsageError
from interp.files import check_new, make_folder, read_regular, sha256_file, write_atomic
from interp.models import LanguageModel
from interp.models.exported_steps import block_of
from interp.models.loading.hub import kept_offline
from interp.models.loading.names import split_hub_id
from interp.study.hub_card import model_card, public_name
from interp.study.representation import file_name

FORM_OF_FOLDER = 1
"""The form of `config.json`; a larger one was written by a newer interp."""

_CONFIG, _README = "config.json", "README.md"
_KIND = "interp_directions"
_MOST = 1 << 20
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]*")
_CONVENTION = "layer N: added to the output of block N, counted from 0"


class Dosed(NamedTuple):
    """A direction and how much of it is added: `scale` times `unit` (`interp.causal.steps`)."""

    direction: Direction
    scale: float
    unit: str

    @property
    def step(self) -> Float[np.ndarray, " d_model"]:
        """What is added. Raises as `interp.causal.steps.step`."""
        return self.scale * step(self.direction, self.unit)


def save_hub_folder(folder: Path | str, directions: Sequence[Dosed], *, licence: str) -> None:
    """Write directions of one model into a new folder for the Hub.

    `licence` is the Hub's short name of one, such as mit. Raises `UsageError` for no direction and
    what is no such name; `ArtefactError` for a folder that holds something, a site that is not the
    stream behind a block, nothing that is added, two directions of one emotion and layer, a
    direction that does not say which weights it is of, and directions of several models;
    `ResourceError` as `make_folder`.
    """
    out = Path(folder)
    if not directions or not _LICENCE.fullmatch(licence):
        raise UsageError(
            f"cannot write {len(directions)} directions under the licence {licence!r}: give at "
            "least one, and a short name of the Hub's, such as mit, apache-2.0 or other."
        )
    check_new(out, named="folder")
    _check_one_model([one.direction for one in directions])
    public = [one._replace(direction=_public(one.direction)) for one in directions]
    emotions = sorted({one.direction.labels[0] for one in public})
    names = [
        file_name(one.direction.labels[0], emotions, block_of(one.direction.site)) for one in public
    ]
    if len(set(names)) < len(names):
        raise ArtefactError("two directions are of one emotion and layer: write two folders.")
    added = [_length(one) for one in public]
    make_folder(out)
    for name, one in zip(names, public, strict=True):
        one.direction.save(out / name)
    rows = [
        _row(out / name, one, length)
        for name, one, length in zip(names, public, added, strict=True)
    ]
    origin = public[0].direction.provenance
    config = {
        "kind": _KIND, "form": FORM_OF_FOLDER, "licence": licence, "layers": _CONVENTION,
        "model": {key: origin.get(key) for key in ("model", "revision", "digest")},
        "d_model": len(public[0].direction.vector), "directions": rows,
    }  # fmt: skip
    card = model_card([one.direction for one in public], rows, licence=licence)
    write_atomic(out / _README, card.encode())
    write_atomic(out / _CONFIG, (json.dumps(config, indent=2) + "\n").encode())


def load_hub_folder(
    folder: Path | str, model: LanguageModel, *, allow_foreign: bool = False
) -> list[Dosed]:
    """The directions of such a folder, each proved to be what its `config.json` says and to be of
    this model.

    Raises `ArtefactError` for a folder that is none, a file that is missing, was changed or is
    another, and directions of another width or model; `allow_foreign` takes those of another model
    of the same width.
    """
    found = _read(Path(folder))
    for one in found:
        check_direction(model, one.direction, allow_foreign=allow_foreign)
    return found


def upload_hub_folder(folder: Path | str, repository: str, *, public: bool = False) -> str:
    """Put a folder onto the Hub as a new repository `org/name`, private unless `public`, and give
    its address. Only the files that `config.json` names are sent, with it and the card.

    The account is the one that `huggingface_hub` finds (`hf auth login`, or HF_TOKEN). Raises
    `UsageError` for what is no name of a repository, `ArtefactError` as `load_hub_folder`, and
    `ResourceError` where the Hub refuses, knows the repository already, or cannot be reached.
    """
    source = Path(folder)
    check_repository(repository)
    sent = [_README, _CONFIG]
    for row in _rows(source, _config(source)):
        sent += [row["file"], card_path(Path(row["file"])).name]
    _read(source)
    if kept_offline():
        raise ResourceError(f"cannot send {source} to the Hub: HF_HUB_OFFLINE is set.")
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        api.create_repo(repository, private=not public, exist_ok=False)
        api.upload_folder(repo_id=repository, folder_path=source, allow_patterns=sent)
    except Exception as error:  # the hub client's network errors have no root of their own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise ResourceError(
            f"{source} could not be sent to {repository} ({reason}). It must be a new repository "
            "of an account that you are logged in to (hf auth login, or HF_TOKEN); one that this "
            "attempt made and left empty has to be deleted there first."
        ) from error
    return f"https://huggingface.co/{repository}"


def check_repository(name: str) -> None:
    """Raise `UsageError` for what cannot be the name `org/name` of a new repository."""
    if split_hub_id(name)[1] is not None:
        raise UsageError(f"{name!r} names a revision: a new repository has none yet.")


def _length(one: Dosed) -> float:
    """How much is added. Raises `ArtefactError` where that is nothing, or no number."""
    added = float(np.linalg.norm(one.step))
    if not (np.isfinite(added) and added > 0 and one.direction.length > 0):
        raise ArtefactError(
            f"the direction {one.direction.labels[0]} at {one.direction.site} has a length of "
            f"{one.direction.length:.3g} on held-out scenarios, and {one.scale:g} {one.unit} of it "
            f"adds {added:.3g}: there is nothing to steer by."
        )
    return added


def _check_one_model(directions: Sequence[Direction]) -> None:
    """Raise `ArtefactError` unless all name the same weights, by digest, and are of one width."""
    first = directions[0]
    for one in directions:
        if not one.provenance.get("digest"):
            raise ArtefactError(
                f"the direction {one.labels[0]} at {one.site} does not say which weights it is of, "
                "and others could not tell: fit it again on a model that interp loaded."
            )
        if not same_origin(one.provenance, first.provenance):
            raise ArtefactError(
                "the directions are of several models: write a folder for each of them."
            )
        if len(one.vector) != len(first.vector):
            raise ArtefactError("the directions differ in width: they are not of one model.")


def _public(direction: Direction) -> Direction:
    """The direction, its model named for everybody: where it lies on this machine is nobody's
    business. The digest still says which one it is.
    """
    told = dict(direction.provenance)
    return replace(direction, provenance={**told, "model": public_name(told)})


def _row(path: Path, one: Dosed, added: float) -> dict[str, Any]:
    high, low = one.direction.labels
    return {
        "file": path.name, "sha256": sha256_file(path),
        "card_sha256": sha256_file(card_path(path)), "emotion": high, "against": low,
        "layer": one.direction.site.layer, "scale": one.scale, "unit": one.unit, "added": added,
    }  # fmt: skip


def _config(folder: Path) -> Mapping[str, Any]:
    path = folder / _CONFIG
    try:
        config = json.loads(read_regular(path, most=_MOST))
    except OSError as error:
        raise ArtefactError(f"cannot read {path}: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise ArtefactError(f"{path} is no JSON: {error}.") from error
    if not isinstance(config, dict) or config.get("kind") != _KIND:
        raise ArtefactError(f"{path} does not say {_KIND!r}: it is no folder of directions.")
    if config.get("form") != FORM_OF_FOLDER:
        raise ArtefactError(
            f"{path} has the form {config.get('form')!r}, this interp reads {FORM_OF_FOLDER}: "
            "update."
        )
    return config


def _rows(folder: Path, config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The directions that a configuration lists, none of whose files lies outside the folder."""
    rows = config.get("directions")
    if not isinstance(rows, list) or not rows:
        raise ArtefactError(f"{folder / _CONFIG} lists no directions.")
    for number, row in enumerate(rows, start=1):
        name = row.get("file") if isinstance(row, dict) else None
        if not isinstance(name, str) or not re.fullmatch(r"[\w-]+\.safetensors", name):
            raise ArtefactError(
                f"{folder / _CONFIG}, direction {number}: the file is {name!r}, expected a name in "
                "this folder that ends in .safetensors."
            )
    return rows


def _read(folder: Path) -> list[Dosed]:
    config = _config(folder)
    return [_one(folder, row, config) for row in _rows(folder, config)]


def _one(folder: Path, row: Mapping[str, Any], config: Mapping[str, Any]) -> Dosed:
    """One direction, held against its line of the configuration."""
    path = folder / row["file"]
    direction = Direction.load(path)
    if (sha256_file(path), sha256_file(card_path(path))) != (
        row.get("sha256"), row.get("card_sha256"),
    ):  # fmt: skip
        raise ArtefactError(f"{path} and its card are not the files that {_CONFIG} names.")
    try:
        same = (
            direction.labels == (row["emotion"], row["against"])
            and block_of(direction.site) == row["layer"]
            and len(direction.vector) == config["d_model"]
            and same_origin(direction.provenance, config["model"])
        )
        one = Dosed(direction, float(row["scale"]), str(row["unit"]))
        same = same and bool(np.isclose(np.linalg.norm(one.step), row["added"], rtol=1e-6))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtefactError(f"{folder / _CONFIG} is damaged at {path.name}: {error}.") from error
    if not same:
        raise ArtefactError(
            f"{path} is not what {_CONFIG} says: emotion, layer, width, model or dose differ."
        )
    return one
