"""Language models: load one by name, read and edit what it computes, and know whether it can be trusted."""

from interp.models.chat import ChatTemplate
from interp.models.language_model import LanguageModel
from interp.models.loading import load
from interp.models.sizes import Dims
from interp.models.tokens import Batch
from interp.models.weightless import outline

__all__ = ["Batch", "ChatTemplate", "Dims", "LanguageModel", "load", "outline"]
