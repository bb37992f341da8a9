"""What a RAG system is told to do with the passages: `template = "answer"`, `"summarise"` or `"translate"`."""

from __future__ import annotations

from dataclasses import dataclass

from bakeoff.errors import UnknownNameError
from bakeoff.systems.prompt import ABSTENTION


@dataclass(frozen=True, slots=True)
class Template:
    """An instruction, what the passages are, and what it is that is asked."""

    instruction: str
    passages: str
    asked: str
    max_tokens: int
    needs_passages: bool = True
    """Whether there is nothing to say where nothing is retrieved."""


TEMPLATES = {
    "answer": Template(
        "Answer the question from the passages in a few words and cite the passage, as in [1]. "
        f"If they do not hold the answer, reply: {ABSTENTION}",
        "Passages",
        "Question",
        max_tokens=48,
    ),
    "summarise": Template(
        "Summarise what the passages say about the topic in one to three sentences, and cite the passage behind each "
        f"sentence, as in [1]. If they say nothing about it, reply: {ABSTENTION}",
        "Passages",
        "Topic",
        max_tokens=160,
    ),
    "translate": Template(
        "Translate the text. Use the words that the glossary and the earlier translations below use, and reply with "
        "the translation only.",
        "Glossary and earlier translations",
        "Text",
        max_tokens=160,
        needs_passages=False,
    ),
}


def template(name: str) -> Template:
    """Raises `UnknownNameError`."""
    if name not in TEMPLATES:
        raise UnknownNameError("template", name, TEMPLATES)
    return TEMPLATES[name]
