"""Language models: load one by name, read and edit what it computes, and know whether it can be
trusted.
"""

from interp.models.chat_template import ChatTemplate
from interp.models.language_model import LanguageModel
from interp.models.loading.loader import load
from interp.models.loading.weightless import outline
from interp.models.sizes import Dims
from interp.models.texts.tokens import Batch

__all__ = ["Batch", "ChatTemplate", "Dims", "LanguageModel", "load", "outline"]
