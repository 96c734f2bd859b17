"""Letters of other scripts in figures: fonts that have them where one is installed, one warning
where none is.
"""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from matplotlib.font_manager import fontManager

FIRST = "DejaVu Sans"
"""Comes with matplotlib, and draws all that it can: equal figures on every machine."""

OTHERS = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Noto Sans JP",
    "Noto Sans SC",
    "Noto Sans KR",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Droid Sans Fallback",
    "IPAGothic",
    "Hiragino Sans",
    "PingFang SC",
    "Microsoft YaHei",
    "Noto Sans Arabic",
    "Noto Naskh Arabic",
    "Amiri",
    "Noto Sans Devanagari",
    "Noto Sans Bengali",
    "Noto Sans Thai",
    "Noto Sans Hebrew",
    "Noto Sans Tamil",
    "Arial Unicode MS",
    "Unifont",
)
"""Fonts of other scripts that people have, asked in this order for what `FIRST` lacks."""

_MISSING = re.compile(r"Glyph (\d+) ")


def families() -> list[str]:
    """`FIRST`, and those of `OTHERS` that are installed: each letter is drawn by the first that has
    it.
    """
    installed = {font.name for font in fontManager.ttflist}
    return [FIRST, *(name for name in OTHERS if name in installed)]


@contextmanager
def told_once() -> Iterator[None]:
    """Inside, the letters that no font has are gathered; at the end one warning names them, where
    matplotlib would warn of each again and again. Other warnings pass.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    missing: dict[str, None] = {}
    for one in caught:
        glyph = _MISSING.match(str(one.message))
        if glyph is not None:
            missing[chr(int(glyph[1]))] = None
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    if missing:
        shown = "".join(missing)[:40]
        warnings.warn(
            f"no installed font has the letters {shown}: figures show boxes in their place. "
            "Install a font that has them, such as Noto Sans CJK or Noto Sans Arabic; tables and "
            "page have them.",
            stacklevel=3,
        )
