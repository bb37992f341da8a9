"""A model cut among processes: each holds its part of every layer and fetches the others' while it computes with it.

torch's own FSDP does that. The layers are cut; embeddings, output and what stands before the model, a prefix, each
process holds whole. Source: torch, docs, torch.distributed.fsdp.fully_shard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from bakeoff.errors import ConfigError
from bakeoff.models.devices import device, moved
from bakeoff.tuning.processes import team


def shard(model: Any) -> None:
    """Cut the layers of a causal language model where a launcher asked for it, and move it to the device.

    Raises `ConfigError` for a model whose layers are not where those of Llama are.
    """
    own = team()
    if not own.shards:
        return
    layers = getattr(model.base_model, "layers", None)
    if layers is None:
        raise ConfigError("FSDP: this model has no list of layers to cut; start without FSDP")
    own.wait()  # connects
    mesh = init_device_mesh(device().type, (own.size,))
    for layer in layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    # Under one root the layers share their buffers; what it would cut itself, the embeddings, stays whole.
    others = {one for one in model.parameters() if not is_cut(one)}
    fully_shard(model.base_model, mesh=mesh, reshard_after_forward=True, ignored_params=others)
    moved(model, device())


def is_cut(parameter: Tensor) -> bool:
    """Whether the processes hold parts of it."""
    return isinstance(parameter, DTensor)


def part(parameter: Tensor) -> Tensor:
    """What this process holds of a parameter; the same memory."""
    held: Tensor = parameter.detach()
    return held.to_local() if isinstance(held, DTensor) else parameter


def whole(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put together what is cut, in process 0's main memory, and nothing in the others', which must ask as well."""
    found = {}
    for name, held in tensors.items():
        found[name] = _gathered(held) if isinstance(held, DTensor) else held
    return found if writes() else {}


def writes() -> bool:
    """Whether this process can write the model: where it is cut, process 0 alone has it whole."""
    return team().leads or not team().shards


def joined(held: Tensor, like: Tensor) -> Tensor:
    """`held` of every process put together as by `whole`, where it was cut as the parameter `like` is."""
    if not isinstance(like, DTensor):
        return held
    return _gathered(
        DTensor.from_local(held, like.device_mesh, like.placements, shape=like.shape, stride=like.stride())
    )


def own_part(found: Tensor, like: Tensor) -> Tensor:
    """This process's part of `found`, cut as the parameter `like` is."""
    found = found.to(like.device)
    if not isinstance(like, DTensor):
        return found
    return part(distribute_tensor(found, like.device_mesh, like.placements, src_data_rank=None))


def gradients(loss: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    """Of the sum of all processes' `loss` for a cut parameter, whose part it is; of this one's for any other."""
    for parameter in parameters:
        parameter.grad = None  # of the last step
    loss.backward()  # type: ignore[no-untyped-call]
    found = []
    for parameter in parameters:
        held = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        # FSDP gives the mean over the processes.
        found.append(part(held) * team().size if is_cut(parameter) else held)
        parameter.grad = None
    return found


def norm(found: Sequence[Tensor], parameters: Sequence[Tensor]) -> Tensor:
    """Of all gradients together, of which those of cut parameters are parts."""
    if not any(map(is_cut, parameters)):
        return torch.nn.utils.get_total_norm(found)
    parts = [one for one, parameter in zip(found, parameters, strict=True) if is_cut(parameter)]
    wholes = [one for one, parameter in zip(found, parameters, strict=True) if not is_cut(parameter)]
    squares = torch.nn.utils.get_total_norm(parts).square()
    team().add([squares])
    return (squares + torch.nn.utils.get_total_norm(wholes).square()).sqrt()


def _gathered(held: Any) -> Tensor:
    """One at a time, so that a GPU never holds more than one whole."""
    found: Tensor = held.full_tensor()
    return found.cpu() if team().leads else found.new_empty(0)
