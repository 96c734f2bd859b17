"""The key-value cache of a model: under which name it is handed on, and a copy of some of its rows.

This is the one place that knows the inside of transformers' caches. Up to transformers 5.23 a cache
is passed as `past_key_values`; from 5.24 on its name is `cache`. TransformerLens 4.3 knows the
first name only: its attention components would leave a cache of the second name empty, and each
new token would see itself alone. `carry_cache` gives them the name that they know.
"""

import copy
import inspect
import logging
from collections.abc import Callable
from typing import Any

from jaxtyping import Int
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.generalized_components.mla_attention import MLAAttentionBridge
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

OLD, NEW = "past_key_values", "cache"


def cache_name(hf_model: nn.Module) -> str:
    """The argument by which the forward pass of `hf_model` takes its cache."""
    parameters = inspect.signature(hf_model.forward).parameters
    return NEW if NEW in parameters else OLD


def carry_cache(bridge: TransformerBridge) -> None:
    """Let the attention components of `bridge` find a cache that comes under its new name."""
    if cache_name(bridge.original_model) == OLD:
        return
    for module in bridge.modules():
        update = getattr(module, "_update_kv_cache", None)
        if isinstance(module, MLAAttentionBridge):  # it takes the cache out of its arguments itself
            module.register_forward_pre_hook(_rename, with_kwargs=True)
        elif update is not None:
            setattr(module, "_update_kv_cache", _under_old_name(update))  # noqa: B010 (mypy)
    logging.getLogger("transformers.utils.generic").addFilter(_says_nothing_of_the_name)


def held(cache: Any) -> int:
    """How many columns `cache` holds; 0 for none."""
    return 0 if cache is None else int(cache.get_seq_length())


def copy_rows(cache: Any, rows: Int[Tensor, " row"], *, first: int = 0) -> Any:
    """A copy of `cache` that holds `rows` of it, at the layers from `first` on: those below are of
    no use to a pass that begins there. Extending the copy leaves the original as it was.
    """
    if cache is None:
        return None
    fresh = copy.copy(cache)
    fresh.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in fresh.layers[first:]:
        own = rows.to(layer.keys.device)
        layer.keys, layer.values = layer.keys[own], layer.values[own]
    return fresh


def cropped(cache: Any, columns: int) -> Any:
    """The first `columns` of `cache`, in the same memory; None where a layer no longer holds them:
    its window has moved on, or it keeps something else than columns.
    """
    if not all(_holds_all(layer) for layer in cache.layers):
        return None
    fresh = copy.copy(cache)
    fresh.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in fresh.layers:
        layer.keys, layer.values = layer.keys[:, :, :columns], layer.values[:, :, :columns]
        if isinstance(layer, DynamicSlidingWindowLayer):
            layer.cumulative_length = columns
    return fresh


def _holds_all(layer: Any) -> bool:
    """Whether a layer of a cache holds every column that was read, and nothing else: a kind that is
    made of these may hold a state beside, which cannot be cut.
    """
    if type(layer) is DynamicSlidingWindowLayer:
        return bool(layer.get_seq_length() < layer.sliding_window)
    return type(layer) is DynamicLayer


def stacked(low: Any, high: Any, *, first: int) -> Any:
    """A cache of the layers of `high` from `first` on, and of `low` below, whatever its rows: a
    pass that begins at `first` asks the layers below only how many columns there are.
    """
    fresh = copy.copy(high)
    fresh.layers = [*low.layers[:first], *high.layers[first:]]
    return fresh


def _under_old_name(update: Callable[..., Any]) -> Callable[..., Any]:
    def renamed(k: Tensor, v: Tensor, **options: Any) -> Any:
        options.setdefault(OLD, options.pop(NEW, None))
        return update(k, v, **options)

    return renamed


def _rename(module: nn.Module, args: Any, named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The arguments of an attention component, its cache under the old name."""
    if NEW in named:
        named = {**named, OLD: named[NEW]}
        del named[NEW]
    return args, named


def _says_nothing_of_the_name(record: logging.LogRecord) -> bool:
    """The bridge still reads the old name of the output: no user can act on that advice."""
    return OLD not in record.getMessage()
