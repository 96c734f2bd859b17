"""Reading: any texts, token by token, along the directions of a finished run.

texts    rows of a file, as they stream         tokens   projections, in calibrated units
place    which directions of which layer        outputs  blocks on disk, joined at the end
tops     the rows that read highest             verbs    `read`, `read_file`
"""

from interp.study.reading.verbs import (
    How,
    Job,
    TextsRead,
    read,
    read_file,
    read_rows_of,
)

__all__ = ["How", "Job", "TextsRead", "read", "read_file", "read_rows_of"]
