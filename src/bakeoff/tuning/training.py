"""The training loop: plain torch, the same for all methods that train by gradient.

Each core computes the gradient of its own piece of a batch, and the sums meet once a step. Cores that share every
matrix product meet thousands of times, and wait for the slowest each time: beside one other busy process that
was 5 times slower (docs/log.md).
"""

from __future__ import annotations

import csv
import math
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bakeoff.errors import ConfigError, DataError, ModelError
from bakeoff.files import write_json
from bakeoff.models.chat import Template
from bakeoff.models.devices import enter
from bakeoff.tuning import sharding, states
from bakeoff.tuning.processes import team
from bakeoff.tuning.rows import Item, Items, Row, batches, pieces

Progress = Callable[[int, int, str], None]

PIECE_TOKENS = 512
"""Tokens of one forward and backward pass, padding included; bounds memory, and does not change the result."""
GPU_PIECES = 16
"""How many times that goes through a GPU at once, which small pieces would leave idle; not tuned on one."""
WARM_UP = 0.1
"""Share of the steps in which the learning rate rises."""
SAVE_SECONDS = 60.0
"""Training that a crash may cost; a state that takes long to write is written less often."""
SAVE_SHARE = 0.05
"""Of the time, at most, for writing states."""


class Model(Protocol):
    """What is trained: a causal language model with something in or before it."""

    def states(self, rows: Sequence[Row]) -> Tensor:
        """Last hidden states [B, T, H] of right-padded `rows`."""

    def logits(self, states: Tensor) -> Tensor:
        """[N, H] -> [N, V]"""

    def autocast(self) -> Any:
        """The context in which both are computed."""

    def parameters(self) -> Iterable[Tensor]: ...
    def train(self) -> Any: ...
    def eval(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class Step:
    """One line of history.csv."""

    step: int
    epoch: int
    loss: float
    valid_loss: float | None
    """After the last step of each epoch."""
    learning_rate: float
    tokens_per_second: float


@dataclass(frozen=True, slots=True)
class Training:
    """What happened; the model holds the weights of the best epoch."""

    steps: tuple[Step, ...]
    best_step: int
    valid_loss_before: float | None
    valid_loss_after: float | None
    tokens_per_second: float
    train_seconds: float
    earlier_seconds: float
    """Of these, before an interruption."""
    trained_parameters: int


_watch: ContextVar[Callable[[int, float], None] | None] = ContextVar("watch", default=None)


@contextmanager
def watched(watch: Callable[[int, float], None]) -> Iterator[None]:
    """While it lasts, `watch` is told each epoch with its validation loss, and may end the training by raising."""
    token = _watch.set(watch)
    try:
        yield
    finally:
        _watch.reset(token)


def token_loss(model: Model, rows: Sequence[Row]) -> Tensor:
    """Summed negative log-likelihood of the trained tokens of `rows`."""
    return -logprobs(model, rows).sum()


def train(
    model: Model,
    train_items: Sequence[Items],
    valid_items: Sequence[Items],
    *,
    seed: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    cores: int,
    out: Path,
    loss: Callable[[Model, Any], Tensor] = token_loss,
    prepare: Callable[[int, Sequence[Items]], Sequence[Items]] = lambda step, batch: batch,
    multiplied: Sequence[Tensor] = (),
    weight_decay: float = 0.0,
    patience: int = 0,
    progress: Progress | None = None,
) -> Training:
    """Minimise `loss` over the items' weight with AdamW; keep the epoch that is best on `valid_items`, else the last.

    Goes on from the newest whole state in `out/state`. `prepare` may rewrite the batch of a step before its gradient is
    taken. `multiplied`: trained weights that nothing but products in bfloat16 reads. `patience`: end after so many
    epochs without a better one; 0 never does. The number of `cores` changes no bit of the result, unless the model
    draws random numbers.
    """
    if patience < 0:
        raise ConfigError(f"patience is {patience}, but must be 0, which never ends a training early, or more")
    if not train_items:
        raise DataError("there is nothing to learn: no text has two tokens or more; add some")
    shuffle = random.Random(seed)
    plan = [(epoch, batch) for epoch in range(1, epochs + 1) for batch in batches(train_items, batch_size, shuffle)]
    total = sum(item.size for _, batch in plan for item in batch)
    learner, own = _Learner(model, loss, cores, weight_decay, multiplied), team()
    keeper = _Keeper((out if own.leads else out.parent) / "state", learner, writes=own.leads)
    run = keeper.resumed() or _Run(before=learner.loss(valid_items))
    earlier = run.seconds
    for number, (epoch, batch) in enumerate(plan, start=1):
        if number <= len(run.steps):
            continue
        start = time.perf_counter()
        rate = learning_rate * _schedule(number, len(plan))
        prepared = own.told(lambda number=number, batch=batch: prepare(number, batch))  # type: ignore[misc]
        value = learner.step(prepared, rate)
        run.seconds += time.perf_counter() - start
        run.done += sum(item.size for item in batch)
        last_of_epoch = number == len(plan) or plan[number][0] != epoch
        valid_loss = learner.loss(valid_items) if last_of_epoch else None
        run.steps.append(Step(number, epoch, value, valid_loss, rate, run.done / run.seconds))
        if last_of_epoch and run.improved(valid_loss):
            learner.keep()
        if progress and own.leads:
            progress(run.done, total, f"training: loss {value:.2f}")
        if valid_loss is not None and (watch := _watch.get()):
            watch(epoch, valid_loss)
        if last_of_epoch and patience and run.waited >= patience:
            break
        if number < len(plan):
            keeper.offered(run)
    learner.restore()
    return Training(
        tuple(run.steps),
        run.best_step,
        run.before,
        None if run.before is None else run.best_loss,
        run.done / run.seconds,
        run.seconds,
        earlier,
        learner.size,
    )


@dataclass(slots=True)
class _Run:
    """What a state remembers beside the tensors."""

    before: float | None
    steps: list[Step] = field(default_factory=list)
    best_loss: float = math.inf
    best_step: int = 0
    waited: int = 0
    """Epochs since the best."""
    done: int = 0
    """Tokens."""
    seconds: float = 0.0

    def improved(self, valid_loss: float | None) -> bool:
        """Note the epoch that has just ended; whether it is the best so far, as without validation each is."""
        self.waited += 1
        if not (valid_loss is None or valid_loss < self.best_loss):
            return False
        self.best_loss, self.best_step, self.waited = valid_loss or math.inf, len(self.steps), 0
        return True


class _Keeper:
    """Writes where a training stands, as often as is worth its time."""

    def __init__(self, folder: Path, learner: _Learner, *, writes: bool) -> None:
        self._folder = folder
        self._learner = learner
        self._writes = writes
        self._saved, self._cost = time.perf_counter(), 0.0

    def resumed(self) -> _Run | None:
        """The newest whole state, put into the learner; None where there is none."""
        found, own = states.newest(self._folder), team()
        step = found[1]["step"] if found else 0
        if step != own.told(lambda: step):
            raise ModelError(
                f"{self._folder} holds another state for process {own.rank} than for process 0; all processes must see "
                "the same project folder"
            )
        if found is None:
            self._learner.keep()
            return None
        run = _Run(**found[1]["run"])
        run.steps = [Step(**step) for step in run.steps]  # type: ignore[arg-type]
        self._learner.load(found[0])
        return run

    def offered(self, run: _Run) -> None:
        """Write the state after the last step of `run`, if it is time."""
        start, own = time.perf_counter(), team()
        due = start - self._saved > max(SAVE_SECONDS, self._cost / SAVE_SHARE)
        if own.told(lambda: due) if own.shards else due and self._writes:
            state = self._learner.dump()
            if self._writes:
                states.save(self._folder, len(run.steps), state, {"run": asdict(run)})
            self._saved = time.perf_counter()
            self._cost = self._saved - start


class _Learner:
    """A model that takes steps of AdamW, the pieces of a batch spread over the cores."""

    def __init__(
        self,
        model: Model,
        loss: Callable[..., Tensor],
        cores: int,
        weight_decay: float,
        multiplied: Sequence[Tensor] = (),
    ) -> None:
        self._model = model
        self._piece_loss = loss
        self._team = team()
        self._read = [parameter for parameter in model.parameters() if parameter.requires_grad]
        # Cast once a step instead of for each piece, which a gradient comes out of in bfloat16 either way.
        halves = set() if self._team.shards else {id(parameter) for parameter in multiplied}
        self._parameters = [one.detach().clone() if id(one) in halves else sharding.part(one) for one in self._read]
        self._device = self._parameters[0].device
        self._budget = PIECE_TOKENS if self._device.type == "cpu" else PIECE_TOKENS * GPU_PIECES
        self._best: list[Tensor] = []
        # In one pass on the CPU: by default it takes a new array for each of its seven operations.
        fused = self._device.type == "cpu"
        self._optimizer = torch.optim.AdamW(self._parameters, weight_decay=weight_decay, fused=fused or None)
        self._show(torch.bfloat16)
        torch.set_num_threads(1)
        self._cores = ThreadPoolExecutor(cores, initializer=enter, initargs=(self._device,))

    @property
    def size(self) -> int:
        """Trained numbers."""
        return sum(parameter.numel() for parameter in self._read)

    def step(self, batch: Sequence[Item], rate: float) -> float:
        """One step at the learning rate `rate`; the pieces add up to exactly the whole batch's gradient."""
        self._model.train()
        weight = sum(item.weight for item in batch)
        total, sums = torch.zeros(1, dtype=torch.float64), None
        # Summed in the order of the pieces, whichever core was first: the same seed gives the same weights.
        for value, gradients in self._cores.map(self._gradients, *self._pieces(batch)):
            total += value
            if sums is None:
                sums = [gradient.float() for gradient in gradients]
            else:
                for held, gradient in zip(sums, gradients, strict=True):
                    held += gradient
        # Of a batch with fewer rows than processes, some have none.
        sums = sums or [torch.zeros_like(parameter) for parameter in self._parameters]
        self._team.add([held for held, read in zip(sums, self._read, strict=True) if not sharding.is_cut(read)])
        self._team.add([total])
        for parameter, gradient in zip(self._parameters, sums, strict=True):
            parameter.grad = gradient.div_(weight)
        torch.nn.utils.clip_grads_with_norm_(self._parameters, 1.0, sharding.norm(sums, self._read))
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self._show(torch.bfloat16)
        return float(total) / weight

    def loss(self, items: Sequence[Item]) -> float | None:
        """Mean loss, without dropout; None for no items."""
        if not items:
            return None
        self._model.eval()
        own = self._cores.map(self._loss, *self._pieces(items))
        total = torch.tensor([sum(own)], dtype=torch.float64)
        self._team.add([total])
        return float(total) / sum(item.weight for item in items)

    def keep(self) -> None:
        """Remember today's weights as the best."""
        self._best = [parameter.detach().clone() for parameter in self._parameters]

    def restore(self) -> None:
        """Go back to the best weights; the model then holds all of them in fp32."""
        with torch.no_grad():
            for parameter, value in zip(self._parameters, self._best, strict=True):
                parameter.copy_(value)
        self._show(torch.float32)

    def dump(self) -> dict[str, Tensor]:
        """All that the next step depends on; where the model is cut, all processes must ask at the same time."""
        found = {"random": torch.get_rng_state()}
        if self._device.type == "cuda":
            found["random.cuda"] = torch.cuda.get_rng_state(self._device)
        for number, (read, parameter, best) in enumerate(zip(self._read, self._parameters, self._best, strict=True)):
            held = {"parameter": parameter.detach(), "best": best, **self._optimizer.state[parameter]}
            step = held.pop("step")
            found |= {f"{name}.{number}": sharding.joined(value, read) for name, value in held.items()}
            found[f"step.{number}"] = step
        return found

    def load(self, tensors: dict[str, Tensor]) -> None:
        """The reverse of `dump`."""
        torch.set_rng_state(tensors["random"])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random.cuda"], self._device)
        self._best = []
        with torch.no_grad():
            for number, (read, parameter) in enumerate(zip(self._read, self._parameters, strict=True)):
                names = ("parameter", "best", "exp_avg", "exp_avg_sq")
                held = {name: sharding.own_part(tensors[f"{name}.{number}"], read) for name in names}
                parameter.copy_(held.pop("parameter"))
                self._best.append(held.pop("best"))
                self._optimizer.state[parameter] = {"step": tensors[f"step.{number}"], **held}
        self._show(torch.bfloat16)

    def _show(self, kind: torch.dtype) -> None:
        """Let the model read what it does not hold itself, in that precision."""
        for read, parameter in zip(self._read, self._parameters, strict=True):
            if read is not parameter and not sharding.is_cut(read):
                read.data = parameter.to(kind)

    def _pieces(self, items: Sequence[Item]) -> tuple[list[Sequence[Item]], list[float]]:
        """This process's pieces and how much each counts: of a cut model all compute as many, some for nothing."""
        own = list(pieces(self._team.share(items), self._budget))
        idle = self._team.most(len(own)) - len(own)
        return own + [items[:1]] * idle, [1.0] * len(own) + [0.0] * idle

    def _gradients(self, piece: Sequence[Item], share: float) -> tuple[float, Sequence[Tensor]]:
        loss = self._piece_loss(self._model, piece) * share
        if self._team.shards:
            return float(loss.detach()), sharding.gradients(loss, self._read)
        return float(loss.detach()), torch.autograd.grad(loss, self._read)

    def _loss(self, piece: Sequence[Item], share: float) -> float:
        with torch.no_grad():
            return float(self._piece_loss(self._model, piece)) * share


def logprobs(model: Model, rows: Sequence[Row]) -> Tensor:
    """Log-probability [B] of the trained tokens of each row, summed over them.

    Logits are computed for the trained positions only: over a vocabulary of 49,152 all of them would take
    longer than the rest of the model.
    """
    with model.autocast():
        states = model.states(rows)
        logits = model.logits(states.flatten(0, 1)[predicting(rows, states.shape[1])])
    targets = torch.tensor([token for row in rows for token in row.ids[row.prompt :]], device=logits.device)
    losses = cross_entropy(logits.float(), targets, reduction="none")
    ends = accumulate(row.trained for row in rows)
    return -torch.stack([losses[end - row.trained : end].sum() for row, end in zip(rows, ends, strict=True)])


def predicting(rows: Sequence[Row], longest: int) -> list[int]:
    """Where in `rows`, padded to `longest` and put end to end, the state stands that predicts each trained token."""
    return [
        number * longest + place - 1 for number, row in enumerate(rows) for place in range(row.prompt, len(row.ids))
    ]


def padded(rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
    """Ids and mask [B, T] of `rows`, padded on the right."""
    longest = max(len(row.ids) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    for number, row in enumerate(rows):
        ids[number, : len(row.ids)] = torch.tensor(row.ids)
        mask[number, : len(row.ids)] = 1
    return ids, mask


def write(result: Training, template: Template, out: Path, **more: float | None) -> None:
    """history.csv, a line a step, and training.json, which `tuning.run` takes into the manifest."""
    with (out / "history.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(Step.__dataclass_fields__))
        writer.writeheader()
        writer.writerows(asdict(step) for step in result.steps)
    facts = {key: value for key, value in asdict(result).items() if key != "steps"}
    write_json(out / "training.json", facts | more | {"template_sha256": template.sha256})


def _schedule(step: int, steps: int) -> float:
    """Share of the learning rate: linear warm-up, then a cosine down to zero."""
    warm = max(1, round(WARM_UP * steps))
    if step <= warm:
        return step / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm + 1)))
