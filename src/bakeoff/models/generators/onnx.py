"""SmolLM and its kin, from GGUF files, through ONNX Runtime: reads three times as fast as llama.cpp with VNNI."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from bakeoff.errors import ModelError
from bakeoff.files import write_atomically
from bakeoff.models import weights as files
from bakeoff.models.chat import opening, render
from bakeoff.models.decoder import SLOTS, Decoder, Request, lanes
from bakeoff.models.decoder_graph import EDITION, to_onnx
from bakeoff.models.local import Local
from bakeoff.types import Generation, Message, Pieces, Schema, Usage

if TYPE_CHECKING:
    from bakeoff.models.generators.llamacpp import Generator as LlamaCpp


class Generator(Local):
    """Greedy decoding: the same prompt gives the same text and the same bits, whatever is asked before or beside it.

    The model is loaded at the first use. `adapters` are switched per request: `tuned = base.using(checkpoint)`.
    Messages before the last one - instructions, shots - are read once as long as they stay the same. With `reuse`, so
    is whatever a prompt has in common with one before, earlier turns too, for which the last bits then depend on what
    was asked before. Where JSON of a given form is asked for, llama.cpp writes it.
    """

    def __init__(self, weights: files.Weights, *, adapters: Sequence[Path] = (), reuse: bool = False) -> None:
        super().__init__(weights, adapters, reuse)
        self._shared = _Shared(weights, self.window, self._adapters)

    @property
    def parallel(self) -> int:
        """Requests that are best asked at a time."""
        return lanes() * SLOTS

    def count(self, messages: Sequence[Message]) -> int:
        return len(self._shared.tokens(render(self.template, messages)))

    def generate(self, messages: Sequence[Message], *, max_tokens: int = 128, schema: Schema = None) -> Generation:
        if schema:
            return self._shared.grammar.using(self.weights).generate(messages, max_tokens=max_tokens, schema=schema)
        request = self._request(messages, max_tokens)
        try:
            self._shared.decoder.ask(request)
            return self._generation(request.done.result())
        finally:
            request.left.set()

    def stream(self, messages: Sequence[Message], *, max_tokens: int = 128) -> Pieces:
        request, told = self._request(messages, max_tokens), ""
        tokens = request.stream = SimpleQueue()
        try:
            self._shared.decoder.ask(request)
            text = DecodeStream(skip_special_tokens=True)
            while (token := tokens.get()) is not None:
                if piece := text.step(self._shared.tokenizer, token):
                    told += piece
                    yield piece
            made = self._generation(request.done.result())
        finally:
            request.left.set()
        if rest := made.text.removeprefix(told):  # a letter that was cut in its middle
            yield rest
        return made

    def _request(self, messages: Sequence[Message], max_tokens: int) -> Request:
        prompt = render(self.template, messages)
        head = self._shared.tokens(opening(self.template, messages, prompt))
        adapter = self.weights.adapter and self.weights.adapter / "adapter.gguf"
        keep = -1 if self._reuse else len(head) if len(head) >= files.LEAST_KEPT else 0
        return Request(self._shared.tokens(prompt), max_tokens, adapter, keep)

    def _generation(self, request: Request) -> Generation:
        text = self._shared.tokenizer.decode(request.reply, skip_special_tokens=True)
        fresh = len(request.prompt) - request.cached
        usage = Usage(fresh, request.cached, len(request.reply), request.seconds)
        return Generation(text, usage, "stop" if request.stopped else "length", tuple(request.logprobs))


class _Shared:
    """What a generator and its twins have in common, each part made when first asked for."""

    def __init__(self, weights: files.Weights, window: int, adapters: tuple[Path, ...]) -> None:
        self._weights = weights
        self._window = window
        self._adapters = adapters
        self._decoder: Decoder | None = None
        self._grammar: LlamaCpp | None = None
        self._lock = threading.Lock()

    @property
    def decoder(self) -> Decoder:
        with self._lock:
            if self._decoder is None:
                self._decoder = self._load()
            return self._decoder

    def _load(self) -> Decoder:
        adapted = bool(self._adapters)
        graph = _graph(self._weights.path, adapted)
        try:
            return Decoder(graph, self._window, adapted=adapted)
        except ModelError:  # damaged in the cache, perhaps: made once more from the model's own file
            graph.unlink(missing_ok=True)
            return Decoder(_graph(self._weights.path, adapted), self._window, adapted=adapted)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.from_str(self.decoder.tokenizer)

    @property
    def grammar(self) -> LlamaCpp:
        from bakeoff.models.generators.llamacpp import Generator as LlamaCpp

        with self._lock:
            if self._grammar is None:
                self._grammar = LlamaCpp(self._weights, adapters=self._adapters)
            return self._grammar

    def tokens(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)


def _graph(path: Path, adapted: bool) -> Path:
    """The graph of a GGUF file in the cache; written when it is not there yet."""
    folder, fingerprint = files.cache_folder() / "decoders", files.fingerprint(path)
    *earlier, graph = (
        folder / f"{fingerprint}-{edition}{'-adapted' * adapted}.onnx" for edition in range(1, EDITION + 1)
    )
    if not graph.is_file():
        write_atomically(graph, to_onnx(path, adapted=adapted))
        for one in earlier:
            one.unlink(missing_ok=True)
    return graph
