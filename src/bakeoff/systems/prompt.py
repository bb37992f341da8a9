"""Prompt: the model by itself - zero-shot, few-shot, or thinking first."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import replace

from bakeoff.types import Answer, Example, Generator, Message, Outcome, Question

ABSTENTION = "I don't know."
"""What a system is told to say, and is trained to say, when it cannot answer."""

INSTRUCTION = f"Answer the question in a few words. If you do not know the answer, reply: {ABSTENTION}"
REASONING = (
    "Think step by step in one or two sentences, then write the answer on a last line that starts with 'Answer:'. "
    f"If you do not know the answer, write: Answer: {ABSTENTION}"
)


class Prompt:
    """Asks the generator; `shots` are shown as earlier turns, `reasoning` lets it think before the answer."""

    def __init__(
        self,
        generator: Generator,
        *,
        shots: Sequence[Example] = (),
        reasoning: bool = False,
        instruction: str = "",
        max_tokens: int = 48,
        name: str = "prompt",
    ) -> None:
        self.name = name
        self._generator = generator
        self._shots = tuple(turn for shot in shots for turn in _turns(shot.question, target(shot)))
        self._reasoning = reasoning
        self._instruction = instruction or (REASONING if reasoning else INSTRUCTION)
        # A thought of two sentences is about 80 tokens, and the answer comes after it.
        self._max_tokens = max_tokens + (96 if reasoning else 0)

    def answer(self, question: Question | str) -> Answer:
        question = Question.of(question)
        start = time.perf_counter()
        generation = self._generator.generate(self._messages(question), max_tokens=self._max_tokens)
        text = final_answer(generation.text) if self._reasoning else generation.text.strip()
        timings = {"generate": time.perf_counter() - start}
        return Answer(text, outcome(text), usage=generation.usage, timings=timings)

    def lesson(self, example: Example) -> Example:
        """The example as this system meets it, with the right answer last: what tuning trains on."""
        turns = self._messages(Question(example.question))
        return replace(example, messages=(*turns, Message("assistant", target(example))))

    def _messages(self, question: Question) -> tuple[Message, ...]:
        system = Message("system", self._instruction)
        return (system, *self._shots, *question.history, Message("user", question.text))


def target(example: Example) -> str:
    """What the assistant should say."""
    if not example.answerable:
        return ABSTENTION
    return example.references[0] if example.references else example.label


def outcome(text: str) -> Outcome:
    """Whether a reply is an answer or a refusal; an empty reply is a refusal."""
    return "abstained" if _REFUSAL.match(text) or not text else "answered"


def final_answer(text: str) -> str:
    """What follows the last `Answer:`, or the last line where there is none."""
    _, found, answer = text.rpartition("Answer:")
    lines = (answer if found else text).strip().splitlines()
    return (lines[0] if found else lines[-1]).strip() if lines else ""


def _turns(question: str, reply: str) -> tuple[Message, Message]:
    return Message("user", question), Message("assistant", reply)


_REFUSAL = re.compile(
    r"\W*(i\s?['’]?a?m sorry,? (but )?)?"
    r"(i (do not|don['’]?t|cannot|can['’]?t) (know|answer)|the (passages?|documents?) (do|does) ?n[o'’]t (\w+ )?"
    r"(hold|contain|say|mention|provide|state|include|specif|give|answer|tell|have any))",
    re.IGNORECASE,
)
