"""A model's weights as matrices, wherever they lie: refused where what is stored is no matrix."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge

from interp.errors import ResourceError, UsageError
from interp.models.placement import home, materialised
from interp.models.sizes import Dims


class Weights:
    """The matrices of a model's blocks under the field's names, on its `device`; `LanguageModel` is
    one.

    Raises `UsageError` for a layer or a matrix that the model does not have, and as `weight_of`
    does.
    """

    name: str
    bridge: TransformerBridge
    dims: Dims
    device: torch.device
    dtype: torch.dtype

    def block(self, layer: int) -> Any:
        """The bridge's block `layer`; raises `UsageError` when the model has no such layer."""
        if not 0 <= layer < self.dims.n_layers:
            raise UsageError(
                f"layer {layer} is out of range. {self.name} has layers "
                f"0..{self.dims.n_layers - 1}."
            )
        return self.bridge.blocks[layer]

    def W_O(self, layer: int) -> Float[Tensor, "n_heads d_head d_model"]:
        """Output matrices of the heads of `layer`: z[head] @ W_O[head], summed, plus b_O is what
        attention computes.
        """
        return self._matrix(self.block(layer).attn, "W_O")

    def b_O(self, layer: int) -> Float[Tensor, " d_model"]:
        """Bias of attention's output; zeros where the model has none."""
        return self._bias(self.block(layer).attn, "b_O")

    def W_out(self, layer: int) -> Float[Tensor, "d_mlp d_model"]:
        """Output matrix of the MLP: post @ W_out plus b_out is what the MLP computes."""
        return self._matrix(self.block(layer).mlp, "W_out")

    def b_out(self, layer: int) -> Float[Tensor, " d_model"]:
        """Bias of the MLP's output; zeros where the model has none."""
        mlp = self.block(layer).mlp
        # mlp.b_out is what the bias was when the bridge was built
        return self._bias(getattr(mlp, "out", mlp), "bias")

    @property
    def W_U(self) -> Float[Tensor, "d_model d_vocab"]:
        """Unembedding, applied to the residual stream after the final norm."""
        return self._matrix(self.bridge.unembed, "W_U")

    @property
    def W_E(self) -> Float[Tensor, "d_vocab d_model"]:
        """Token embedding, as stored (Gemma scales it by sqrt(d_model) when it embeds)."""
        return self._matrix(self.bridge.embed, "W_E")

    def post_norm(
        self, layer: int, sublayer: Literal["attn", "mlp"]
    ) -> Callable[[Tensor], Tensor] | None:
        """The norm that a sublayer's output passes before it is added to the residual stream
        (Gemma-2), or None.
        """
        own = dict(self.block(layer).named_children())
        norm: Any = own.get({"attn": "ln1_post", "mlp": "ln2_post"}[sublayer])
        return None if norm is None else lambda x: norm(x.to(home(norm))).to(x.device)

    def _matrix(self, component: nn.Module, name: str) -> Tensor:
        """A weight, on `device`. Raises as `weight_of`, and `UsageError` where the model has
        none.
        """
        weight = weight_of(component, name)
        if weight is None:
            raise UsageError(
                f"{self.name} has no {name} there: contributions cannot be read off this kind of "
                "layer."
            )
        return weight.to(self.device)

    def _bias(self, component: nn.Module, name: str) -> Float[Tensor, " d_model"]:
        bias = weight_of(component, name)
        return (
            torch.zeros(self.dims.d_model, device=self.device, dtype=self.dtype)
            if bias is None
            else bias.to(self.device)
        )


def weight_of(component: nn.Module, name: str) -> Tensor | None:
    """The weight that TransformerLens calls `name` (W_O, W_out, b_O) of a bridge component; None
    where it has none.

    Raises `UsageError` for a quantised one, whose numbers mean nothing without its scales,
    `ResourceError` for one whose values cannot be fetched from where they lie.
    """
    with materialised(component):
        if any(part.device.type == "meta" for part in component.parameters()):
            raise ResourceError(
                f"the values of {name} cannot be fetched from where they lie: load the model on "
                "one device."
            )
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
    """Whether numbers of this dtype stand for themselves: floats of two bytes or more need no
    scales.
    """
    return dtype.is_floating_point and dtype.itemsize > 1


def _unreadable(name: str) -> UsageError:
    return UsageError(
        f"{name} cannot be read: the checkpoint is quantised, and its matrices are no plain "
        "numbers. Contributions of heads and neurons need the checkpoint that it was made from."
    )
