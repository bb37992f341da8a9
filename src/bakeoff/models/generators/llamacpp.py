"""GGUF weights through llama.cpp, in this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from bakeoff.models import weights as files
from bakeoff.models.chat import opening, render
from bakeoff.models.llama import Engine
from bakeoff.models.local import Local
from bakeoff.types import Generation, Message, Pieces, Schema, Usage


class Generator(Local):
    """Greedy decoding: the same prompt gives the same text.

    The engine starts at the first use. `adapters` are all loaded beside one base and switched per request:
    `tuned = base.using(checkpoint)`. Messages before the last one - instructions, shots - are read once as long as
    they stay the same. `reuse` keeps whatever a prompt has in common with the one before, earlier turns too. That
    changes the batch shapes and with them the last bits of the logits: answers then depend on what was asked before,
    so a comparison, which must be repeatable, does without.
    """

    def __init__(self, weights: files.Weights, *, adapters: Sequence[Path] = (), reuse: bool = False) -> None:
        super().__init__(weights, adapters, reuse)
        self._alongside = False
        self._shared = _Shared(weights.path, self.window, self._adapters)

    @property
    def parallel(self) -> int:
        """Requests that are best answered at once: a core each by a small model, else one after the other."""
        return self._shared.lanes

    def alongside(self) -> Generator:
        """The same for several threads: each request takes one of `parallel` engines that have one core each.

        The texts are those of this generator, for what a thread computes does not depend on how many there are.
        """
        twin = self.using(self.weights)
        twin._alongside = True
        return twin

    def count(self, messages: Sequence[Message]) -> int:
        return len(self._shared.engine.tokens(render(self.template, messages), special=True))

    def generate(self, messages: Sequence[Message], *, max_tokens: int = 128, schema: Schema = None) -> Generation:
        request, prefix = self._request(messages, max_tokens)
        request |= {"json_schema": dict(schema)} if schema else {}
        with self._shared.lane() if self._alongside else nullcontext(self._shared.engine) as engine:
            response = engine.complete(request, prefix=prefix)
        return _generation(response["choices"][0]["text"], [response])

    def stream(self, messages: Sequence[Message], *, max_tokens: int = 128) -> Pieces:
        # The engine calls back from inside one blocking call, so that call gets a thread of its own.
        pieces: SimpleQueue[dict[str, Any] | BaseException | None] = SimpleQueue()
        left = threading.Event()

        def take(piece: dict[str, Any]) -> bool:
            pieces.put(piece)
            return left.is_set()

        def run() -> None:
            try:
                request, prefix = self._request(messages, max_tokens)
                self._shared.engine.complete(request, take, prefix=prefix)
                pieces.put(None)
            except BaseException as error:
                pieces.put(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        seen = []
        try:
            while (piece := pieces.get()) is not None:
                if isinstance(piece, BaseException):
                    raise piece
                seen.append(piece)
                if text := piece["choices"][0]["text"]:
                    yield text
        finally:
            # Whoever stops listening, by Ctrl-C say, must not leave while the engine still works: that crashes Python.
            left.set()
            thread.join()
        return _generation("".join(piece["choices"][0]["text"] for piece in seen), seen)

    def _request(self, messages: Sequence[Message], max_tokens: int) -> tuple[dict[str, Any], Sequence[int]]:
        """What the engine is asked, and the tokens of its prompt that are kept."""
        prompt = render(self.template, messages)
        prefix = () if self._reuse else self._shared.prefix(opening(self.template, messages, prompt))
        request = {
            "prompt": self._shared.engine.tokens(prompt, special=True) if prefix else prompt,
            "max_tokens": max_tokens,
            "temperature": 0,
            "logprobs": 1,
            "cache_prompt": self._reuse,
            "lora": [
                {"id": number, "scale": 1.0 if adapter == self.weights.adapter else 0.0}
                for number, adapter in enumerate(self._shared.adapters)
            ],
        }
        return request, prefix


def _generation(text: str, pieces: Sequence[dict[str, Any]]) -> Generation:
    """The last piece holds the timings, and each the probabilities of its tokens."""
    timings = pieces[-1]["timings"]
    usage = Usage(
        timings["prompt_n"],
        timings["cache_n"],
        timings["predicted_n"],
        (timings["prompt_ms"] + timings["predicted_ms"]) / 1000,
    )
    choices = [piece["choices"][0] for piece in pieces]
    told = [entry["logprob"] for choice in choices for entry in (choice["logprobs"] or {}).get("content", ())]
    return Generation(text, usage, "length" if choices[-1]["finish_reason"] == "length" else "stop", tuple(told))


class _Shared:
    """The engines that a generator and its twins have in common, each started when first asked for."""

    def __init__(self, path: Path, window: int, adapters: tuple[Path, ...]) -> None:
        self.adapters = adapters
        self._path = path
        self._window = window
        self._engine: Engine | None = None
        self._lock = threading.Lock()
        self._prefix: tuple[str, list[int]] = "", []
        self.lanes = min(files.cores(), files.MOST_LANES) if files.is_small(path) else 1
        self._lanes: SimpleQueue[Engine | None] = SimpleQueue()
        for _ in range(self.lanes):
            self._lanes.put(None)

    @property
    def engine(self) -> Engine:
        with self._lock:
            if self._engine is None:
                self._engine = self._start()
            return self._engine

    def prefix(self, text: str) -> Sequence[int]:
        """Tokens of `text`, with which a prompt begins, where they are worth keeping, else none."""
        known, tokens = self._prefix
        if text != known:
            tokens = self.engine.tokens(text, special=True) if text else []
            self._prefix = text, tokens
        return tokens if len(tokens) >= files.LEAST_KEPT else ()

    @contextmanager
    def lane(self) -> Iterator[Engine]:
        """An engine with one thread that nobody else asks meanwhile; waits for one."""
        engine = self._lanes.get()
        try:
            engine = engine or self._start(threads=1)
            yield engine
        finally:
            self._lanes.put(engine)

    def _start(self, threads: int = 0) -> Engine:
        adapters = [adapter / "adapter.gguf" for adapter in self.adapters]
        return Engine(self._path, window=self._window, adapters=adapters, threads=threads)
