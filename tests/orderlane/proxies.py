"""A lossy proxy in front of the Redis at a URL."""

from urllib.parse import urlsplit

from tests.lossy_proxy import LossyProxy


def proxy_of(url: str) -> LossyProxy:
    parts = urlsplit(url)
    return LossyProxy(str(parts.hostname), int(parts.port or 0))
