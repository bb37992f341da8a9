"""The report of a comparison: one page of HTML that needs no network, Markdown for a pull request, JSON and CSV."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from bakeoff.evaluation.comparison import Comparison
from bakeoff.evaluation.gates import Result
from bakeoff.evaluation.money import Accounts
from bakeoff.evaluation.prices import Book
from bakeoff.evaluation.recommend import Recommendation
from bakeoff.evaluation.report import plots
from bakeoff.evaluation.report.explorer import asked_again
from bakeoff.evaluation.report.markdown import markdown
from bakeoff.evaluation.report.packing import packed
from bakeoff.evaluation.report.page import Page, page
from bakeoff.evaluation.report.rows import csv_of
from bakeoff.files import write_atomically

SCRIPTS = ("page", "statistics", "choice", "curves", "whatif", "explorer", "checks", "start")
"""In the order in which they run; one script in the page."""


def write(
    comparison: Comparison,
    recommendation: Recommendation,
    folder: Path,
    *,
    gates: Sequence[Result] = (),
    accounts: Accounts | None = None,
) -> dict[str, Path]:
    """Write `report.html`, `.md`, `.json` and `.csv` into `folder`; equal inputs give equal bytes.

    `gates` that were held against it stand first in the Markdown, and in the JSON; `accounts` by default have the
    prices that are assumed.
    """
    accounts = accounts or Accounts(comparison, Book())
    shown = page(comparison, recommendation, accounts, asked_again(comparison, folder))
    everything = {
        **comparison.to_json(),
        "recommendation": asdict(recommendation),
        "money": accounts.to_json(),
    }
    if gates:
        everything["gates"] = [asdict(result) for result in gates]
    texts = {
        "html": html(shown),
        "md": markdown(shown, [str(result) for result in gates]),
        "json": json.dumps(everything, indent=2, allow_nan=False) + "\n",
        "csv": csv_of(comparison),
    }
    paths = {suffix: folder / f"report.{suffix}" for suffix in texts}
    for suffix, text in texts.items():
        # Half an emoji, which JSON can smuggle into a name, has no UTF-8: it becomes a question mark.
        write_atomically(paths[suffix], text.encode(errors="replace"))
    return paths


def html(shown: Page) -> str:
    """The page with style, script and data inside; the policy in its head lets nothing else run or load."""
    environment = Environment(loader=PackageLoader(__name__, ""), autoescape=True, undefined=StrictUndefined)
    environment.filters |= {"at": _share, "x": plots.x_of, "y": plots.y_of, "quote": _quote}
    style = (files(__name__) / "report.css").read_text(encoding="utf-8")
    parts = [(files(__name__) / "scripts" / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
    script = "\n".join(['"use strict";', "(async () => {", *parts, "})();"])
    return environment.get_template("report.html.j2").render(
        page=shown,
        width=plots.WIDTH,
        height=plots.HEIGHT,
        style=style,
        data=packed(shown.data),
        script=script,
        style_hash=policy_hash(style),
        script_hash=policy_hash(script),
    )


def _share(position: float) -> str:
    """A coordinate that grows with the picture."""
    return f"{100 * position:.2f}%"


def _quote(text: str) -> str:
    """As a value in an address."""
    return quote(text, safe="", errors="replace")


def policy_hash(text: str) -> str:
    """As a content security policy wants it."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
