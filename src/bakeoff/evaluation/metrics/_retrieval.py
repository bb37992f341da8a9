"""Whether an answer can be judged by the evidence that its passages show."""

from __future__ import annotations

from bakeoff.types import Answer, Example, Step


def judged(example: Example, answer: Answer) -> bool:
    """Whether evidence is known and passages were looked for, found or not.

    A search that found nothing is told by the trace: "pack" of RAG, the action "search[...]" of ReAct.
    """
    return bool(example.evidence) and (bool(answer.hits) or any(map(_searches, answer.trace)))


def _searches(step: Step) -> bool:
    return step.name == "pack" or (step.name == "action" and step.detail.startswith("search["))
