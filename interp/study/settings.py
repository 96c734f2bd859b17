"""Settings: what a person asks of a study, and which of it a resumed run must share."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import stimuli
from interp.capture.plan import parse_positions
from interp.capture.workers.executors import check_executor
from interp.errors import ResourceError, UsageError
from interp.files import sha256_bytes
from interp.models import LanguageModel
from interp.models.texts.chat import OFF, UNCUT, read_template
from interp.models.texts.ends import LAST
from interp.models.texts.tokens import Reading
from interp.sites import Site, check_names, expand
from interp.study.presets import THINNED, Preset, find_preset, limited, spaced
from stimuli.battery import Battery

DEFAULT_SITES = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "z", "post")
DEFAULT_POSITIONS = (LAST, "mean_content")

ROOM = 32
"""Tokens of the context left free behind texts that are cut: for the readout's suffix and words, and for what is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The arguments of `interp run`.

    `identity` has everything that can change a number by more than its last digits: who does the work (`executor`), and what
    of it is copied (`reuse`), move those; `on_nonfinite` only says what becomes of texts that give no numbers; what
    `columns` do shows in the battery's digest.
    """

    model: str
    stimuli: str
    out: Path
    seed: int = 0
    folds: int = 5
    sites: tuple[str, ...] = DEFAULT_SITES
    positions: tuple[str, ...] = DEFAULT_POSITIONS
    truncate: Literal["left", "right"] | None = None
    allow_special: bool = False
    device: str = "cpu"
    offline: bool = False
    drop_unmatched: bool = False
    normalise_labels: bool = False
    dedupe: bool = False
    allow_control: bool = False
    strict: bool = False
    emotions: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    executor: str = "serial"
    chat_template: str | None = None
    dtype: str = "float32"
    storage: str = "float32"
    on_nonfinite: str = "stop"
    token_budget: int = 1024
    shard_mb: int = 64
    reuse: tuple[Path, ...] = ()
    preset: str = "standard"

    def __post_init__(self) -> None:
        # What is wrong for any model is told before anything is made.
        _check_out(self.out)
        read_template(self.chat_template)
        check_names(self.sites)
        parse_positions(self.positions)
        check_executor(self.executor)
        find_preset(self.preset)
        if self.truncate is not None and self.chat_template not in (None, OFF):
            raise UsageError(UNCUT)

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that a resumed run must share with the first one; of a template's file it is the content that counts."""
        aside = ("out", "offline", "executor", "reuse", "on_nonfinite", "columns")
        values = {key: value for key, value in asdict(self).items() if key not in aside}
        written = read_template(self.chat_template)
        if written is not None:
            values["chat_template"] = f"sha256 {sha256_bytes(written.encode())}"
        elif self.chat_template == OFF:
            values["chat_template"] = None  # plain texts, as when nothing is said
        return json.loads(json.dumps(values))

    @property
    def capture_options(self) -> dict[str, Any]:
        """What these settings say to a capture's `Options`."""
        return {
            "truncate": self.truncate,
            "allow_special": self.allow_special,
            "storage": self.storage,
            "on_nonfinite": self.on_nonfinite,
            "token_budget": self.token_budget,
            "shard_bytes": self.shard_mb << 20,
        }

    @property
    def limits(self) -> Preset:
        """What the preset allows."""
        return find_preset(self.preset)

    def captured(self, battery: Battery) -> Battery:
        """The texts of `battery` that are captured."""
        return limited(battery, self.limits)

    def sites_of(self, model: LanguageModel) -> list[Site]:
        """The sites to capture: of the usual ones those that the model has, at the layers of the
        preset; what was named is taken as it is.
        """
        wanted = expand(self.sites, n_layers=model.dims.n_layers)
        if self.sites != DEFAULT_SITES:
            return list(wanted)
        layers = spaced(model.dims.n_layers, self.limits.layers)
        thinned = [site for site in wanted if site.name not in THINNED or site.layer in layers]
        return [site for site in thinned if model.offers(site)]

    @property
    def captured_positions(self) -> tuple[str, ...]:
        """The position rules to capture; with the last token there is, the text's own last token, where directions are read."""
        own = (LAST,) if "last" in self.positions else ()
        return tuple(dict.fromkeys((*self.positions, *own)))

    @property
    def reading(self) -> Reading:
        """How every stage gives the texts to the model."""
        return Reading(truncate=self.truncate, allow_special=self.allow_special, room=ROOM)

    def read_battery(self) -> Battery:
        """The battery, read with these settings' reading options."""
        return stimuli.load(
            self.stimuli,
            drop_unmatched=self.drop_unmatched,
            normalise_labels=self.normalise_labels,
            dedupe=self.dedupe,
            allow_control=self.allow_control,
            strict=self.strict,
            emotions=self.emotions or None,
            columns=self.columns or None,
        )


def _check_out(out: Path) -> None:
    """Raise `ResourceError` for a folder that the file system cannot name."""
    try:
        (out / "activations" / "shards" / "00000.part-00000000.h5").stat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ResourceError(f"cannot use {str(out)[:80]!r} as --out: {reason}.") from error
