"""Reading a model's weights as matrices, wherever they lie: refused where what is stored is no matrix."""

import torch
from torch import Tensor, nn

from interp.errors import ResourceError, UsageError
from interp.models.placement import materialised


def weight_of(component: nn.Module, name: str) -> Tensor | None:
    """The weight that TransformerLens calls `name` (W_O, W_out, b_O) of a bridge component; None where it has none.

    Raises `UsageError` for a quantised one, whose numbers mean nothing without its scales, `ResourceError` for one whose values
    cannot be fetched from where they lie.
    """
    with materialised(component):
        if any(part.device.type == "meta" for part in component.parameters()):
            raise ResourceError(f"the values of {name} cannot be fetched from where they lie: load the model on one device.")
        try:
            weight = getattr(component, name, None)
        except NotImplementedError as error:  # TransformerLens's refusal of a packed matrix
            raise _unreadable(name) from error
        if weight is None:
            return None
        if not isinstance(weight, Tensor) or not is_stored_plainly(weight.dtype):
            raise _unreadable(name)
        return weight.detach()


def working_dtype(model: nn.Module) -> torch.dtype:
    """The dtype of activations: that of the first weight which is stored as it is computed with."""
    dtypes = [weight.dtype for weight in model.parameters()]
    return next(filter(is_stored_plainly, dtypes), dtypes[0])


def is_stored_plainly(dtype: torch.dtype) -> bool:
    """Whether numbers of this dtype stand for themselves: floats of two bytes or more need no scales."""
    return dtype.is_floating_point and dtype.itemsize > 1


def _unreadable(name: str) -> UsageError:
    return UsageError(
        f"{name} cannot be read: the checkpoint is quantised, and its matrices are no plain numbers. Contributions of heads "
        "and neurons need the checkpoint that it was made from."
    )
