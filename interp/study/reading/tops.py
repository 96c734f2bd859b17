"""The rows of a data set that carry each emotion most, kept while they stream."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from interp.errors import UsageError
from interp.study.reading.place import ReadAt


class Tops:
    """Of each emotion the `most` rows that read highest: by share, or by percentile where the
    direction gives no share. Equal rows keep their order. `plain` are the columns that are no unit.
    """

    def __init__(self, place: ReadAt, plain: Sequence[str], most: int) -> None:
        if most < 1:
            raise UsageError(f"top is {most}: at least 1 is needed.")
        self._most, self._plain = most, list(plain)
        self._by: Mapping[str, tuple[str, str]] = {
            emotion: (f"share_{emotion}", f"percentile_{emotion}") for emotion in place.directions
        }
        self._best: dict[str, pd.DataFrame] = {}

    def see(self, frame: pd.DataFrame) -> None:
        """Look at further rows."""
        for emotion, (share, percentile) in self._by.items():
            known = self._best.get(emotion)
            rows = frame if known is None else pd.concat([known, frame], ignore_index=True)
            values = (rows[share] if rows[share].notna().any() else rows[percentile]).to_numpy()
            order = np.argsort(-values, kind="stable")[: self._most]
            self._best[emotion] = rows.iloc[order].reset_index(drop=True)

    def frame(self) -> pd.DataFrame:
        """The highest first, of one emotion after the other: `emotion`, `rank`, the plain columns
        and the units of that emotion.
        """
        found = [self._of(emotion, best) for emotion, best in self._best.items()]
        return pd.concat(found, ignore_index=True) if found else pd.DataFrame()

    def _of(self, emotion: str, best: pd.DataFrame) -> pd.DataFrame:
        own = of_emotion(best, emotion, self._plain)
        own.insert(1, "rank", range(1, len(own) + 1))
        return own


def of_emotion(rows: pd.DataFrame, emotion: str, plain: Sequence[str]) -> pd.DataFrame:
    """Rows of readings with `emotion`, the columns that are no unit, and the units of that emotion
    alone, without its name.
    """
    units = {name: str(name).removesuffix(f"_{emotion}") for name in rows}
    own = rows[[n for n in rows if n in plain or units[n] != n]].rename(columns=units)
    own.insert(0, "emotion", emotion)
    return own
