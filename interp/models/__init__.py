"""Language models: load one by name, read and edit what it computes, and know whether it can be
trusted.

Names are imported when first used, so that a name can be told from none (`loading.names`) without
torch.
"""

from typing import TYPE_CHECKING

from interp import lazy

if TYPE_CHECKING:
    from interp.models.chat_template import ChatTemplate
    from interp.models.language_model import LanguageModel
    from interp.models.loading.loader import load
    from interp.models.loading.weightless import outline
    from interp.models.sizes import Dims
    from interp.models.texts.tokens import Batch

_HOME = {
    "Batch": "interp.models.texts.tokens",
    "ChatTemplate": "interp.models.chat_template",
    "Dims": "interp.models.sizes",
    "LanguageModel": "interp.models.language_model",
    "load": "interp.models.loading.loader",
    "outline": "interp.models.loading.weightless",
}

__all__ = ["Batch", "ChatTemplate", "Dims", "LanguageModel", "load", "outline"]

__getattr__, __dir__ = lazy.exports(__name__, _HOME)
