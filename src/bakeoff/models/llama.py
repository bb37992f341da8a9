"""One llama.cpp engine inside this process, for generators and embedders alike.

The engine also listens on a loopback port; it gets a random key, so that no other user of the machine can ask it.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xllamacpp

from bakeoff.errors import ModelError
from bakeoff.models import weights

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Whatever $http_proxy says: the prompt and the engine's key are nobody else's."""


def free_cores() -> int:
    """Threads to use: the cores that are idle at this moment, at least one; `$BAKEOFF_THREADS` overrides.

    llama.cpp's threads wait for each other spinning. Two of them on two cores of which one was taken needed 320 to
    790 ms for an embedding, one alone 7 ms (docs/log.md).
    """
    if wanted := os.environ.get("BAKEOFF_THREADS"):
        return int(wanted)
    cores = weights.cores()
    stat = Path("/proc/stat")
    if not stat.is_file():
        return cores
    before = _ticks(stat)
    time.sleep(0.1)
    idle, total = (after - then for after, then in zip(_ticks(stat), before, strict=True))
    share = idle / total if total else 1.0
    return max(1, min(cores, round(share * (os.cpu_count() or cores))))


def _writing_threads(path: Path) -> int:
    """Threads for one token at a time; never a matter of what else runs.

    From 512 tokens on llama.cpp cuts attention into a part for each of these threads, so their number changes the last
    bits and with them whole answers: 12 of 40 between one thread and two. Reading a prompt has no such cut. A small
    model writes 4% slower with one thread.
    """
    return 1 if weights.is_small(path) else os.cpu_count() or 1


def _ticks(stat: Path) -> tuple[int, int]:
    """Idle and all ticks of the machine since it started; work at low priority yields, so it counts as idle."""
    user, nice, system, idle, waiting, *others = map(int, stat.read_text().split("\n", 1)[0].split()[1:9])
    return nice + idle + waiting, user + nice + system + idle + waiting + sum(others)


class Engine:
    """A loaded GGUF file with its adapters; closing is left to the garbage collector, as llama.cpp does it."""

    def __init__(
        self,
        path: Path,
        *,
        window: int,
        adapters: Sequence[Path] = (),
        embedding: bool = False,
        slots: int = 1,
        threads: int = 0,
    ) -> None:
        """`threads` read a prompt; by default as many as cores are free."""
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx = window * slots
        params.n_parallel = slots
        params.cpuparams_batch.n_threads = threads or free_cores()
        params.cpuparams.n_threads = _writing_threads(path)
        params.warmup = False
        # llama.cpp's server keeps the state of prompts that have gone, up to 8 GB by default; each of 480 tokens took
        # 16 MB and 500 questions filled a laptop. What a slot holds by itself is enough for a conversation.
        params.cache_ram_mib = 0
        params.ui = False
        params.verbosity = -1
        self._turn = threading.Lock()
        self._held: tuple[tuple[int, ...], str] | None = None
        self._key = secrets.token_hex(16)
        params.api_keys = [self._key]
        if embedding:
            params.embedding = True
            params.n_batch = params.n_ubatch = window * slots
        params.lora_adapters = [_lora(adapter) for adapter in adapters]
        try:
            with _uninterrupted():
                self._server = xllamacpp.Server(params)
        except RuntimeError as error:
            raise ModelError(
                f"llama.cpp cannot load {path}; is it a complete GGUF file that fits in memory?"
            ) from error

    def complete(
        self,
        request: dict[str, Any],
        on_piece: Callable[[dict[str, Any]], bool] | None = None,
        *,
        prefix: Sequence[int] = (),
    ) -> Any:
        """OpenAI-style text completion; raises `ModelError` with the engine's reason.

        `on_piece` is called with each token, from within this call, and may end it by returning True. `prefix`: tokens
        at the head of the prompt, a list of tokens then, that are kept for the next request.
        """
        with self._turn:
            took = 0.0
            if prefix:
                took = self._hold(tuple(prefix), request)
                request = {**request, "cache_prompt": True}
            else:
                self._held = None
            if on_piece is None:
                response = _checked(self._server.handle_completions(request))
                response["timings"]["prompt_ms"] += took
                return response
            failed: list[dict[str, Any]] = []

            def take(piece: dict[str, Any]) -> bool:
                # What is raised here would be lost inside the engine.
                if "error" in piece:
                    failed.append(piece)
                return bool(failed) or on_piece(piece)

            self._server.handle_completions({**request, "stream": True}, take)
            for piece in failed:
                _checked(piece)
            return None

    def _hold(self, prefix: tuple[int, ...], request: dict[str, Any]) -> float:
        """Have the engine hold the states of `prefix` and nothing behind it that the prompt goes on with; milliseconds.

        They are always computed in one go from an empty state, and so is what follows them: batches have the same
        shapes whatever was asked before, and an answer the same last bits.
        """
        asked, key = request["prompt"], (prefix, repr(request["lora"]))
        other = 1 if asked[len(prefix)] == 0 else 0
        same, self._held = key == self._held, None
        alone = {**request, "prompt": [*prefix, other], "max_tokens": 0, "cache_prompt": same}
        alone.pop("json_schema", None)
        response = _checked(self._server.handle_completions(alone))
        self._held = key
        return float(response["timings"]["prompt_ms"])

    def embed(self, texts: Sequence[str]) -> Any:
        """OpenAI-style embeddings."""
        return _checked(self._server.handle_embeddings({"input": list(texts), "model": "embedder"}))

    def tokens(self, text: str, *, special: bool) -> list[int]:
        """Token ids; with `special`, control tokens in `text` are single tokens and the model's own are added."""
        return list(self._tokenize({"content": text, "add_special": special, "parse_special": special}))

    def pieces(self, text: str) -> list[str]:
        """The text of each token, without the model's own; bytes that are no text by themselves come as ""."""
        found = self._tokenize({"content": text, "add_special": False, "parse_special": False, "with_pieces": True})
        return [entry["piece"] if isinstance(entry["piece"], str) else "" for entry in found]

    def _tokenize(self, request: dict[str, Any]) -> Any:
        asked = urllib.request.Request(
            f"{self._server.listening_address}/tokenize",
            json.dumps(request).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {self._key}"},
        )
        try:
            with _DIRECT.open(asked, timeout=60) as response:
                return json.loads(response.read())["tokens"]
        except OSError as error:
            raise ModelError(f"llama.cpp does not answer in this process ({error}); run the command again") from error


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait: the engine hangs for good if the signal meets one of its threads while it starts."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _lora(path: Path) -> xllamacpp.CommonAdapterLoraInfo:
    adapter = xllamacpp.CommonAdapterLoraInfo()
    adapter.path = str(path)
    adapter.scale = 0.0  # each request says which adapter it wants
    return adapter


def _checked(response: Any) -> Any:
    if isinstance(response, dict) and "error" in response:
        raise ModelError(f"llama.cpp: {response['error']['message']}")
    return response
