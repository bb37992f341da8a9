"""Measure systems on the same questions, and choose."""
