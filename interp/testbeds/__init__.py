"""Models whose truth is known: `planted`, written by hand, and `storyworld`, trained on stories.

`records` has the table of them.
"""

from interp import lazy

__getattr__, __dir__ = lazy.exports(__name__, {})
