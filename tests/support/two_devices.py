"""Two devices that no machine needs to have: tensors that compute on the CPU, say that they lie
elsewhere, and do not mix.

An operation on tensors of different devices raises, as on GPUs: only single numbers, and indices,
may come from the CPU.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.hooks import attach_align_device_hook_on_blocks
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from interp.models import LanguageModel
from interp.models.loading.loader import put_bridge, sizes

HERE, THERE, CPU = torch.device("cpu", 1), torch.device("cpu", 2), torch.device("cpu")

_ATEN = torch.ops.aten
_MOVING = (_ATEN._to_copy.default, _ATEN.copy_.default)
_INDEXING = (
    _ATEN.index.Tensor,
    _ATEN.index_put.default,
    _ATEN.index_put_.default,
    _ATEN._index_put_impl_.default,
)


class Placed(torch.Tensor):
    """A tensor with its numbers in CPU memory (`inner`), which says that it lies on `device`."""

    @staticmethod
    def __new__(cls, inner: torch.Tensor, device: torch.device) -> "Placed":
        layout = {
            "strides": inner.stride(),
            "storage_offset": inner.storage_offset(),
            "dtype": inner.dtype,
        }
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, device=device, **layout)

    def __init__(self, inner: torch.Tensor, device: torch.device) -> None:
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    def tolist(self) -> Any:
        return self.inner.tolist()

    def __repr__(self, **_: Any) -> str:
        return f"Placed({self.inner!r}, {self.device})"


class _Factories(TorchDispatchMode):
    """Catches what makes a tensor on a device out of nothing."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Literals(TorchFunctionMode):
    """Catches `torch.tensor`, which the dispatcher never sees."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.tensor and torch.device(kwargs.get("device") or CPU) in (HERE, THERE):
            device = torch.device(kwargs.pop("device"))
            return Placed(func(*args, **kwargs), device)
        return func(*args, **kwargs)


def _run(func: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
    tensors = [leaf for leaf in tree_leaves((args, dict(kwargs))) if isinstance(leaf, torch.Tensor)]
    wanted = kwargs.get("device")
    if func in _MOVING:
        lies = args[0].device if wanted is None else torch.device(wanted)
    elif tensors:
        lies = _common(func, args, tensors)
    else:
        lies = CPU if wanted is None else torch.device(wanted)
    inner_kwargs = {**kwargs, "device": CPU} if wanted is not None else dict(kwargs)
    plain = tree_map(
        lambda leaf: leaf.inner if isinstance(leaf, Placed) else leaf, (args, inner_kwargs)
    )
    result = func(*plain[0], **plain[1])
    if func._schema.name.endswith("_") and tensors:  # changed in place: the same tensor goes back
        return args[0]
    if lies in (CPU, torch.device("cpu", 0)):
        return result
    return tree_map(
        lambda leaf: Placed(leaf, lies) if isinstance(leaf, torch.Tensor) else leaf, result
    )


def _common(func: Any, args: Any, tensors: list[torch.Tensor]) -> torch.device:
    """The one device of an operation's tensors; raises as CUDA does where there are two."""
    lies = {tensor.device for tensor in tensors if isinstance(tensor, Placed)}
    loose = [tensor for tensor in tensors if not isinstance(tensor, Placed) and tensor.ndim]
    if func in _INDEXING:
        loose = [
            tensor for tensor in loose if tensor is args[0] or (len(args) > 2 and tensor is args[2])
        ]
    if len(lies) > 1 or (lies and loose):
        found = sorted(str(device) for device in {*lies, *(tensor.device for tensor in loose)})
        raise RuntimeError(
            f"{func}: expected all tensors to be on the same device, found {', '.join(found)}"
        )
    return lies.pop() if lies else CPU


@contextmanager
def two_devices() -> Iterator[None]:
    """Inside, tensors may be made on and moved to HERE and THERE."""
    with _Literals(), _Factories():
        yield


def split(model: LanguageModel, device_map: Mapping[str, torch.device]) -> LanguageModel:
    """A model on the CPU once more, its modules on the devices of `device_map`, with the hooks that
    accelerate gives them.
    """

    def build() -> Any:
        plain: Any = model.plain()
        seen: dict[torch.nn.Parameter, torch.nn.Parameter] = {}
        for name, device in device_map.items():
            for module in plain.get_submodule(name).modules():
                _place(module, device, seen)
        everywhere = {"": next(iter(device_map.values())), **device_map}
        attach_align_device_hook_on_blocks(
            plain, execution_device=everywhere, offload=dict.fromkeys(device_map, False),
            skip_keys=plain._skip_keys_device_placement,
        )  # fmt: skip
        return plain

    hf_model = build()
    bridge = put_bridge(hf_model, model.name)
    return LanguageModel(
        model.name,
        bridge,
        model.tokenizer,
        dims=sizes(bridge, hf_model),
        provenance=model.provenance,
        plain=build,
        placement="auto",
        known=model.known,
    )


def _place(
    module: torch.nn.Module,
    device: torch.device,
    seen: dict[torch.nn.Parameter, torch.nn.Parameter],
) -> None:
    for name, weight in module._parameters.items():
        if weight is not None:
            moved = torch.nn.Parameter(Placed(weight.detach(), device), requires_grad=False)
            # a weight that two modules share stays shared
            module._parameters[name] = seen.setdefault(weight, moved)
    for name, buffer in module._buffers.items():
        if buffer is not None:
            module._buffers[name] = Placed(buffer, device)
