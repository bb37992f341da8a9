"""How the report writes numbers: percent with one decimal, and `-` for what was not scored."""

from __future__ import annotations

import math

NONE = "-"


def percent(share: float | None, sign: bool = False) -> str:
    """0.712 -> `71.2`; with `sign`, 0.05 -> `+5.0`."""
    if share is None or not math.isfinite(share):
        return NONE
    return f"{100 * share:{'+' if sign else ''}.1f}".replace("-0.0", "0.0").replace("+0.0", "0.0")


def span(low: float | None, high: float | None, sign: bool = False) -> str:
    """(0.63, 0.782) -> `[63.0, 78.2]`; empty when either end is unknown."""
    ends = percent(low, sign), percent(high, sign)
    return "" if NONE in ends else f"[{ends[0]}, {ends[1]}]"


def seconds(value: float | None) -> str:
    """Three digits at most, with the unit: `38 ms`, `1.24 s`, `210 s`."""
    if value is None or not math.isfinite(value):
        return NONE
    if value < 1:
        return f"{1000 * value:.0f} ms" if value >= 0.01 else f"{1000 * value:.1f} ms"
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} s"


def count(value: float | None) -> str:
    """1234.5 -> `1,234`; small means keep one decimal."""
    if value is None or not math.isfinite(value):
        return NONE
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def p_value(p: float) -> str:
    """0.0312 -> `0.031`; `< 0.001` below that."""
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"
