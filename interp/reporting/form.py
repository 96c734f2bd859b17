"""The form in which figures are drawn: how wide they are, whether their titles are on them, and
whether published values are.

A figure is a function of its table. What a journal asks of it is none of the table's business, so
the form is told beside it: `with in_form(Form(width=3.3, titles=False)): draw(...)`.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from interp.errors import UsageError

NARROWEST, WIDEST = 2.0, 20.0
"""Inches between which a figure can be drawn and read."""

_INCHES = {"in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4}
_WIDTH = re.compile(r"\s*(\d+\.?\d*|\.\d+)\s*(in|cm|mm)\s*")


@dataclass(frozen=True, slots=True)
class Form:
    """How wide a figure is in inches (None: as wide as it was designed), and whether its title and
    caption are on it. Its foot line always is. `published` marks what was published beside it,
    where there is something (`interp.reporting.published`).

    Raises `UsageError` for a width that nobody could read.
    """

    width: float | None = None
    titles: bool = True
    published: bool = False

    def __post_init__(self) -> None:
        if self.width is not None and not NARROWEST <= self.width <= WIDEST:
            raise UsageError(
                f"a figure cannot be {self.width:.3g} inches wide: "
                f"say {NARROWEST:g} to {WIDEST:g} (one column of a journal is about 3.3)."
            )


HOUSE = Form()
"""The form of the report."""

_form: ContextVar[Form] = ContextVar("form", default=HOUSE)


@contextmanager
def in_form(form: Form) -> Iterator[None]:
    """Draw figures in this form until the block ends."""
    token = _form.set(form)
    try:
        yield
    finally:
        _form.reset(token)


def form_now() -> Form:
    """The form in which figures are drawn at this moment."""
    return _form.get()


def read_width(text: str) -> float:
    """A width as it is written (`3.3in`, `84mm`, `8.4cm`), in inches.

    Raises `UsageError` for another text.
    """
    match = _WIDTH.fullmatch(text)
    if match is None:
        raise UsageError(
            f"{text!r} is no width: write a number and its unit, as in 3.3in, 84mm or 8.4cm."
        )
    return float(match[1]) * _INCHES[match[2]]
