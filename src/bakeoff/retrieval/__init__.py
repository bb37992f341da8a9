"""Find the passages that answer a question."""

from bakeoff.retrieval.hops import ByModel, Iterative, by_names
from bakeoff.retrieval.queries import Expanded, Standalone, with_earlier
from bakeoff.retrieval.retrievers import BM25, RRF, Dense, Hybrid, Merged, Reranked, Without

__all__ = [
    "BM25",
    "RRF",
    "ByModel",
    "Dense",
    "Expanded",
    "Hybrid",
    "Iterative",
    "Merged",
    "Reranked",
    "Standalone",
    "Without",
    "by_names",
    "with_earlier",
]
