"""Pages of the web: what is allowed is fetched, what is not is never connected to."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bakeoff.corpus import Corpus, web
from bakeoff.corpus.sources import Unreachable
from bakeoff.corpus.web import Fetcher
from bakeoff.errors import DataError, StoreError
from bakeoff.models.embedders.hashing import Embedder


class Site:
    """A server on loopback: path -> (status, headers, body)."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.pages: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.asked: list[str] = []

    def put(self, path: str, body: str, *, status: int = 200, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.pages[path] = (status, {"Content-Type": "text/html", **named}, body.encode())

    def url(self, path: str) -> str:
        return f"http://{self.host}{path}"


@pytest.fixture
def site() -> Iterator[Site]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            this.asked.append(self.path)
            status, headers, body = this.pages.get(self.path, (404, {}, b""))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        this = Site(f"127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield this
        server.shutdown()


def listing(site: Site, *names: str) -> str:
    entries = "".join(f"<url><loc>{site.url('/' + name)}</loc></url>" for name in names)
    return f"<urlset>{entries}</urlset>"


def index(site: Site, *names: str) -> str:
    parts = "".join(f"<sitemap><loc>{site.url('/' + name)}</loc></sitemap>" for name in names)
    return f"<sitemapindex>{parts}</sitemapindex>"


def everywhere(address: str) -> bool:
    return True


def test_a_page_of_an_allowed_host_becomes_a_document(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "is_public", everywhere)
    site.put("/lamps", "<title>Lamps</title><h1>Titan</h1><p>It burns oil.</p>")
    this = Corpus(tmp_path, Embedder())
    changes = this.sync(site.url("/lamps"), hosts=[site.host])
    assert changes.added == (f"{site.host}/lamps",)
    assert this.sync(site.url("/lamps"), hosts=[site.host]).unchanged == changes.added
    document = this.store.document(changes.added[0])
    assert document is not None and document.text == "Titan\nIt burns oil."


def test_a_sitemap_is_its_pages_and_what_it_drops_goes(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "is_public", everywhere)
    for name in "abc":
        site.put(f"/{name}", f"<p>page {name}</p>")

    site.put("/sitemap.xml", listing(site, *"abc"), Content_Type="application/xml")
    this = Corpus(tmp_path, Embedder())
    source = f"docs={site.url('/sitemap.xml')}"
    assert this.sync(source, hosts=[site.host]).added == ("docs/a", "docs/b", "docs/c")
    site.put("/sitemap.xml", listing(site, *"ab"), Content_Type="application/xml")
    site.put("/a", "<p>other</p>")
    site.put("/b", "", status=503)
    changes = this.sync(source, hosts=[site.host])
    assert (changes.updated, changes.removed) == (("docs/a",), ("docs/c",))
    assert "status 503" in changes.failed["docs/b"] or "said 503" in changes.failed["docs/b"]
    assert this.store.ids() == ["docs/a", "docs/b"]  # what cannot be reached now stays
    del site.pages["/b"]
    assert "not there any more" in this.sync(source, hosts=[site.host]).failed["docs/b"]
    assert this.store.ids() == ["docs/a"]


def test_a_site_that_cannot_be_reached_keeps_its_pages_and_holds_up_nobody(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "is_public", everywhere)
    site.put("/lamps", "<p>lamps</p>")
    (tmp_path / "note.txt").write_text("note")
    this = Corpus(tmp_path / "index", Embedder())
    this.sync(site.url("/lamps"), hosts=[site.host])
    site.put("/lamps", "", status=500)
    changes = this.sync(site.url("/lamps"), tmp_path / "note.txt", hosts=[site.host])
    assert (changes.added, changes.removed, list(changes.failed)) == (("note.txt",), (), [site.host])
    assert this.store.ids() == [f"{site.host}/lamps", "note.txt"]


def test_a_feed_and_a_sitemap_of_sitemaps_list_pages_too(site: Site) -> None:
    site.put("/p", "<p>page</p>")
    site.put("/q", "<p>page</p>")
    site.put(
        "/rss", "<rss><channel><link>/x</link><item><link>/p</link></item></channel></rss>", Content_Type="text/xml"
    )
    site.put(
        "/atom",
        '<feed xmlns="http://www.w3.org/2005/Atom"><entry><link href="/q"/><link rel="edit" href="/e"/></entry></feed>',
        Content_Type="application/atom+xml",
    )
    site.put(
        "/all",
        "<sitemapindex><sitemap><loc>/rss</loc></sitemap><sitemap><loc>/atom</loc></sitemap></sitemapindex>",
        Content_Type="text/xml",
    )
    fetcher = Fetcher([site.host], allow_address=everywhere)
    for path, wanted in {"/rss": ["/p"], "/atom": ["/q"], "/all": ["/p", "/q"]}.items():
        assert [address for address, _, _ in fetcher.pages(site.url(path))] == [site.url(name) for name in wanted]


@pytest.mark.parametrize(("status", "reason"), [(503, "said 503"), (404, "not there any more")])
def test_pages_of_a_sitemap_that_cannot_be_read_stay(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, reason: str
) -> None:
    monkeypatch.setattr(web, "is_public", everywhere)
    for name in "abcd":
        site.put(f"/{name}", f"<p>page {name}</p>")
    site.put("/all.xml", index(site, "one.xml", "two.xml"), Content_Type="text/xml")
    site.put("/one.xml", listing(site, "a"), Content_Type="text/xml")
    site.put("/two.xml", listing(site, "b", "c"), Content_Type="text/xml")
    this = Corpus(tmp_path, Embedder())
    source = f"docs={site.url('/all.xml')}"
    this.sync(source, hosts=[site.host])
    site.put("/one.xml", listing(site, "d"), Content_Type="text/xml")
    site.put("/two.xml", "", status=status)
    for dry_run in (True, False):
        changes = this.sync(source, hosts=[site.host], dry_run=dry_run)
        assert (changes.added, changes.removed, list(changes.failed)) == (("docs/d",), (), ["docs/two.xml"])
        assert reason in changes.failed["docs/two.xml"]
    assert this.store.ids() == ["docs/a", "docs/b", "docs/c", "docs/d"]
    site.put("/two.xml", listing(site, "b"), Content_Type="text/xml")
    this.sync(source, hosts=[site.host])
    assert this.store.ids() == ["docs/b", "docs/d"]


def test_a_source_that_is_gone_is_told_with_its_address_and_the_others_are_read(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "is_public", everywhere)
    site.put("/a", "<p>page a</p>")
    site.put("/lamps", "<p>lamps</p>")
    site.put("/all.xml", listing(site, "a"), Content_Type="text/xml")
    (tmp_path / "note.txt").write_text("note")
    this = Corpus(tmp_path / "index", Embedder())
    sources = [f"docs={site.url('/all.xml')}", f"page={site.url('/lamps')}"]
    this.sync(*sources, hosts=[site.host])
    del site.pages["/all.xml"], site.pages["/lamps"]
    changes = this.sync(*sources, tmp_path / "note.txt", hosts=[site.host])
    assert (changes.added, changes.removed) == (("note.txt",), ())
    gone = "it is not there any more (status 404); if that stays so, remove the source"
    assert changes.failed == {
        "docs/all.xml": f"{site.url('/all.xml')}: {gone}",
        "page/lamps": f"{site.url('/lamps')}: {gone}",
    }
    assert this.store.ids() == ["docs/a", "note.txt"]  # a page that is gone goes, one whose list is gone stays
    with pytest.raises(StoreError, match=r"docs/all\.xml cannot be reached .*keeps its old embedder"):
        Corpus(tmp_path / "index", Embedder(32)).sync(*sources, tmp_path / "note.txt", hosts=[site.host])


def test_a_page_that_breaks_off_keeps_what_was_indexed_of_it(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "is_public", everywhere)
    site.put("/lamps", "<p>all of the page</p>", Content_Length="22")
    this = Corpus(tmp_path, Embedder())
    assert this.sync(f"docs={site.url('/lamps')}", hosts=[site.host]).added == ("docs/lamps",)
    site.put("/lamps", "<p>half of the page", Content_Length="5000")
    changes = this.sync(f"docs={site.url('/lamps')}", hosts=[site.host])
    assert changes.failed == {"docs": "it broke off after 19 bytes; what was indexed of it stays"}
    document = this.store.document("docs/lamps")
    assert document is not None and document.text == "all of the page"


def test_addresses_that_are_none_cost_themselves_only(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "is_public", everywhere)
    site.put("/a", "<p>page a</p>")
    site.put("/away", "", status=302, Location="http://[y/")
    entries = "".join(f"<url><loc>{address}</loc></url>" for address in ("http://[x/", "/away", "/a"))
    site.put("/all.xml", f"<urlset>{entries}</urlset>", Content_Type="text/xml")
    changes = Corpus(tmp_path, Embedder()).sync(f"docs={site.url('/all.xml')}", hosts=[site.host])
    assert changes.added == ("docs/a",)
    assert changes.failed == {
        "docs/http://[x/": "the address 'http://[x/' is refused: Invalid IPv6 URL",
        "docs/away": "the address 'http://[y/' is refused: Invalid IPv6 URL",
    }


def test_addresses_of_one_page_are_one_document_and_it_stays_as_it_is(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "is_public", everywhere)
    site.put("/a", "<p>page a</p>")
    site.put("/a/", "<p>page a, with a slash</p>")
    site.put("/all.xml", listing(site, "a", "a/", "a#x", "a?y"), Content_Type="text/xml")
    site.put("/a?y", "<p>page a with y</p>")
    this = Corpus(tmp_path, Embedder())
    source = f"docs={site.url('/all.xml')}"
    assert this.sync(source, hosts=[site.host]).added == ("docs/a", "docs/a?y")
    assert this.sync(source, hosts=[site.host]).unchanged == ("docs/a", "docs/a?y")
    assert site.asked.count("/a") == 2


def test_what_a_list_holds_beyond_the_limit_is_told(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "is_public", everywhere)
    monkeypatch.setattr(web, "PAGES", 3)
    for name in "abcd":
        site.put(f"/{name}", f"<p>page {name}</p>")
    site.put("/all.xml", listing(site, "a", "b", "a", "c"), Content_Type="text/xml")
    this = Corpus(tmp_path, Embedder())
    changes = this.sync(f"docs={site.url('/all.xml')}", hosts=[site.host])
    assert (len(changes.added), changes.failed) == (3, {})
    site.put("/all.xml", listing(site, "a", "b", "c", "d"), Content_Type="text/xml")
    changes = this.sync(f"docs={site.url('/all.xml')}", hosts=[site.host])
    assert changes.failed == {"docs/all.xml": "it lists more than 3 addresses, and the others are not read"}
    assert this.store.ids() == ["docs/a", "docs/b", "docs/c"]


def test_every_redirect_is_checked_and_they_are_few(site: Site) -> None:
    fetcher = Fetcher([site.host], allow_address=everywhere)
    site.put("/out", "", status=302, Location="http://elsewhere.example/")
    site.put("/file", "", status=302, Location="file:///etc/passwd")
    site.put("/loop", "", status=302, Location="/loop")
    site.put("/near", "", status=301, Location="/page")
    site.put("/page", "<p>here</p>")
    with pytest.raises(DataError, match="host 'elsewhere.example' is not allowed"):
        fetcher.get(site.url("/out"))
    with pytest.raises(DataError, match="only http and https"):
        fetcher.get(site.url("/file"))
    with pytest.raises(DataError, match="more than 3 redirects"):
        fetcher.get(site.url("/loop"))
    assert site.asked.count("/loop") == 4
    assert fetcher.get(site.url("/near")).url == site.url("/page")


def test_size_type_and_time_have_limits(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    fetcher = Fetcher([site.host], allow_address=everywhere)
    monkeypatch.setattr(web, "PAGE_BYTES", 1000)
    site.put("/big", "x" * 5000)
    site.put("/film", "x", Content_Type="video/mp4")
    with pytest.raises(DataError, match="larger than"):
        fetcher.get(site.url("/big"))
    with pytest.raises(DataError, match="of the type video/mp4"):
        fetcher.get(site.url("/film"))
    monkeypatch.setattr(web, "SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(Unreachable, match="timed out"):
            Fetcher([host], allow_address=everywhere).get(f"http://{host}/")


def test_the_address_that_was_checked_is_the_one_connected_to(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["127.0.0.1", "10.0.0.1"])
    asked: list[str] = []

    real = socket.getaddrinfo

    def rebinding(host: str, port: int, *rest: Any, **options: Any) -> Any:
        if host == "127.0.0.1":
            return real(host, port, *rest, **options)
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    site.put("/page", "<p>here</p>")
    port = site.host.partition(":")[2]
    fetcher = Fetcher([f"lamps.example:{port}"], allow_address=lambda address: address == "127.0.0.1")
    assert fetcher.get(f"http://lamps.example:{port}/page").data == b"<p>here</p>"
    assert asked == ["lamps.example"]  # resolved once


PRIVATE = [
    "127.0.0.1",
    "127.1.2.3",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:8.8.8.8",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "2001::1",
    "2002:7f00:1::1",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
]
REFUSED = [
    "ftp://docs.example/",
    "file:///etc/passwd",
    "file://docs.example/etc/passwd",
    "gopher://docs.example/",
    "data:text/html,x",
    "javascript:alert(1)",
    "//docs.example/",
    "docs.example",
    "",
    "http://",
    "http:///path",
    "http://user@docs.example/",
    "http://user:word@docs.example/",
    "http://docs.example@evil.example/",
    "http://evil.example#@docs.example/",
    "http://evil.example/docs.example",
    "http://docs.example.evil.example/",
    "http://evildocs.example/",
    "http://docs.example:8080/",
    "http://docs.example:99999/",
    "http://docs.example:x/",
    "http://docs.example\\@evil.example/",
    "http://evil.example\\.docs.example/",
    "http://docs.example%2eevil.example/",
    "http://docs.example\r\nHost: evil.example/",
    "http://docs.example/ path",
    "http://docs.example/\tpath",
    "http://docs.example/\x00",
    "http://docs.example./",
    "http://dócs.example/",
    "http://docs。example/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0177.0.0.1/",
    "http://127.1/",
    "http://localhost/",
    "http://[::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://169.254.169.254/latest/meta-data/",
    "http://metadata.google.internal/",
]


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    made: list[object] = []

    def connect(*arguments: object, **options: object) -> None:
        made.append(arguments)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setattr(socket.socket, "connect", connect)
    return made


@pytest.mark.parametrize("address", PRIVATE)
def test_a_host_that_leads_inside_is_never_connected_to(
    address: str, connections: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for found in ([address], ["93.184.216.34", address]):
        entries = [(family, socket.SOCK_STREAM, 6, "", (one, 80)) for one in found]
        resolve: Callable[..., object] = lambda *a, entries=entries, **k: entries  # noqa: E731
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        with pytest.raises(DataError, match="which is not public"):
            Fetcher(["docs.example"]).get("http://docs.example/")
    assert connections == []


@pytest.mark.parametrize("url", REFUSED)
def test_a_forbidden_address_is_refused_before_anything_is_resolved(
    url: str, connections: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: pytest.fail("resolved"))
    with pytest.raises(DataError) as caught:
        Fetcher(["docs.example"]).get(url)
    assert connections == [] and "\n" not in str(caught.value)


def test_without_allowed_hosts_nothing_is_fetched(tmp_path: Path, connections: list[object]) -> None:
    with pytest.raises(DataError, match=r"host 'docs.example' is not allowed; allowed are none; list it in `hosts`"):
        Corpus(tmp_path, Embedder()).sync("https://docs.example/")
    assert connections == []


def test_public_addresses_are_allowed() -> None:
    assert all(map(web.is_public, ["93.184.216.34", "8.8.8.8", "2606:4700::1111"]))
