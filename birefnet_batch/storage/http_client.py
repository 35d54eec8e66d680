"""The client that fetches inputs by HTTP, made as the settings and this machine's environment say."""

from __future__ import annotations

import os
import ssl
from functools import lru_cache

import httpx

from birefnet_batch.errors import FetchError, InputError
from birefnet_batch.refusals import named_reason
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage.http_guard import GuardedTransport, check_scheme
from birefnet_batch.uri_schemes import HTTP_SCHEMES
from birefnet_batch.url_redaction import redact, redact_text

_MOST_REDIRECTS = 10
_VARIABLES = frozenset(
    ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir", "sslkeylogfile")
)


def http_client(shown: str, settings: StorageSettings) -> httpx.Client:
    """A client that checks each request, those of redirects too.

    Args:
        shown: the URL that it is for, without its secrets.
        settings: time limits, and what may be asked.

    Raises:
        FetchError: the library cannot use what the environment says of proxies or certificates.
    """

    def check(request: httpx.Request) -> None:
        check_scheme(str(request.url), settings)
        if request.url.scheme not in HTTP_SCHEMES:
            raise InputError(
                f"{shown} cannot be fetched: its server sends on to {redact(str(request.url))}, and only "
                "http:// and https:// are followed; give the other address itself"
            )

    try:
        transport = None
        if not settings.allow_private_hosts:
            unpooled = httpx.Limits(max_keepalive_connections=0)
            transport = GuardedTransport(httpx.HTTPTransport(verify=_trusted(), limits=unpooled))
        return httpx.Client(
            timeout=httpx.Timeout(settings.timeout_s),
            verify=_trusted(),
            transport=transport,
            follow_redirects=True,
            max_redirects=_MOST_REDIRECTS,
            # Called for each redirect too.
            event_hooks={"request": [check]},
            # A packed body has another length, and other ranges, than the file.
            headers={"Accept-Encoding": "identity", "User-Agent": "birefnet-batch"},
        )
    except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:
        # Of a URL that it cannot read the library repeats what may be a part of a password.
        unread = isinstance(error, httpx.InvalidURL)
        reason = (
            "one of them is no URL, host or address that can be read" if unread else redact_text(named_reason(error))
        )
        given = ", ".join(sorted(name for name in os.environ if name.lower() in _VARIABLES))
        raise FetchError(
            f"{shown} cannot be fetched: what this machine says of proxies and certificates "
            f"({given or 'in its system settings'}) cannot be used: {reason}; change it or unset it"
        ) from None


@lru_cache(maxsize=1)
def _trusted() -> ssl.SSLContext:
    """The certificates that a server's may be signed by: reading them costs more than a request does."""
    return httpx.create_ssl_context()
