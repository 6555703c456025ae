"""Every default of scrapy that is open is closed."""

import pytest
from scrapy.settings import Settings

from malmoi.core.errors import UserError
from malmoi.corpus.crawl.settings import CLOSED, CrawlSettings, scrapy_settings
from malmoi.pipeline.recipe import build_step
from malmoi.pipeline.runner import identity

GIVEN = {"urls": ["https://example.com"], "contact": "me@example.com"}


def effective(**changes) -> Settings:
    """Scrapy's settings as a crawl has them, over scrapy's own defaults."""
    return Settings(scrapy_settings(CrawlSettings(**GIVEN, **changes)))


def test_only_http_and_https_are_spoken():
    handlers = effective().getwithbase("DOWNLOAD_HANDLERS")
    assert {scheme for scheme, handler in handlers.items() if handler} == {"http", "https"}


def test_nothing_listens_and_nothing_runs_that_is_not_named():
    settings = effective()
    assert [dict(settings.getwithbase(name)) for name in ("EXTENSIONS", "SPIDER_MIDDLEWARES")] == [{}, {}]
    assert set(settings.getwithbase("DOWNLOADER_MIDDLEWARES")) == set(CLOSED["DOWNLOADER_MIDDLEWARES_BASE"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DOWNLOAD_VERIFY_CERTIFICATES", True),
        ("DOWNLOAD_DELAY", 1.0),
        ("DOWNLOAD_DELAY_JITTER", 0),
        ("CONCURRENT_REQUESTS_PER_DOMAIN", 1),
        ("DOWNLOAD_TIMEOUT", 30),
        ("DOWNLOAD_MAXSIZE", 10_000_000),
        ("TWISTED_DNS_RESOLVER", "malmoi.corpus.crawl.resolver.GuardedResolver"),
    ],
)
def test_the_limits_hold(name, value):
    assert effective()[name] == value


def test_a_gentler_crawl_is_the_same_crawl():
    first, second = (
        build_step({"stage": "crawl", **GIVEN, **changes}, "crawl", "here") for changes in ({"delay": 1}, {"delay": 9})
    )
    assert identity(first, {}) == identity(second, {})


def test_the_crawler_says_who_it_is_and_who_answers_for_it():
    assert effective()["USER_AGENT"].startswith("malmoi/")
    assert effective()["USER_AGENT"].endswith("(+me@example.com)")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"urls": []}, "No page is named"),
        ({"urls": ["ftp://example.com"]}, "'ftp://example.com' is no address"),
        ({"contact": ""}, "'contact' is missing"),
        ({"contact": "나"}, "'contact' is missing"),
        ({"contact": "me@example.com\r\nX: y"}, "'contact' is missing"),
    ],
)
def test_a_crawl_needs_a_beginning_and_a_contact(changes, message):
    with pytest.raises(UserError, match=message):
        CrawlSettings(**GIVEN | changes).starts()


def test_only_the_hosts_of_the_first_pages_and_those_that_are_named_are_crawled():
    settings = CrawlSettings(**GIVEN, hosts=["WWW.example.com", "example.com:8080"])
    assert settings.allowed_hosts() == {"example.com", "www.example.com", "example.com:8080"}
