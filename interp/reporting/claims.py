"""All claims that the report can make: each section names its own, beside its findings."""

from interp.errors import UsageError
from interp.options import nearest_told
from interp.reporting.sections import SECTIONS

CLAIMS: tuple[str, ...] = tuple(
    f"{section.name}: {what}" for section in SECTIONS for what in section.claims
)
"""Their names, `stage: what`, in the order of the report."""


def check_claim(name: str) -> None:
    """Raise `UsageError` for a claim that the report cannot make, with the nearest one."""
    if name not in CLAIMS:
        told = nearest_told(name, CLAIMS).partition(" There are: ")[0]
        raise UsageError(
            f"the report makes no claim {name!r}.{told} `interp claims` lists all that there are."
        )
