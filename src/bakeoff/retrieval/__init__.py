"""Find the passages that answer a question."""

from bakeoff.retrieval.hops import ByModel, Iterative, by_names
from bakeoff.retrieval.queries import Expanded, Standalone, with_earlier
from bakeoff.retrieval.retrievers import BM25, Dense, Hybrid, Without

__all__ = [
    "BM25",
    "ByModel",
    "Dense",
    "Expanded",
    "Hybrid",
    "Iterative",
    "Standalone",
    "Without",
    "by_names",
    "with_earlier",
]
