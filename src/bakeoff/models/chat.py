"""The one place that renders a conversation into the prompt of a model.

The template belongs to the model. It is foreign code, so it runs in Jinja's sandbox, and the model's special
tokens are taken apart inside message contents: a retrieved text that holds `<|im_end|>` cannot end its turn.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any

from bakeoff.errors import ModelError
from bakeoff.types import Message

TODAY = date(2024, 7, 26)
"""For templates that write the date: a comparison must repeat tomorrow. Llama's takes this one if told none."""

ALPACA = """{% for message in messages %}{% if message['role'] == 'user' %}\
{{ '### Instruction:\\n' + message['content'] + '\\n\\n### Response:\\n' }}\
{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token + '\\n\\n' }}\
{% else %}{{ message['content'] + '\\n\\n' }}{% endif %}{% endfor %}"""
"""For a base that has no template: needs no token but the one that ends a text (Taori et al. 2023)."""


@dataclass(frozen=True, slots=True)
class Template:
    """How one model wants its conversations written."""

    source: str
    """Jinja, as in the model's own files."""
    bos: str
    eos: str
    """Ends the assistant's turn; training must teach it."""
    specials: tuple[str, ...]
    """All control tokens of the vocabulary."""

    @property
    def sha256(self) -> str:
        """Checkpoints own their template by this hash."""
        return hashlib.sha256("\0".join([self.source, self.bos, self.eos]).encode()).hexdigest()


def render(template: Template, messages: Sequence[Message], *, generate: bool = True) -> str:
    """The prompt text; with `generate` it ends where the assistant's reply starts.

    Raises `ModelError` where the template itself fails.
    """
    turns = [{"role": message.role, "content": _defuse(message.content, template)} for message in messages]
    try:
        return str(
            _compiled(template.source).render(
                messages=turns, add_generation_prompt=generate, bos_token=template.bos, eos_token=template.eos
            )
        )
    except Exception as error:  # foreign code may raise anything
        raise ModelError(f"the model's chat template failed: {error}; name a model whose template works") from error


def opening(template: Template, messages: Sequence[Message], prompt: str) -> str:
    """The text of all `messages` but the last where `prompt` begins with it, else "".

    A turn ends with a control token, which is never part of another: its tokens are the prompt's first.
    """
    if len(messages) < 2:
        return ""
    try:
        text = render(template, messages[:-1], generate=False)
    except ModelError:  # some templates insist on a question: Qwen3.5's says "No user query found in messages."
        return ""
    return text if prompt.startswith(text) else ""


def completion(template: Template, messages: Sequence[Message]) -> tuple[str, str]:
    """Prompt and target of a training row, whose last message is the assistant's.

    The split is found by rendering, never by searching: the target is what the full rendering adds to the
    prompt that will be served, cut after the end-of-turn token.
    """
    prompt = render(template, messages[:-1])
    full = render(template, messages, generate=False)
    if not full.startswith(prompt):
        raise ModelError("the chat template renders training and serving differently; it cannot be trained on")
    target = full[len(prompt) :]
    end = target.find(template.eos)
    return prompt, target[: end + len(template.eos)] if end >= 0 else target + template.eos


def _defuse(content: str, template: Template) -> str:
    if not any(special in content for special in template.specials):
        return content
    pattern = "|".join(re.escape(special) for special in sorted(template.specials, key=len, reverse=True))
    return re.sub(pattern, lambda match: f"{match[0][0]} {match[0][1:]}", content)


@lru_cache(maxsize=8)
def _compiled(source: str) -> Any:
    from jinja2 import nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """`{% generation %}` marks for trainers what the assistant says; what stands inside is written as it is."""

        tags = {"generation"}  # noqa: RUF012 - as Jinja declares it

        def parse(self, parser: Parser) -> list[nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def raise_exception(message: str) -> None:
        raise ValueError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = TODAY.strftime
    return environment.from_string(source)
