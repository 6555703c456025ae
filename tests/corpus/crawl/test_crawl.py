"""A crawl of a site on the loopback survives every trap in it, and says what became of every address."""

import datetime
import gzip
import json
import signal
import ssl
import subprocess
import sys
import time
from collections import Counter

import pytest

from malmoi.cli.main import main
from malmoi.corpus.crawl.run import crawl
from malmoi.corpus.crawl.settings import CrawlSettings
from malmoi.corpus.read import ReadSettings, read_file
from malmoi.corpus.warc import read_records

from .conftest import PROSE, drip, flood, gzip_bomb, page

FAST = {"contact": "me@example.com", "delay": 0, "retries": 0, "allow_private": ["127.0.0.1"]}
CALENDAR = 40


def run(directory, **settings):
    """Crawl; gives the counts and what became of each address."""
    counts = crawl(CrawlSettings(**FAST | settings), directory, directory / "checkpoints" / "crawl.sqlite")
    rows = [json.loads(line) for line in (directory / "pages.jsonl").read_text().splitlines()]
    return counts, {row["url"]: row for row in rows}


def archived(directory):
    """Addresses in the archives."""
    found = []
    for path in sorted((directory / "warc").glob("*.warc.gz")):
        with gzip.open(path) as stream:
            found += [record.url for record in read_records(stream, 1 << 20)]
    return found


def build_traps(site, inner):
    trapped = [
        "/한글 경로", "/same?b=2&a=1", "/same?a=1&b=2&utm_source=mail#top", "/copy", "/secret/page", "/calendar/1",
        "/drip", "/flood", "/bomb", "/brotli", "/picture", "/euckr", "/cycle/1", "/inward", "/noindex", "/noai",
        "/gone", "/empty", "/moved", "/broken", "mailto:x@example.com", "http://elsewhere.example/", "file:///etc/passwd",
    ]  # fmt: skip
    site.add("/", page(*trapped))
    site.add("/robots.txt", b"User-agent: *\nDisallow: /secret\nSitemap: /map.xml\n", Content_Type="text/plain")
    places = [f"{site.url}/only-in-the-map", f"http://127.0.0.2:{inner.port}/from-the-map"]
    listed = "".join(f"<url><loc>{place}</loc></url>" for place in places)
    site.add("/map.xml", f"<urlset>{listed}</urlset>".encode(), Content_Type="application/xml")
    site.add("/only-in-the-map", page(text="지도에만 있는 글이다. "))
    site.add("/한글 경로", page("/", text="경로에 빈칸이 있는 글이다. "))
    site.add("/same?a=1&b=2", page("/", text="하나뿐인 글이다. "))
    site.add("/copy", site.pages["/same?a=1&b=2"][2])
    site.pages |= {"/drip": drip, "/flood": flood}
    site.add("/bomb", gzip_bomb(), Content_Encoding="gzip")
    site.add("/brotli", b"no brotli", Content_Encoding="br")
    site.add("/picture", b"GIF89a", Content_Type="image/gif")
    korean = f'<meta charset="utf-8"><p>{"똠방각하와 펲시콜라를 마신 뷁. " * 9}<a href="/똠">'
    site.add("/euckr", korean.encode("cp949"), Content_Type="text/html")
    site.add("/똠", page(text="잘못 적힌 글자표를 지나온 글이다. "))
    for here, there in (("1", "2"), ("2", "3"), ("3", "1")):
        site.add(f"/cycle/{here}", b"", 302, Location=f"/cycle/{there}")
    site.add("/inward", b"", 301, Location=f"http://127.0.0.2:{inner.port}/admin")
    site.add("/noindex", page("/behind-noindex", head='<meta name="robots" content="noindex">'))
    site.add("/behind-noindex", page(text="색인하지 말라는 쪽에서 이어진 글이다. "))
    site.add("/noai", page(text="배우지 말라는 글이다. "), X_Robots_Tag="noai")
    site.add("/empty", b"")
    site.add("/moved", b"", 308, Location="/한글 경로".encode().decode("latin-1"))
    site.pages["/broken"] = lambda handler: handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort")
    site.fallback = lambda path: calendar(path) if path.startswith("/calendar/") else None


def calendar(path):
    day = int(path.rsplit("/", 1)[1])
    return 200, {"Content-Type": "text/html"}, page(f"/calendar/{day + 1}", text=f"{day}일의 일정이다. ")


@pytest.fixture(scope="module")
def trapped(serve, tmp_path_factory):
    """One crawl of a site full of traps: site, inner site, directory, counts, rows by path."""
    site, inner = serve(), serve("127.0.0.2")
    build_traps(site, inner)
    directory = tmp_path_factory.mktemp("crawl")
    counts, rows = run(
        directory, urls=[site.url], hosts=[f"127.0.0.2:{inner.port}"], depth=CALENDAR, seconds=0.7, page_megabytes=1
    )
    return site, inner, directory, counts, {url.removeprefix(site.url): row for url, row in rows.items()}


@pytest.mark.parametrize(
    ("path", "fate"),
    [
        ("/", "kept"),
        ("/%ED%95%9C%EA%B8%80%20%EA%B2%BD%EB%A1%9C", "kept"),
        ("/same?a=1&b=2", "kept"),
        ("/only-in-the-map", "kept"),
        ("/euckr", "kept"),
        ("/%EB%98%A0", "kept"),
        ("/behind-noindex", "kept"),
        ("/copy", "same content"),
        ("/secret/page", "robots.txt"),
        (f"/calendar/{CALENDAR}", "kept"),
        (f"/calendar/{CALENDAR + 1}", "too deep"),
        ("/drip", "too slow"),
        ("/flood", "too large"),
        ("/bomb", "too large"),
        ("/brotli", "out of reach"),
        ("/picture", "content type"),
        ("/cycle/1", "redirect"),
        ("/cycle/3", "redirect"),
        ("/inward", "redirect"),
        ("/noindex", "noindex"),
        ("/noai", "noai"),
        ("/gone", "status 404"),
        ("/empty", "empty"),
        ("/moved", "redirect"),
        ("/broken", "out of reach"),
        ("http://elsewhere.example/", "other host"),
    ],
)
def test_every_trap_is_survived_and_reported(trapped, path, fate):
    *_, rows = trapped
    assert rows[path]["fate"] == fate


def test_private_addresses_are_never_connected_to_by_redirects_or_sitemaps(trapped):
    _, inner, _, _, rows = trapped
    fates = [rows[f"http://127.0.0.2:{inner.port}/{path}"]["fate"] for path in ("admin", "from-the-map")]
    assert (fates, inner.asked) == (["private address"] * 2, Counter())


def test_no_page_is_asked_for_twice_and_nothing_that_robots_forbid(trapped):
    site, *_ = trapped
    assert [path for path, times in site.asked.items() if times > 1] == []
    assert not [path for path in site.asked if path.startswith("/secret")]


def test_the_counts_add_up(trapped):
    site, _, directory, counts, rows = trapped
    assert counts["seen"] == counts["kept"] + sum(counts["others"].values()) == len(rows)
    assert counts["requests"] == site.asked.total() - 1  # robots.txt is no page
    assert len(archived(directory)) == len(set(archived(directory))) == counts["kept"]


def test_what_was_kept_is_read_as_documents(trapped):
    site, _, directory, *_ = trapped
    path = next((directory / "warc").glob("*.warc.gz"))
    found = {document.metadata["url"]: document for document in read_file(path, "crawl", "CC0-1.0", ReadSettings())}
    assert "똠방각하와 펲시콜라를 마신 뷁." in found[f"{site.url}/euckr"].text
    assert PROSE.strip() in found[f"{site.url}/"].text


def test_the_crawler_introduces_itself(trapped):
    site, *_ = trapped
    assert {agent.partition("/")[0] for agent in site.agents} == {"malmoi"}
    assert all("(+me@example.com)" in agent for agent in site.agents)


def test_a_site_whose_robots_txt_fails_is_left_alone_and_one_without_is_free(serve, tmp_path):
    failing, inward, free, inner = serve(), serve(), serve(), serve("127.0.0.2")
    failing.add("/robots.txt", b"", 503)
    inward.add("/robots.txt", b"", 302, Location=f"http://127.0.0.2:{inner.port}/robots.txt")
    free.add("/", page())
    _, rows = run(tmp_path, urls=[failing.url, inward.url, free.url], sitemaps=False)
    assert [row["fate"] for row in rows.values()] == ["robots.txt out of reach"] * 2 + ["kept"]
    assert [set(site.asked) for site in (failing, inward, inner)] == [{"/robots.txt"}, {"/robots.txt"}, set()]


def test_servers_set_the_pace(serve, tmp_path):
    busy, slow = serve(), serve()
    answers = iter([(503, {"Retry-After": "1"}, b""), (200, {"Content-Type": "text/html"}, page())])
    busy.fallback = lambda path: next(answers) if path == "/" else None
    slow.add("/robots.txt", b"User-agent: malmoi\nCrawl-delay: 0.7\n")
    slow.add("/", page("/next"))
    slow.add("/next", page(text="다음 쪽의 글이다. "))
    counts, _ = run(tmp_path, urls=[busy.url, slow.url], sitemaps=False, retries=1)
    pauses = [site.times[-1] - site.times[-2] for site in (busy, slow)]
    assert counts["kept"] == 3
    assert [pauses[0] >= 1, pauses[1] >= 0.7] == [True, True]


def test_limits_of_pages_end_a_crawl(serve, tmp_path):
    site = serve()
    site.fallback = lambda path: calendar(path) if path.startswith("/calendar/") else None
    counts, _ = run(tmp_path, urls=[f"{site.url}/calendar/1"], pages=5, sitemaps=False)
    assert (counts["kept"], counts["others"]) == (5, {"limit of pages": 1})


def test_a_certificate_that_nobody_vouches_for_is_refused(serve, tmp_path):
    site = serve("127.0.0.1", tls=_own_certificate(tmp_path))
    site.add("/", page())
    _, rows = run(tmp_path / "out", urls=[site.url.replace("http:", "https:")], sitemaps=False)
    assert [row["fate"] for row in rows.values()] == ["robots.txt out of reach"]
    assert "certificate" in next(iter(rows.values()))["detail"]
    assert site.asked == Counter()


def test_a_crawl_that_is_killed_goes_on_no_page_twice_and_none_lost(serve, tmp_path):
    site = serve()
    site.add("/", page(*[f"/page/{n}" for n in range(60)]))
    for number in range(60):
        site.add(f"/page/{number}", page("/", text=f"{number}쪽의 글이다. "))
    settings = json.dumps({"urls": [site.url], "sitemaps": False, **FAST})
    script = (
        "import json, pathlib, sys; from malmoi.corpus.crawl.run import crawl\n"
        "from malmoi.corpus.crawl.settings import CrawlSettings\n"
        "d = pathlib.Path(sys.argv[2]); s = CrawlSettings.model_validate_json(sys.argv[1])\n"
        "crawl(s, d, d / 'checkpoints' / 'crawl.sqlite')"
    )
    for stop in (signal.SIGKILL, signal.SIGINT):
        before = site.asked.total()
        command = [sys.executable, "-c", script, settings, str(tmp_path)]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while site.asked.total() < before + 12:
            time.sleep(0.005)
        process.send_signal(stop)
        process.wait()
    counts, _ = run(tmp_path, urls=[site.url], sitemaps=False)
    asked_again = sum(times - 1 for path, times in site.asked.items() if path != "/robots.txt")
    assert counts["kept"] == len(archived(tmp_path)) == len(set(archived(tmp_path))) == 61
    assert asked_again <= 2  # what was under way at each stop


def test_nothing_kept_says_where_the_site_went(serve, tmp_path, monkeypatch, capsys):
    site = serve()
    site.add("/", b"", 301, Location="http://www.example.com/")
    words = ["corpus", "crawl", site.url, "allow_private=[127.0.0.1]", "sitemaps=false", "--contact", "me@example.com"]
    monkeypatch.setattr(sys, "argv", ["malmoi", *words, "--out", str(tmp_path / "site")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "leads to http://www.example.com/: set urls=http://www.example.com/" in capsys.readouterr().err


def _own_certificate(folder):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "certificate.pem").write_bytes(pem + secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem")
    return context
