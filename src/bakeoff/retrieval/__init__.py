"""Find the passages that answer a question."""

from bakeoff.retrieval.retrievers import BM25, RRF, Dense, Hybrid, Merged, Reranked, Without

__all__ = ["BM25", "RRF", "Dense", "Hybrid", "Merged", "Reranked", "Without"]
