"""Settings: what a study was asked, what that comes to, and which of it a resumed run must
share.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, replace
from typing import Any

from interp.analysis.spread import check_analysts
from interp.capture.plan import parse_positions
from interp.capture.workers.executors import check_executor
from interp.causal.patches import Patches
from interp.errors import UsageError
from interp.evaluation.judges import check_judges
from interp.files import check_out, sha256_bytes
from interp.models import LanguageModel
from interp.models.chat_template import OFF
from interp.models.texts.chat import UNCUT, read_template
from interp.models.texts.tokens import Reading
from interp.options import build_record, check, flat, options_of
from interp.settings import DEFAULT_SITES, StudyOptions
from interp.sites import LAST, Site, check_names, expand
from interp.study.presets import THINNED, Preset, find_preset, limited, spaced
from stimuli.battery import Battery

ROOM = 32
"""Tokens of the context left free behind texts that are cut: for the readout's suffix and words,
and for what is written.
"""

ASIDE = ("out", "offline", "executor", "analyse_by", "reuse", "on_nonfinite", "columns")
"""Settings that are no part of a run's identity. Who does the work (`executor`, `analyse_by`), and
what of it is copied (`reuse`), move the last digits at most; `on_nonfinite` only says what becomes
of texts that give no numbers; what `columns` do shows in the battery's digest.
"""

REPEATED = ("on_nonfinite", "columns")
"""Those of `ASIDE` that the record keeps, so that a study can be run again from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(StudyOptions):
    """The settings of a study, known to be possible. Raises `UsageError` for what no model can
    do.
    """

    def __post_init__(self) -> None:
        # What is wrong for any model is told before anything is made.
        check_out(self.out)
        check(self)
        read_template(self.loading.chat_template)
        check_names(self.sites)
        parse_positions(self.positions)
        check_executor(self.capture.executor)
        check_analysts(self.analyse_by)
        check_judges(self.judge, self.model)
        self.patches(())
        if self.dtype_error and self.loading.dtype == "float32":
            raise UsageError(
                "dtype_error holds effects against those in float32, and dtype is float32: say "
                "--dtype bfloat16, or leave it out."
            )
        if self.capture.truncate is not None and self.loading.chat_template not in (None, OFF):
            raise UsageError(UNCUT)

    @classmethod
    def of(cls, **given: Any) -> "Settings":
        """The settings of these names, whichever record they belong to: `preset`, `device`, ...

        Raises `UsageError` for a name that is no setting, with the nearest one.
        """
        return build_record(cls, given)

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that a resumed run must share with the first one, as one flat list.

        Of a template's file it is the content that counts.
        """
        values = {key: value for key, value in flat(self).items() if key not in ASIDE}
        written = read_template(self.loading.chat_template)
        if written is not None:
            values["chat_template"] = f"sha256 {sha256_bytes(written.encode())}"
        elif self.loading.chat_template == OFF:
            values["chat_template"] = None  # plain texts, as when nothing is said
        return json.loads(json.dumps(values))

    @classmethod
    def usual(cls) -> Mapping[str, Any]:
        """The defaults of the settings that have one, as `identity` writes them.

        An older run was asked nothing of settings that came later: it had these.
        """
        values = {name: option.default for name, option in options_of(cls).items()}
        known = {
            name: one for name, one in values.items() if name not in ASIDE and one is not MISSING
        }
        return json.loads(json.dumps(known))

    @property
    def limits(self) -> Preset:
        """What the preset allows; `pairs` may be set beside it."""
        preset = find_preset(self.preset)
        return preset if self.pairs is None else replace(preset, pairs=self.pairs)

    def patches(self, sites: Sequence[str]) -> Patches:
        """What is patched, at these sites."""
        return Patches(
            sites=sites,
            positions=self.patch_positions,
            modes=self.patch_modes,
            controls=self.patch_controls,
            metrics=self.patch_metrics,
        )

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
        """The position rules to capture; with the last token there is, the text's own last token,
        where directions are read.
        """
        own = (LAST,) if "last" in self.positions else ()
        return tuple(dict.fromkeys((*self.positions, *own)))

    @property
    def reading(self) -> Reading:
        """How every stage gives the texts to the model."""
        how = self.capture
        return Reading(truncate=how.truncate, allow_special=how.allow_special, room=ROOM)

    def read_battery(self) -> Battery:
        """The battery, read with these settings' reading options."""
        return self.texts.read(self.stimuli)
