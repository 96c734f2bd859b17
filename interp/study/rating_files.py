"""A person's ratings of emotions' words, in a CSV file."""

import csv
import math
from io import StringIO
from pathlib import Path

import stimuli
from interp.analysis.circumplex import Ratings
from interp.errors import DataError, UsageError
from interp.files import read_regular

_MOST = 1 << 24


def read_ratings(path: Path | None) -> Ratings:
    """The ratings of emotions' words in a CSV file (a column `emotion`, the others numbers); the
    package's own eight words without a file.

    Raises `DataError` naming the row and the column of what is no number, and of a word that is
    rated twice.
    """
    if path is None:
        return stimuli.ratings()
    try:
        text = read_regular(path, most=_MOST).decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"cannot read --ratings {path}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"--ratings {path} is not UTF-8 at byte {error.start}.") from error
    rows = csv.DictReader(StringIO(text, newline=""))
    kinds = [name for name in rows.fieldnames or () if name != "emotion"]
    if "emotion" not in (rows.fieldnames or ()) or not kinds:
        raise DataError(
            f"--ratings {path}: expected a column emotion and one for each rating (valence, "
            f"arousal); it has {', '.join(rows.fieldnames or ()) or 'nothing'}."
        )
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        where = f"--ratings {path}, line {rows.line_num}"
        if row["emotion"] in found:
            raise DataError(f"{where}: {row['emotion']!r} is rated twice.")
        found[row["emotion"]] = {kind: _rating(row[kind], kind, where) for kind in kinds}
    return found


def _rating(text: str | None, kind: str, where: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where}: {kind} is {text!r}; expected a number.")
    return value
