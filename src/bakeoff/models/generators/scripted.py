"""The test double that ships: replies by rule, instantly and always the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bakeoff.types import Generation, Message, Pieces, Schema, Usage


class Generator:
    """Replies with the first entry of `replies` whose key occurs in the last message, or as a function says."""

    def __init__(
        self,
        replies: Mapping[str, str] | Callable[[Sequence[Message]], str] | None = None,
        *,
        default: str = "I don't know.",
        name: str = "scripted",
    ) -> None:
        self.name = name
        self.window = 4096
        self._replies = replies if replies is not None else {}
        self._default = default

    def count(self, messages: Sequence[Message]) -> int:
        return sum(len(message.content.split()) for message in messages)

    def generate(self, messages: Sequence[Message], *, max_tokens: int = 128, schema: Schema = None) -> Generation:
        words = self._reply(messages).split(" ")
        usage = Usage(fresh=self.count(messages), output=min(len(words), max_tokens))
        return Generation(" ".join(words[:max_tokens]), usage, "length" if len(words) > max_tokens else "stop")

    def stream(self, messages: Sequence[Message], *, max_tokens: int = 128) -> Pieces:
        whole = self.generate(messages, max_tokens=max_tokens)
        for number, word in enumerate(whole.text.split(" ")):
            yield word if number == 0 else f" {word}"
        return whole

    def _reply(self, messages: Sequence[Message]) -> str:
        if callable(self._replies):
            return self._replies(messages)
        asked = messages[-1].content
        return next((reply for key, reply in self._replies.items() if key in asked), self._default)
