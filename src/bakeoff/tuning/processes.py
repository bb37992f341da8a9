"""Several processes that train one model: each takes its rows of every batch, and the gradients are summed.

`torchrun` and `accelerate launch` start them and say in the environment who is who. Process 0 alone writes.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from bakeoff.errors import ConfigError

PATIENCE = timedelta(hours=6)
"""How long a process waits for another, which may be studying a checkpoint or asking a model meanwhile."""
BUCKET = 1 << 22
"""Numbers that are summed in one message."""

SHARDS = "ACCELERATE_USE_FSDP"
"""Variable that `accelerate launch --use_fsdp` sets to true."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Team:
    """Who this process is among how many."""

    rank: int = 0
    size: int = 1
    shards: bool = False
    """Whether the model is cut among the processes (FSDP), not held whole by each."""

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """This process's part; longest first and in turn, so that all have about the same to do."""
        if self.size == 1:
            return items
        ordered: list[Any] = sorted(items, key=lambda item: item.size, reverse=True)
        return ordered[self.rank :: self.size]

    def wait(self) -> None:
        """Until all have come here."""
        if self.size > 1:
            _connected().barrier()

    def add(self, tensors: Sequence[Any]) -> None:
        """Put into each of `tensors` the sum over all processes."""
        if self.size == 1:
            return
        import torch

        group = _connected()
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
            group.all_reduce(flat)
            for tensor, summed in zip(bucket, torch.split(flat, [tensor.numel() for tensor in bucket]), strict=True):
                tensor.copy_(summed.view_as(tensor))

    def most(self, count: int) -> int:
        """The largest `count` of all processes where the model is cut: all must compute with it as often."""
        if not self.shards:
            return count
        import torch

        found = torch.tensor([count])
        group = _connected()
        group.all_reduce(found, op=group.ReduceOp.MAX)
        return int(found)

    def told(self, make: Callable[[], T]) -> T:
        """What process 0 makes, in all of them."""
        if self.size == 1:
            return make()
        held: list[Any] = [make() if self.leads else None]
        _connected().broadcast_object_list(held, src=0)
        found: T = held[0]
        return found


def team() -> Team:
    """As the launcher says; one process where there was none."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    shards = os.environ.get(SHARDS, "").lower() in ("1", "true")
    return Team(int(os.environ.get("RANK", "0")), size, shards) if size > 1 else Team()


@contextmanager
def in_turn() -> Iterator[None]:
    """Process 0 first, then the others, who find what it has written."""
    own = team()
    if not own.leads:
        own.wait()
    yield
    if own.leads:
        own.wait()


def refuse_several(what: str) -> None:
    """Raises `ConfigError` where a launcher has started several processes for what only one may do."""
    if team().size > 1:
        raise ConfigError(
            f"{what} writes files, and a launcher has started it {team().size} times; run it once, without the "
            "launcher: only the training of `bakeoff tune` is shared among processes"
        )


def _connected() -> Any:
    import torch
    import torch.distributed as group

    from bakeoff.models.devices import device

    if not group.is_initialized():
        if missing := [name for name in ("MASTER_ADDR", "MASTER_PORT", "RANK") if name not in os.environ]:
            raise ConfigError(
                f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but {', '.join(missing)} is not set; start with torchrun "
                "or accelerate launch, or unset WORLD_SIZE"
            )
        where = device()
        if where.type == "cuda":
            torch.cuda.set_device(where)
        # Counts and losses are summed where they are, on the CPU.
        group.init_process_group("cpu:gloo,cuda:nccl" if where.type == "cuda" else "gloo", timeout=PATIENCE)
        atexit.register(group.destroy_process_group)
    return group


def _buckets(tensors: Sequence[Any]) -> Iterator[list[Any]]:
    bucket: list[Any] = []
    for tensor in tensors:
        if bucket and sum(one.numel() for one in bucket) + tensor.numel() > BUCKET:
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
