"""Any OpenAI-compatible endpoint: a hosted API, vLLM, Ollama, LM Studio, llama.cpp's server."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import openai

from bakeoff.errors import ModelError, UnreachableError
from bakeoff.types import Generation, Message, Pieces, Schema, Usage

ABOUT_THE_PROMPT = (400, 413, 422)
"""Status codes that another prompt might not get."""


class Generator:
    """`name` is `<base url>#<model>`, as in `http://localhost:8000/v1#my-model`.

    The key is read from `BAKEOFF_API_KEY`, else `OPENAI_API_KEY`; local servers need none.
    """

    parallel = 8
    """Requests at once: endpoints batch them, or queue them themselves."""

    def __init__(self, name: str, *, window: int = 8192) -> None:
        self.name = name
        self.window = window
        url, _, self._model = name.partition("#")
        if not self._model:
            raise ModelError(f"{name!r} names no model; write {url}#MODEL")
        key = os.environ.get("BAKEOFF_API_KEY") or os.environ.get("OPENAI_API_KEY") or "none"
        self._client = openai.OpenAI(base_url=url, api_key=key, max_retries=2, timeout=120)

    def count(self, messages: Sequence[Message]) -> int:
        # The endpoint's tokenizer is unknown; three characters a token overestimates English, so prompts fit.
        return sum(len(message.content) // 3 + 8 for message in messages)

    def generate(self, messages: Sequence[Message], *, max_tokens: int = 128, schema: Schema = None) -> Generation:
        start = time.perf_counter()
        form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
        with self._understood():
            response = self._ask(messages, max_tokens, **({"response_format": form} if schema else {}))
            choice = response.choices[0]
            usage = self._usage(response.usage, messages, time.perf_counter() - start)
            cut = choice.finish_reason == "length"
            return Generation(choice.message.content or "", usage, "length" if cut else "stop")

    def stream(self, messages: Sequence[Message], *, max_tokens: int = 128) -> Pieces:
        start = time.perf_counter()
        text, finish, used = "", "", None
        with self._understood():
            for event in self._ask(messages, max_tokens, stream=True, stream_options={"include_usage": True}):
                used = event.usage or used
                if event.choices:
                    finish = event.choices[0].finish_reason or finish or "stop"
                    if piece := event.choices[0].delta.content:
                        text += piece
                        yield piece
            if not finish:
                raise ValueError("no event held a reply")
            usage = self._usage(used, messages, time.perf_counter() - start)
        return Generation(text, usage, "length" if finish == "length" else "stop")

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """What is no reply, or breaks off, is the server's fault and no wrong answer."""
        where = self._client.base_url
        try:
            yield
        except openai.APIConnectionError as error:
            raise UnreachableError(f"no answer from {where}; is the server running there?") from error
        except openai.APIStatusError as error:
            kind = ModelError if error.status_code in ABOUT_THE_PROMPT else UnreachableError
            raise kind(f"{where} refused: {error.status_code} {error.message}") from error
        except (openai.APIError, AttributeError, IndexError, TypeError, ValueError) as error:
            raise UnreachableError(
                f"{where} sent no chat completion ({type(error).__name__}: {str(error)[:200]}); is the address right, "
                "as in http://localhost:8000/v1#MODEL?"
            ) from error

    def _usage(self, used: Any, messages: Sequence[Message], seconds: float) -> Usage:
        details = getattr(used, "prompt_tokens_details", None)
        cached = (details.cached_tokens or 0) if details else 0
        prompt = (used.prompt_tokens if used else None) or self.count(messages)
        return Usage(prompt - cached, cached, (used.completion_tokens if used else None) or 0, seconds)

    def _ask(self, messages: Sequence[Message], max_tokens: int, **options: Any) -> Any:
        turns: Any = [{"role": message.role, "content": message.content} for message in messages]
        return self._client.chat.completions.create(
            model=self._model, messages=turns, max_tokens=max_tokens, temperature=0, **options
        )
