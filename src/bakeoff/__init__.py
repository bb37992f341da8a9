"""Decide by measurement whether to prompt, retrieve, fine-tune, or both - and ship the winner.

    import bakeoff as bo

Every name below is imported when it is first used, so that `import bakeoff` stays quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from bakeoff.corpus import Corpus
    from bakeoff.errors import BakeoffError
    from bakeoff.evaluation.compare import Comparison, compare
    from bakeoff.evaluation.recommend import Recommendation, recommend
    from bakeoff.evaluation.report import write as report
    from bakeoff.examples import Examples, load_examples
    from bakeoff.models import embedder, generator
    from bakeoff.project import Project
    from bakeoff.retrieval import BM25, Dense, Expanded, Hybrid, Iterative, Merged, Reranked, Standalone
    from bakeoff.systems import RAG, Prompt
    from bakeoff.tuning import tune
    from bakeoff.types import Answer, Document, Evidence, Example, Hit, Message, Question

_HOME = {
    "Corpus": "corpus",
    "BakeoffError": "errors",
    "Comparison": "evaluation.compare",
    "compare": "evaluation.compare",
    "Recommendation": "evaluation.recommend",
    "recommend": "evaluation.recommend",
    "report": "evaluation.report:write",
    "Examples": "examples",
    "load_examples": "examples",
    "embedder": "models",
    "generator": "models",
    "Project": "project",
    "BM25": "retrieval",
    "Dense": "retrieval",
    "Expanded": "retrieval",
    "Hybrid": "retrieval",
    "Merged": "retrieval",
    "Reranked": "retrieval",
    "Iterative": "retrieval",
    "Standalone": "retrieval",
    "RAG": "systems",
    "Prompt": "systems",
    "tune": "tuning",
    "Answer": "types",
    "Document": "types",
    "Evidence": "types",
    "Example": "types",
    "Hit": "types",
    "Message": "types",
    "Question": "types",
}

__all__ = [
    "BM25",
    "RAG",
    "Answer",
    "BakeoffError",
    "Comparison",
    "Corpus",
    "Dense",
    "Document",
    "Evidence",
    "Example",
    "Examples",
    "Expanded",
    "Hit",
    "Hybrid",
    "Iterative",
    "Merged",
    "Message",
    "Project",
    "Prompt",
    "Question",
    "Recommendation",
    "Reranked",
    "Standalone",
    "compare",
    "embedder",
    "generator",
    "load_examples",
    "recommend",
    "report",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'bakeoff' has no attribute {name!r}")
    module, _, attribute = _HOME[name].partition(":")
    return getattr(import_module(f"bakeoff.{module}"), attribute or name)
