"""Pages from allowed hosts: one page, or those that a sitemap or a feed lists.

Off until hosts are named. The address that was checked is the one that is connected to, redirects are checked again
like any address, and size and time have limits.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urldefrag, urljoin, urlsplit

from lxml import etree

from bakeoff import __version__
from bakeoff.corpus.sources import Unreachable
from bakeoff.errors import DataError

REDIRECTS = 3
PAGE_BYTES = 20 << 20
PAGES = 10_000
"""Of one sitemap or feed."""
SECONDS = 20.0
"""For one page, redirects included."""

SUFFIX_OF = {
    "text/html": ".html",
    "application/xhtml+xml": ".html",
    "text/plain": ".txt",
    "text/markdown": ".md",
    "text/csv": ".csv",
    "application/json": ".json",
    "application/pdf": ".pdf",
    "application/xml": ".xml",
    "text/xml": ".xml",
    "application/rss+xml": ".xml",
    "application/atom+xml": ".xml",
}
_SAFE = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Page:
    """What a server sent."""

    url: str
    suffix: str
    """Of the loader that reads it."""
    data: bytes


def is_public(address: str) -> bool:
    """Whether an address is out on the internet, and hides no other inside it."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address) and (
        found.ipv4_mapped or found.sixtofour or found.teredo or found in _NAT64 or found.is_site_local
    ):
        return False
    return found.is_global and not found.is_multicast and not found.is_reserved


class Fetcher:
    """Gets pages from `hosts`, each as in `docs.example.org` or `docs.example.org:8080`."""

    def __init__(self, hosts: Sequence[str], *, allow_address: Callable[[str], bool] | None = None) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)
        self._allow_address = allow_address or is_public

    def get(self, url: str) -> Page:
        """Raises `DataError` for what is not allowed or not there, `Unreachable` for what may work another time."""
        deadline = time.monotonic() + SECONDS
        for _ in range(REDIRECTS + 1):
            response, connection = self._ask(url, deadline)
            try:
                if response.status in (301, 302, 303, 307, 308) and (target := response.getheader("Location")):
                    url = _joined(url, target)
                    continue
                return self._page(url, response, deadline)
            finally:
                response.close()  # it holds the socket once the server has said that it will close
                connection.close()
        raise DataError(f"more than {REDIRECTS} redirects; name the page itself")

    def pages(self, url: str) -> Iterator[tuple[str, Page | DataError, bool]]:
        """Of the page `url`, or of all pages that it lists as sitemap or feed: address, and page or why there is none.

        The third is True where what cannot be read would list further pages, so that nobody knows what is still there.
        Raises `DataError` where `url` itself is not allowed.
        """
        self._checked(url)
        try:
            first = self.get(url)
        except Unreachable:
            raise
        except DataError as error:
            yield url, DataError(f"{url}: {error}; if that stays so, remove the source"), True
            return
        listed = _listed(first)
        if listed is None:
            yield url, first, False
            return
        waiting, seen = listed[::-1], {url}
        while waiting:
            address, lists = waiting.pop()
            try:
                address = _joined(url, address)
                if address in seen:
                    continue
                if len(seen) > PAGES:
                    yield url, DataError(f"it lists more than {PAGES:,} addresses, and the others are not read"), False
                    return
                seen.add(address)
                page = self.get(address)
            except DataError as error:
                yield address, error, lists
                continue
            inner = _listed(page)
            if inner is None:
                yield address, page, False
            else:
                waiting += inner[::-1]

    def _ask(self, url: str, deadline: float) -> tuple[http.client.HTTPResponse, http.client.HTTPConnection]:
        scheme, host, port, path = self._checked(url)
        address = self._address(host, port)
        left = max(0.1, deadline - time.monotonic())
        connection = http.client.HTTPConnection(host, port, timeout=left)
        try:
            connection.sock = socket.create_connection((address, port), timeout=left)
            if scheme == "https":
                connection.sock = ssl.create_default_context().wrap_socket(connection.sock, server_hostname=host)
            headers = {"User-Agent": f"bakeoff/{__version__}", "Accept-Encoding": "identity", "Connection": "close"}
            connection.request("GET", path, headers=headers)
            return connection.getresponse(), connection
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Unreachable(f"cannot be reached ({_reason(error)}); what was indexed of it stays") from error

    def _checked(self, url: str) -> tuple[str, str, int, str]:
        """Scheme, host, port and path; raises `DataError` for an address that is not allowed."""
        try:
            if any(ord(letter) <= 32 or ord(letter) > 126 or letter == "\\" for letter in url):
                raise ValueError("it holds characters that belong escaped")
            parts = urlsplit(url)
            host, port = (parts.hostname or "").lower(), parts.port
            if parts.scheme not in ("http", "https"):
                raise ValueError("only http and https are fetched")
            if "@" in parts.netloc:
                raise ValueError("it holds a name or a password")
        except ValueError as error:
            raise DataError(f"the address {url[:200]!r} is refused: {error}") from error
        standard = 443 if parts.scheme == "https" else 80
        name = host if port in (None, standard) else f"{host}:{port}"
        if name not in self._hosts:
            allowed = ", ".join(sorted(self._hosts)) or "none"
            cure = "list it in `hosts` under [corpus]"
            raise DataError(f"the host {name or '(none)'!r} is not allowed; allowed are {allowed}; {cure}")
        path = parts.path or "/"
        return parts.scheme, host, port or standard, f"{path}?{parts.query}" if parts.query else path

    def _address(self, host: str, port: int) -> str:
        try:
            found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        except (OSError, UnicodeError) as error:
            raise Unreachable(f"{host} has no address now ({_reason(error)}); what was indexed of it stays") from error
        for address in found:
            if not self._allow_address(address):
                raise DataError(f"{host} leads to the address {address}, which is not public")
        return found[0]

    def _page(self, url: str, response: http.client.HTTPResponse, deadline: float) -> Page:
        if response.status in (404, 410):
            raise DataError(f"it is not there any more (status {response.status})")
        if response.status != 200:
            raise Unreachable(f"the server said {response.status}; what was indexed of it stays")
        kind = (response.getheader("Content-Type") or "text/html").partition(";")[0].strip().lower()
        if kind not in SUFFIX_OF:
            raise DataError(f"it is of the type {kind}, which is not read")
        parts, size = [], 0
        try:
            while part := response.read1(1 << 16):
                parts.append(part)
                size += len(part)
                if size > PAGE_BYTES:
                    raise DataError(f"it is larger than {PAGE_BYTES >> 20} MB")
                if time.monotonic() > deadline:
                    raise TimeoutError(f"more than {SECONDS:.0f} s")
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"cannot be read ({_reason(error)}); what was indexed of it stays") from error
        if response.length:  # what was said to come and did not
            raise Unreachable(f"it broke off after {size:,} bytes; what was indexed of it stays")
        return Page(url, SUFFIX_OF[kind], b"".join(parts))


def _joined(base: str, target: str) -> str:
    """The address that `target` means on the page `base`, without the place in the page; raises `DataError`."""
    try:
        return urldefrag(urljoin(base, target)).url
    except ValueError as error:
        raise DataError(f"the address {target[:200]!r} is refused: {error}") from error


def _listed(page: Page) -> list[tuple[str, bool]] | None:
    """The addresses in a sitemap or a feed, and whether it calls them sitemaps too; None for any other page."""
    if page.suffix != ".xml":
        return None
    try:
        root = etree.fromstring(page.data, _SAFE)
    except etree.XMLSyntaxError:
        return None
    kind = etree.QName(root).localname
    if kind not in ("urlset", "sitemapindex", "rss", "feed", "RDF"):
        return None
    found = root.xpath(
        "//*[local-name()='loc']/text() | //*[local-name()='item']/*[local-name()='link']/text()"
        " | //*[local-name()='entry']/*[local-name()='link'][not(@rel) or @rel='alternate']/@href"
    )
    apart = list(dict.fromkeys(str(address).strip() for address in found))
    return [(address, kind == "sitemapindex") for address in apart[: PAGES + 1]]


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:100] or type(error).__name__
