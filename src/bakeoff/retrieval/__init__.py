"""Find the passages that answer a question."""

from bakeoff.retrieval.retrievers import BM25, Dense, Hybrid, Without

__all__ = ["BM25", "Dense", "Hybrid", "Without"]
