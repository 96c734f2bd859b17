"""A registration: what a study will ask and what its result has to be, sealed before anything is
looked at.

It freezes the claims with their pass marks, the settings, and the digests of battery and model. The
seal shows that nothing was changed since; it cannot show when it was made. For that, publish the
file or its digest before the study is run.
"""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from interp.capture.plan import IDENTITY
from interp.capture.store.sealed_json import seal, unseal
from interp.errors import ArtefactError, UsageError
from interp.files import read_regular, write_atomic
from interp.models import load
from interp.options import options_of
from interp.records import RunRecord, software
from interp.reporting.claims import check_claim
from interp.reporting.marks import PassMark
from interp.settings import StudyOptions
from interp.study.conditions import conditions
from interp.study.config import MOST_CHARACTERS, Config, checked
from interp.study.identity import plain, refuse_other_config, told_differences
from interp.study.settings import Settings
from stimuli.battery import Battery

SCHEMA_OF_REGISTRATIONS = 1
"""Version of the file; a larger one is of a newer interp, and refused."""

REGISTRATION_SUFFIX = ".registration.json"

_FIELDS = {"registered", "claims", "settings", "effective", "battery", "model", "software"}
"""What a registration holds in any case."""

PLACED = ("model", "stimuli", "judge")
"""Settings that may hold a path, which another folder writes otherwise: of model and battery the
digests are compared.
"""


@dataclass(frozen=True, slots=True)
class Registration:
    """A sealed file: where it lies, what it holds, and the digest of that."""

    path: Path
    content: Mapping[str, Any]
    sha256: str

    @property
    def settings(self) -> dict[str, Any]:
        """The settings by flat name, with paths taken from the file's folder."""
        return checked(
            self.content["settings"],
            options_of(StudyOptions),
            folder=self.path.parent,
            where=lambda _: str(self.path),
        )

    @property
    def sealed(self) -> dict[str, Any]:
        """What the record of a run keeps of it."""
        return {"content": plain(self.content), "sha256": self.sha256}

    def refuse_other(self, settings: Settings, battery: Battery) -> None:
        """Raise `ArtefactError`, naming what differs, where other settings or other texts are asked
        for than were registered.
        """
        mine = Settings.of(**self.settings).identity
        asked = settings.identity
        self._refuse({name: mine[name] for name in asked}, asked)
        frozen = self.content["effective"]
        self._refuse(frozen, {name: asked[name] for name in asked if name not in PLACED})
        then, now = self.content["battery"]["sha256"], battery.sha256
        self._refuse({"battery_sha256": then}, {"battery_sha256": now})

    def other_versions(self) -> list[str]:
        """What is to be told where other software runs the study than was registered."""
        told = told_differences(self.content["software"], software(), then="registered")
        return (
            [f"the study runs with other versions than were registered ({told})."] if told else []
        )

    def _refuse(self, known: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
        if told := told_differences(known, asked, then="registered"):
            raise ArtefactError(
                f"{self.path} registered another study ({told}). Run what was registered, or "
                "register this one."
            )


def register(config: Config) -> Registration:
    """Seal the claims and settings of a TOML file into NAME.registration.json beside it.

    Nothing of the study is run: battery and model are read for their digests, and the model reads
    none of the texts. Raises `UsageError` for a file without claims, an unknown claim (with the
    nearest), or a registration that is there already; `ArtefactError` where the folder `out` holds
    a run; `StatisticsError` for a claim that the battery cannot answer.
    """
    target = config.path.with_name(config.path.stem + REGISTRATION_SUFFIX)
    settings = _asked(config, target)
    battery = settings.read_battery()
    _refuse_looked_at(settings, battery)
    _refuse_unanswerable(config.claims, settings, battery)
    model = load(settings.model, **asdict(settings.loading), check=False).provenance
    known = options_of(StudyOptions)
    content = plain(
        {
            "schema": SCHEMA_OF_REGISTRATIONS,
            "registered": datetime.now(UTC).isoformat(timespec="seconds"),
            "claims": [mark.record() for mark in config.claims],
            "settings": {name: one for name, one in config.written.items() if name in known},
            "effective": {n: one for n, one in settings.identity.items() if n not in PLACED},
            "battery": {"name": battery.name, "sha256": battery.sha256, "items": len(battery)},
            "model": {name: model[name] for name in ("model", "revision", "digest", *IDENTITY)},
            "software": software(),
            "git": git_commit(target.parent),
        }
    )
    sealed = json.loads(seal(content))
    write_atomic(target, (json.dumps(sealed, indent=2) + "\n").encode())
    return Registration(target, content, sealed["sha256"])


def read_registration(path: Path) -> Registration:
    """The registration in a file. Raises `ArtefactError` where it is none, or was changed after it
    was sealed; `UsageError` where there is no file.
    """
    try:
        data = read_regular(path, most=MOST_CHARACTERS)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}.") from error
    return _opened(data, path)


def registration_of(record: RunRecord, out: Path) -> Registration | None:
    """The registration that a run was begun with; None where there is none. Raises `ArtefactError`
    where it was changed in the record.
    """
    kept = record.provenance.get("registration")
    return None if kept is None else _opened(json.dumps(kept), out / "run.json")


def refuse_late(record: RunRecord, given: Registration | None, *, out: Path) -> None:
    """Raise `ArtefactError` where a run was begun without the registration that is now given."""
    kept = registration_of(record, out)
    if given is None or (kept is not None and kept.sha256 == given.sha256):
        return
    how = "without a registration" if kept is None else "with another registration"
    raise ArtefactError(
        f"{out} holds a run that was begun {how}: {given.path} came too late for it. Choose "
        "another --out."
    )


def git_commit(folder: Path) -> str | None:
    """The commit that the repository around `folder` is at; None where there is none."""
    words = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(words, check=False, capture_output=True, text=True)
    except FileNotFoundError:  # git is not installed
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _opened(data: bytes | str, path: Path) -> Registration:
    content = unseal(data, path=path)
    schema = content.get("schema")
    if schema != SCHEMA_OF_REGISTRATIONS:
        raise ArtefactError(
            f"{path} is a registration of schema {schema!r}, and this interp reads "
            f"{SCHEMA_OF_REGISTRATIONS}: use the version that wrote it."
        )
    if lacking := sorted(_FIELDS - content.keys()):
        raise ArtefactError(
            f"{path} is no registration: it lacks {', '.join(lacking)}. Make one with `interp "
            "register`."
        )
    return Registration(path, content, json.loads(data)["sha256"])


def _asked(config: Config, target: Path) -> Settings:
    """The settings to register, once all that the file alone shows is right."""
    if not config.claims:
        raise UsageError(
            f"{config.path} claims nothing: add a table [[claims]] for each claim, with its name "
            "(`interp claims`) and the verdict that you want of it."
        )
    names = [mark.claim for mark in config.claims]
    for name in names:
        check_claim(name)
        if names.count(name) > 1:
            raise UsageError(f"{config.path} claims {name!r} twice: keep one of the two.")
    for name, option in options_of(StudyOptions).items():
        if option.is_required and name not in config.values:
            raise UsageError(f"{config.path} lacks the key {name!r}: {option.about.help}")
    if target.exists():
        raise UsageError(
            f"{target} is there already, and a registration is never written over. Copy "
            f"{config.path.name} under another name to register another study."
        )
    known = options_of(StudyOptions)
    return Settings.of(**{name: one for name, one in config.values.items() if name in known})


def _refuse_looked_at(settings: Settings, battery: Battery) -> None:
    if (settings.out / "run.json").exists():
        refuse_other_config(settings, battery)
        raise ArtefactError(
            f"{settings.out} holds a run of these settings: it has been looked at, and what is "
            "claimed now would not be claimed beforehand. Register before a study is run."
        )


def _refuse_unanswerable(
    claims: tuple[PassMark, ...], settings: Settings, battery: Battery
) -> None:
    stages = dict.fromkeys(mark.claim.partition(": ")[0] for mark in claims)
    if without := [name for name in stages if name in settings.limits.without]:
        raise UsageError(
            f"the preset {settings.preset} leaves out the stage {', '.join(without)}, of which "
            "something is claimed: name another preset (standard, full), or take the claim away."
        )
    asked = conditions(
        settings.captured(battery),
        folds=settings.folds,
        model=settings.model,
        across=settings.across,
    )
    asked.forbidden(stages, asked=True)
