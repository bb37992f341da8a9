"""Recognise the text of scanned pages with the program tesseract, where the machine has it.

It is given our own rendering of the page, so the pictures of a file meet PDFium only, and it runs inside the parser's
limits: no network, 1 GiB, 20 s of processor time a page.
"""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from functools import cache, partial
from itertools import groupby
from typing import Any

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium
from numpy.typing import NDArray

PAGE_SECONDS = 60.0
FILE_SECONDS = 600.0
"""By the clock; with 1 to 2 s a page on one core (docs/log.md) that is some hundred pages."""
RENDERING_SECONDS = 10.0
"""Of this process's processor time for a file: the parser allows 20 for everything."""
DPI = 300
GLANCE = 12
"""Dots per inch that show whether there is anything on a page."""
PIXELS = 40_000_000
"""Of a page as it is rendered, and of each picture on it: an A4 page at 600 dpi has 35 million."""
SURE = 40.0
"""Mean confidence in percent below which it is a picture without text: texts had 71 and more, pictures 23 and less."""
Pixels = NDArray[np.uint8]
TOO_LONG = "not recognised, for it takes tesseract too long"


def setting() -> str:
    """What is recognised hangs on this: empty where nothing is, else `BAKEOFF_OCR` or `ocr`."""
    wanted = os.environ.get("BAKEOFF_OCR") or "ocr"
    return "" if wanted == "off" or shutil.which("tesseract") is None else wanted


class Unrecognised(Exception):
    """Why a page was not read, in words."""


class Recogniser:
    """Reads the pictures of one file's pages until its time is over."""

    def __init__(self) -> None:
        self._end = time.monotonic() + FILE_SECONDS
        self._rendered = 0.0

    def read(self, page: Any) -> str:
        """The lines that a page without text shows, "" of an empty page; raises `Unrecognised`."""
        over = self._rendered > RENDERING_SECONDS
        if not over and _is_blank(self._render(page, GLANCE)):
            return ""
        if not setting():
            cure = "unset BAKEOFF_OCR" if shutil.which("tesseract") else "install the program tesseract"
            raise Unrecognised(f"no text; if it is a scan, {cure} and ingest again")
        if over or time.monotonic() > self._end:
            raise Unrecognised(f"not recognised, for a file gets {FILE_SECONDS / 60:.0f} minutes; split it")
        pixels = self._render(page, DPI)
        picture = b"P5 %d %d 255\n%s" % (pixels.shape[1], pixels.shape[0], pixels.tobytes())
        lines, sure = _lines(_recognised(picture))
        if sure < SURE:
            raise Unrecognised("no text, and none that tesseract recognises")
        return "\n".join(lines)

    def _render(self, page: Any, dpi: int) -> Pixels:
        """In grey, as large as is sensible."""
        for picture in page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_IMAGE]):
            across, down = picture.get_px_size()
            if across * down > PIXELS:
                raise Unrecognised(f"not recognised, for its picture has {across} x {down} pixels; scan it with less")
        start = time.process_time()
        width, height = page.get_size()
        scale = min(dpi / 72, (PIXELS / max(1, width * height)) ** 0.5)
        try:
            pixels: Pixels = page.render(scale=scale, grayscale=True).to_numpy()
        except pypdfium2.PdfiumError as error:
            raise Unrecognised(f"no text, and no picture of it can be made ({error})") from error
        self._rendered += time.process_time() - start
        return pixels


def _is_blank(pixels: Pixels) -> bool:
    return bool((pixels == pixels[0, 0]).all())


def _recognised(picture: bytes) -> str:
    """Tesseract's table of words."""
    languages, mode = _languages()
    options = ["--dpi", str(DPI), "--psm", mode, "-l", languages, "-c", "tessedit_create_tsv=1"]
    try:
        done = subprocess.run(
            ["tesseract", "stdin", "stdout", *options],
            input=picture,
            capture_output=True,
            timeout=PAGE_SECONDS,
            preexec_fn=_limit(),
        )
    except subprocess.TimeoutExpired:
        raise Unrecognised(TOO_LONG) from None
    if done.returncode == -signal.SIGXCPU:
        raise Unrecognised(TOO_LONG)
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split())[:100]
        raise Unrecognised(f"not recognised, for tesseract failed ({said or done.returncode})")
    return done.stdout.decode(errors="replace")


def _limit() -> Callable[[], None]:
    """Sets the limit on processor time: the parser's is counted from its start, and a new process gets what is left."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    left = soft if soft == resource.RLIM_INFINITY else max(1, soft - int(time.process_time()))
    return partial(resource.setrlimit, resource.RLIMIT_CPU, (left, hard))


@cache
def _languages() -> tuple[str, str]:
    """Those to recognise, and tesseract's mode: with its model `osd` pages that lie on their side are turned.

    All that are installed, but English alone where there are many: each takes its time, and they are not meant at once.
    """
    said = subprocess.run(["tesseract", "--list-langs"], capture_output=True, timeout=PAGE_SECONDS).stdout.decode()
    listed = said.split("\n")[1:]
    known = [name for name in listed if name and name != "osd" and "/" not in name]
    chosen = setting() if setting() != "ocr" else "+".join(known) if len(known) <= 4 else "eng"
    return chosen or "eng", "1" if "osd" in listed else "3"


def _lines(table: str) -> tuple[list[str], float]:
    """The lines, paragraphs parted by an empty one, and the mean confidence of their words."""
    rows = list(csv.DictReader(table.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))
    words = [row for row in rows if row["level"] == "5" and row["text"].strip()]
    lines: list[str] = []
    for _, paragraph in groupby(words, lambda word: (word["block_num"], word["par_num"])):
        lines += [
            " ".join(word["text"] for word in line) for _, line in groupby(paragraph, lambda word: word["line_num"])
        ]
        lines.append("")
    sure = sum(float(word["conf"]) for word in words) / max(1, len(words))
    return lines, sure
