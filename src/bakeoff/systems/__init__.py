"""The contestants."""

from bakeoff.systems.prompt import Prompt
from bakeoff.systems.rag import RAG
from bakeoff.systems.react import ReAct

__all__ = ["RAG", "Prompt", "ReAct"]
