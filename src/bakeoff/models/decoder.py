"""Run a graph of `decoder_graph`: several requests at a time, each with the bits it would have alone.

Whoever asks puts a request into the queue. A lane is a thread that lives while there is work: it reads the prompts of
up to `SLOTS` requests, one after the other, and then writes their replies together, a token of each at a time, for one
pass over the weights serves them all.
"""

from __future__ import annotations

import math
import mmap
import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

# Unless told before it is imported, ONNX Runtime reports to its maker and keeps an id for that in the home folder.
os.environ["ORT_DISABLE_TELEMETRY"] = os.environ["ORT_TELEMETRY_DISABLED"] = "1"

import onnxruntime

from bakeoff.errors import ModelError
from bakeoff.models import weights as files
from bakeoff.models.decoder_graph import read_facts
from bakeoff.models.gguf import Rows

SLOTS = 4
"""Replies written together in one lane; a slot holds a cache of its own."""
MOST_READ = 512
"""Tokens in one pass: of the scores of all with all, half are masked anyway, and they would fill the memory."""
LEAST_READ = 2
"""Tokens in one pass: products with one row add up in another order, and bits would depend on what stands beside it."""


def threads() -> int:
    """Cores to use; `$BAKEOFF_THREADS` overrides."""
    return int(os.environ.get("BAKEOFF_THREADS") or files.cores())


def lanes() -> int:
    """Threads that read and write side by side."""
    return min(threads(), files.MOST_LANES)


@dataclass(eq=False)
class Request:
    """A prompt, and where its reply is collected."""

    prompt: list[int]
    most: int
    """Tokens of the reply."""
    adapter: Path | None = None
    keep: int = 0
    """Tokens at the head of the prompt whose states are kept for others; -1: all, the reply's too.

    Those of a prompt are the same however it is read; a reply's differ in the last bits from those of the same tokens
    in a prompt.
    """
    stream: SimpleQueue[int | None] | None = None
    """Gets each token as it comes, and None at the end."""
    left: threading.Event = field(default_factory=threading.Event)
    """Set when nobody waits for the reply any more."""
    done: Future[Request] = field(default_factory=Future)
    reply: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    stopped: bool = False
    """By a control token, not by `most` or the window."""
    cached: int = 0
    seconds: float = 0.0
    """Of the lane; a token's time is shared among those who got one."""

    def end(self, error: BaseException | None = None) -> None:
        if error:
            self.done.set_exception(error)
        else:
            self.done.set_result(self)
        if self.stream:
            self.stream.put(None)


class Decoder:
    """A loaded graph."""

    def __init__(self, graph: Path, window: int, *, adapted: bool) -> None:
        """`adapted`: whether the graph takes additions."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads()
        options.inter_op_num_threads = 1
        # Threads that wait spinning take the cores from whatever else runs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self.session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors share no class
            raise ModelError(f"ONNX Runtime cannot load {graph}: {error}; is there enough memory?") from error
        self.turned, self.controls, self.tokenizer = read_facts(self.session.get_modelmeta().custom_metadata_map)
        self.window = window
        self._additions: dict[Path | None, Mapping[str, Rows]] = {None: self.turned.addition(None) if adapted else {}}
        self._waiting: deque[Request] = deque()
        self._working = 0
        self._kept: OrderedDict[tuple[Path | None, tuple[int, ...]], list[Rows]] = OrderedDict()
        self._lock = threading.Lock()
        self._turning = threading.Lock()

    def ask(self, request: Request) -> None:
        """Have `request` answered; raises `ModelError` where its prompt is empty or too long."""
        if not request.prompt:
            raise ModelError("the model's chat template made an empty prompt; name a model whose template works")
        if len(request.prompt) >= self.window:
            raise ModelError(
                f"the prompt has {len(request.prompt)} tokens and the model reads {self.window}, reply included; "
                "ask a shorter question, or for fewer or shorter passages"
            )
        with self._lock:
            if self._working < lanes():
                # Never a daemon, even if the asker is: Python crashes where it leaves ONNX Runtime at work.
                threading.Thread(target=self._work, name="decoder", daemon=False).start()
                self._working += 1
            self._waiting.append(request)

    def addition(self, adapter: Path | None) -> Mapping[str, Rows]:
        """Raises `ModelError` for an adapter on a graph that takes none."""
        with self._turning:
            if adapter not in self._additions:
                if not self._additions[None]:
                    raise ModelError(f"the model was loaded without adapters and cannot take {adapter}")
                self._additions[adapter] = self.turned.addition(adapter)
            return self._additions[adapter]

    def held(self, request: Request) -> tuple[int, list[Rows]]:
        """How many of the prompt's tokens have states that are kept, and these."""
        asked, best, states = np.array(request.prompt[:-LEAST_READ]), 0, []
        with self._lock:
            for (adapter, tokens), kept in self._kept.items():
                if adapter == request.adapter:
                    n = min(len(tokens), len(asked))
                    differs = np.flatnonzero(np.array(tokens[:n]) != asked[:n])
                    same = int(differs[0]) if len(differs) else n
                    if same > best:
                        best, states = same, kept
        return best, states

    def keep(self, adapter: Path | None, tokens: Sequence[int], states: list[Rows]) -> None:
        """Keep the states of `tokens`; the oldest go where all have more tokens than the window."""
        with self._lock:
            self._kept[adapter, tuple(tokens)] = states
            while len(self._kept) > 1 and sum(len(tokens) for _, tokens in self._kept) > self.window:
                self._kept.popitem(last=False)

    def keeps(self, adapter: Path | None, tokens: Sequence[int]) -> bool:
        with self._lock:
            known = (adapter, tuple(tokens)) in self._kept
            if known:
                self._kept.move_to_end((adapter, tuple(tokens)))
            return known

    def _work(self) -> None:
        lane: _Lane | None = None
        while True:
            with self._lock:
                request = self._next(lane)
                if request is None and (lane is None or not lane.busy):
                    self._working -= 1
                    return
            if request is None:
                assert lane is not None
                lane.write()
                continue
            try:
                if lane is None or lane.adapter != request.adapter:
                    lane = _Lane(self, request.adapter)
                lane.read(request)
            except BaseException as error:
                if lane:
                    lane.leave(request)
                request.end(error)

    def _next(self, lane: _Lane | None) -> Request | None:
        """The first in the queue, if the lane has a place for it: replies written together have the same adapter."""
        while self._waiting:
            request = self._waiting[0]
            if lane is not None and lane.busy and (lane.full or lane.adapter != request.adapter):
                return None
            self._waiting.popleft()
            if not request.left.is_set():
                return request
        return None


class _Lane:
    """Caches side by side, in one array for each layer's keys and one for its values, long enough for any prompt."""

    def __init__(self, decoder: Decoder, adapter: Path | None) -> None:
        self.adapter = adapter
        self._decoder = decoder
        sizes = decoder.turned.sizes
        shape = (SLOTS, sizes["kv_heads"], decoder.window, sizes["head"])
        self._states = {f"{part}{layer}": _room(shape) for layer in range(sizes["layers"]) for part in "kv"}
        self._addition = decoder.addition(adapter)
        self._vocabulary = sizes["vocabulary"]
        self._asked: list[Request | None] = [None] * SLOTS
        self._places = [0] * SLOTS
        """Tokens that each slot has states of."""
        self._bindings: dict[tuple[int, int], Any] = {}

    @property
    def busy(self) -> bool:
        return any(self._asked)

    @property
    def full(self) -> bool:
        return all(self._asked)

    def read(self, request: Request) -> None:
        """Read the prompt into a free slot, and write the first token."""
        start = time.perf_counter()
        slot = self._asked.index(None)
        n, states = self._decoder.held(request)
        for mine, kept in zip(self._states.values(), states, strict=False):
            mine[slot, :, :n] = kept[:, :n]
        # The pieces are about as long as each other, so that none is too short.
        ends = np.linspace(n, len(request.prompt), 1 + -(-(len(request.prompt) - n) // MOST_READ)).astype(int)
        for first, end in pairwise(ends.tolist()):
            if request.left.is_set():
                request.end()
                return
            logits = self._pass([request.prompt[first:end]], slot, [end])
        request.cached, self._places[slot] = n, len(request.prompt)
        if request.keep > 0 and not self._decoder.keeps(self.adapter, head := request.prompt[: request.keep]):
            self._decoder.keep(self.adapter, head, self._copy(slot, len(head)))
        self._asked[slot] = request
        request.seconds += time.perf_counter() - start
        self._take(slot, logits[0])

    def write(self) -> None:
        """One more token for everyone."""
        start = time.perf_counter()
        # Slots between and a second one, if there is only one, are computed for nothing.
        size = max(LEAST_READ, *(slot + 1 for slot, one in enumerate(self._asked) if one))
        tokens = [[one.reply[-1]] if one else [0] for one in self._asked[:size]]
        ends = [place + 1 if one else 1 for one, place in zip(self._asked[:size], self._places, strict=False)]
        try:
            logits = self._pass(tokens, 0, ends)
            took = (time.perf_counter() - start) / sum(map(bool, self._asked))
            for slot, request in enumerate(self._asked):
                if request:
                    self._places[slot] += 1
                    request.seconds += took
                    self._take(slot, logits[slot])
        except BaseException as error:
            for request in filter(None, list(self._asked)):
                self.leave(request)
                request.end(error)

    def leave(self, request: Request) -> None:
        """Free its slot, if it has one."""
        if request in self._asked:
            self._asked[self._asked.index(request)] = None

    def _take(self, slot: int, logits: Rows) -> None:
        """The likeliest token goes to the reply, or ends it."""
        request = self._asked[slot]
        assert request is not None
        if request.most > 0:
            token = int(logits.argmax())
            most = float(logits[token])
            request.stopped = token in self._decoder.controls
            request.reply.append(token)
            request.logprobs.append(-float(np.log(np.exp(logits - most).sum(dtype=np.float64))))
            if request.stream and not request.stopped:
                request.stream.put(token)
        full = len(request.reply) >= request.most or self._places[slot] >= self._decoder.window - 1
        if request.stopped or full or request.left.is_set():
            if request.keep < 0:
                everything = [*request.prompt, *request.reply][: self._places[slot]]
                self._decoder.keep(self.adapter, everything, self._copy(slot, len(everything)))
            self.leave(request)
            request.end()

    def _pass(self, tokens: list[list[int]], slot: int, ends: list[int]) -> Rows:
        """Logits after the last tokens, shape [B, vocabulary]; `tokens` go into `slot` and the following ones."""
        size = len(tokens)
        binding = self._binding(slot, size)
        inputs = {
            "ids": np.array(tokens, dtype=np.int64),
            "last": np.array(ends, dtype=np.int32) - 1,
            "total": np.array([max(ends)], dtype=np.int32),
        }
        for name, value in inputs.items():
            binding.bind_cpu_input(name, value)
        logits = np.empty((size, 1, self._vocabulary), dtype=np.float32)
        binding.bind_output("logits", "cpu", 0, np.float32, logits.shape, logits.ctypes.data)
        try:
            self._decoder.session.run_with_iobinding(binding)
        except Exception as error:  # its errors share no class
            raise ModelError(f"ONNX Runtime cannot go on ({error}); ask again, with a shorter prompt") from error
        return logits[:, 0]

    def _binding(self, slot: int, size: int) -> Any:
        """What stays the same for these slots: states are read and overwritten in place."""
        if (slot, size) not in self._bindings:
            binding = self._bindings[slot, size] = self._decoder.session.io_binding()
            for name, states in self._states.items():
                part = states[slot : slot + size]
                binding.bind_input(name, "cpu", 0, np.float32, part.shape, part.ctypes.data)
                binding.bind_output(f"n{name}", "cpu", 0, np.float32, part.shape, part.ctypes.data)
            for name, factor in self._addition.items():
                binding.bind_cpu_input(name, factor)
        return self._bindings[slot, size]

    def _copy(self, slot: int, n: int) -> list[Rows]:
        return [states[slot, :, :n].copy() for states in self._states.values()]


def _room(shape: tuple[int, ...]) -> Rows:
    """Zeros whose pages are taken as they are written to, and given back with the last reference."""
    size = 4 * math.prod(shape)
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE) if hasattr(mmap, "MAP_PRIVATE") else mmap.mmap(-1, size)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        with suppress(OSError):  # some kernels know no hugepages
            pages.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(pages, dtype=np.float32).reshape(shape)
