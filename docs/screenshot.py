"""Take the picture of the README: the report of a run, as it opens in a headless Chromium.

    python docs/screenshot.py .bench/road/runs/latest/report.html
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from browser import browser  # noqa: E402

PICTURE = ROOT / "docs" / "images" / "report.png"
WIDTH, HEIGHT = 1240, 970


def main(report: Path) -> None:
    """Write the picture over the one that stands there."""
    if not report.is_file():
        sys.exit(f"there is no {report}; `make bench-road DATA=...` makes one")
    PICTURE.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, browser(Path(folder)) as page:
        page.look(width=WIDTH, height=HEIGHT)
        page.open(report)
        page.picture(PICTURE)
    print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size / 1000:,.0f} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
