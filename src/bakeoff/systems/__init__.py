"""The contestants."""

from bakeoff.systems.prompt import Prompt
from bakeoff.systems.rag import RAG

__all__ = ["RAG", "Prompt"]
