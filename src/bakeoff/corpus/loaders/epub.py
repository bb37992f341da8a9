"""E-books: the chapters in the order of the spine."""

from __future__ import annotations

import posixpath
import zipfile
from pathlib import Path
from urllib.parse import unquote

from lxml import etree

from bakeoff.corpus.loaders import Loaded, Outline
from bakeoff.corpus.loaders.html import walk

SUFFIXES = (".epub",)
VERSION = 2

_SAFE = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)


def load(path: Path) -> Loaded:
    """Text of every chapter; pictures are not read."""
    try:
        with zipfile.ZipFile(path) as book:
            container = etree.fromstring(book.read("META-INF/container.xml"), _SAFE)
            package = str(container.xpath("string(//*[local-name()='rootfile']/@full-path)"))
            content = etree.fromstring(book.read(package), _SAFE)
            outline = Outline(str(content.xpath("string(//*[local-name()='title'])")).strip())
            files = {str(item.get("id")): str(item.get("href")) for item in content.iterfind(".//{*}item")}
            for entry in content.iterfind(".//{*}itemref"):
                chapter = files.get(str(entry.get("idref")))
                if chapter is None:
                    continue
                name = posixpath.normpath(posixpath.join(posixpath.dirname(package), unquote(chapter)))
                try:
                    walk(book.read(name).decode("utf-8", "replace"), outline)
                except KeyError:
                    outline.skip(f"the chapter {chapter}, which is not in the file")
    except (zipfile.BadZipFile, KeyError, etree.XMLSyntaxError) as error:
        raise ValueError(f"not a readable EPUB ({error}); export it again") from error
    return outline.loaded()
