"""The place in a bucket that a setting names."""

from __future__ import annotations

from birefnet_batch.errors import ConfigError
from birefnet_batch.uri_schemes import scheme_of
from birefnet_batch.uris import bucket_path
from birefnet_batch.url_redaction import redact


def bucket_prefix(setting: str, location: str) -> str:
    """The bucket and the folder of a setting's bucket URL, `bucket/folder`, without slashes at its ends.

    Raises:
        ConfigError: it has credentials, names no bucket, or has parts that stores take for other ones.
    """
    try:
        prefix = bucket_path(location, ConfigError).strip("/")
    except ConfigError as error:
        raise ConfigError(f"{setting}: {error}") from None
    scheme = scheme_of(location)
    if not prefix:
        raise ConfigError(f"{setting} is {redact(location)!r}, which names no bucket; give {scheme}://BUCKET/PATH")
    if "\\" in prefix or any(part in ("", ".", "..") for part in prefix.split("/")):
        raise ConfigError(
            f"{setting} is {redact(location)!r}; give {scheme}://BUCKET/PATH without empty or dotted parts"
        )
    return prefix
