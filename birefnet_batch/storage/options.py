"""Which options a cloud's library takes: of others it says nothing, or what it says comes late and with a request."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from inspect import Parameter, signature
from typing import Any

from birefnet_batch.errors import ConfigError, InputError
from birefnet_batch.settings import StorageSettings
from birefnet_batch.uri_schemes import scheme_of
from birefnet_batch.url_redaction import redact

# Where a library hands on what it does not know itself.
_HANDED_ON = {"s3": ("aiobotocore.session", "AioSession"), "az": ("azure.identity.aio", "DefaultAzureCredential")}
# What names an object's version in a URL: of Google's the library takes it for a part of the key, which is not there.
_VERSION = {"s3": "?versionId=", "az": "?versionid="}
_OF_FSSPEC = frozenset(("listings_expiry_time", "max_paths", "skip_instance_cache"))


def check_options(scheme: str, files: type, options: Mapping[str, Any]) -> None:
    """Look at the names of options, and at the form of an endpoint.

    Args:
        scheme: s3, gs or az.
        files: the file system's class.
        options: `storage.options` of that scheme.

    Raises:
        ConfigError: an option is none of the library's, or an endpoint is no URL or has a password.
    """
    for name in options:
        if name not in _taken(files) and name not in _handed_on(scheme):
            near = difflib.get_close_matches(name, _taken(files), 1)
            hint = f"did you mean {near[0]}? It" if near else "it"
            raise ConfigError(
                f"storage.options.{scheme}.{name} is no option of {files.__module__.partition('.')[0]}; {hint} "
                f"takes {', '.join(sorted(_taken(files)))}"
            )
    _check_endpoint(scheme, "endpoint_url", options.get("endpoint_url"))
    handed_on = options.get("client_kwargs")
    if isinstance(handed_on, Mapping):
        _check_endpoint(scheme, "client_kwargs.endpoint_url", handed_on.get("endpoint_url"))


def check_version(uri: str, settings: StorageSettings) -> None:
    """Refuse a version of an object where the library would read the present one, without a word.

    Raises:
        InputError: the URL names a version, and `storage.options` do not say that versions are read.
    """
    scheme = scheme_of(uri)
    named = _VERSION.get(scheme)
    if named and named in uri and not settings.options.get(scheme, {}).get("version_aware"):
        raise InputError(
            f"{redact(uri)} names a version ({named[1:]}), and the present one would be read; give "
            f"storage.options.{scheme}.version_aware=true to read that version, or leave it out of the URL"
        )


def _check_endpoint(scheme: str, name: str, endpoint: Any) -> None:
    if endpoint is None:
        return
    host = re.split(r"[/?#]", str(endpoint).partition("://")[2] or str(endpoint))[0]
    shown = f"storage.options.{scheme}.{name}={redact(str(endpoint)).rpartition('@')[2]}"
    if "@" in host:
        # Requests are signed, and one that is takes no password: the library tries that for minutes.
        raise ConfigError(
            f"{shown} was given with a user name or a password, which is not read; give credentials as the cloud's own "
            "tools take them, or as options of their own"
        )
    if not re.match(r"https?://[^/\s]", str(endpoint)):
        raise ConfigError(f"{shown} is no URL; give http://HOST:PORT or https://HOST")


@lru_cache
def _taken(files: type) -> frozenset[str]:
    return _OF_FSSPEC.union(*map(_named, files.__mro__[:-1])) - {"self", "loop", "asynchronous"}


@lru_cache
def _handed_on(scheme: str) -> frozenset[str]:
    if scheme not in _HANDED_ON:
        return frozenset()
    module, name = _HANDED_ON[scheme]
    found = getattr(import_module(module), name)
    # Azure's takes any, and has them in its documentation alone.
    return _named(found) | frozenset(re.findall(r":keyword \w+ (\w+):", found.__doc__ or ""))


def _named(kind: type) -> frozenset[str]:
    parameters = signature(kind.__init__).parameters.values()  # type: ignore[misc]
    return frozenset(item.name for item in parameters if item.kind is Parameter.POSITIONAL_OR_KEYWORD)
