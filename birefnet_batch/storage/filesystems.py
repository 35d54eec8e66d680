"""Buckets through fsspec: which library reads a scheme, its options, and its errors in our words."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from birefnet_batch.errors import BirefnetBatchError, ConfigError
from birefnet_batch.refusals import one_line
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage.options import check_options
from birefnet_batch.uri_schemes import scheme_of
from birefnet_batch.url_redaction import redact, redact_text

# Module, class, extra. Of gcsfs the plain class: its usual one asks by gRPC, which only Google's servers answer.
_LIBRARIES = {
    "s3": ("s3fs.core", "S3FileSystem", "s3"),
    "gs": ("gcsfs.core", "GCSFileSystem", "gcs"),
    "az": ("adlfs.spec", "AzureBlobFileSystem", "azure"),
}
_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the machine's role",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, `gcloud auth application-default login`, or the machine's account",
    "az": "AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_CONNECTION_STRING, or `az login`",
}
# By name, for the libraries need not be installed: botocore's, google.auth's and azure.core's.
_NO_CREDENTIALS = frozenset(
    (
        *("PermissionError", "NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError"),
        *("DefaultCredentialsError", "RefreshError", "ClientAuthenticationError", "CredentialUnavailableError"),
        *("UnauthorizedSSOTokenError", "SSOTokenLoadError", "ProfileNotFound", "Forbidden", "Unauthorized"),
    )
)
_NOT_THERE = frozenset(("FileNotFoundError", "ResourceNotFoundError", "NoSuchBucket"))
# What S3 and Azure call it; a name that no bucket can have is refused by its form.
_NO_BUCKET = frozenset(("NoSuchBucket", "InvalidBucketName", "ContainerNotFound", "InvalidResourceName"))
# What stores that speak S3 say of calls that they do not have.
_NO_SUCH_CALL = frozenset(("NotImplemented", "MethodNotAllowed"))
# Azure adds the request's number, its time and the whole answer.
_AZURE_APPENDIX = re.compile(r"\s*\b(RequestId|ErrorCode):.*", re.DOTALL)
_UNREACHABLE = frozenset(
    (
        *("EndpointConnectionError", "ConnectTimeoutError", "ConnectionClosedError", "ServiceRequestError"),
        *("ClientConnectorError", "ClientConnectorDNSError", "ConnectionRefusedError", "gaierror"),
    )
)
_opening = threading.Lock()
# Whoever sets no logging up would be shown what gcsfs logs before it raises the same, with its trace.
logging.getLogger("gcsfs").addHandler(logging.NullHandler())


def bucket_filesystem(scheme: str, settings: StorageSettings) -> Any:
    """The fsspec file system of a bucket's scheme, with the options that the settings give.

    Raises:
        ConfigError: its library is not installed (the message has the command), or refuses the options.
    """
    module, name, extra = _LIBRARIES[scheme]
    try:
        files = getattr(import_module(module), name)
    except ImportError as error:
        raise ConfigError(
            f"{scheme}:// needs {module.partition('.')[0]}, which cannot be imported ({error}); "
            f"install it: pip install 'birefnet-batch[{extra}]'"
        ) from None
    given = settings.options.get(scheme, {})
    check_options(scheme, files, given)
    options = {**_defaults(scheme, settings), **given}
    try:
        # Created by one thread at a time: fsspec's cache of instances is shared.
        with _opening:
            found = files(use_listings_cache=False, **options)
            if scheme == "s3":
                # Of wrong options s3fs would say so with the first request only.
                found.connect()
            return found
    except Exception as error:
        # An option's value may be a secret, so of the library's words only those that hold none are kept.
        detail = one_line(redact_text(str(error)))
        for value in _texts(options):
            detail = detail.replace(value, "...")
        # Of Azure's there is no class of error for it.
        if _names(error) & _NO_CREDENTIALS or "unable to connect to account" in detail:
            raise ConfigError(f"{scheme}:// cannot be used: {_advice(scheme)}: {detail}") from None
        raise ConfigError(
            f"{scheme}:// cannot be used with storage.options.{scheme} ({', '.join(sorted(given)) or 'none'}): "
            f"{type(error).__name__}: {detail}"
        ) from None


def _defaults(scheme: str, settings: StorageSettings) -> dict[str, Any]:
    if scheme == "s3":
        config = {
            "connect_timeout": settings.timeout_s,
            "read_timeout": settings.timeout_s,
            "retries": {"mode": "standard", "max_attempts": settings.max_retries + 1},
        }
        return {"config_kwargs": config}
    if scheme == "gs":
        from aiohttp import ClientTimeout

        silence = ClientTimeout(total=None, sock_connect=settings.timeout_s, sock_read=settings.timeout_s)
        return {"requests_timeout": silence}
    return {}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, str) and len(value) > 3:
        yield value


@contextmanager
def bucket_errors(uri: str, doing: str, kind: type[BirefnetBatchError]) -> Iterator[None]:
    """Turn whatever a cloud's library raises into one line.

    Args:
        uri: what is used.
        doing: what is done with it, for `... cannot be read`.
        kind: the error to raise.
    """
    try:
        yield
    except BirefnetBatchError:
        raise
    except Exception as error:
        # Whatever is written needs its bucket and nothing else; a local file that is missing has a name.
        homeless = doing == "written" and _names(error) & _NOT_THERE and getattr(error, "filename", None) is None
        reason = no_bucket(uri) if homeless else bucket_reason(uri, error)
        raise kind(f"{redact(uri)} cannot be {doing}: {reason}") from None


def is_missing(files: Any, bucket: str) -> bool:
    """Whether a bucket does not exist, as far as that may be asked."""
    try:
        files.info(bucket)
    except FileNotFoundError:
        return True
    except Exception:
        return False
    return False


def is_permanent(error: BaseException) -> bool:
    """Whether trying again cannot help: nothing is there, or the credentials are wrong."""
    return is_absent(error) or bool(_names(error) & _NO_CREDENTIALS) or _status(error) in (401, 403)


def is_absent(error: BaseException) -> bool:
    """Whether nothing is there, whoever asks."""
    return bool(_names(error) & _NOT_THERE) or _code(error) in _NO_BUCKET or _status(error) == 404


def is_not_offered(error: BaseException) -> bool:
    """Whether the store has no such call."""
    return _code(error) in _NO_SUCH_CALL


def bucket_reason(uri: str, error: BaseException) -> str:
    """A cloud library's error in one line that says what to do, without secrets."""
    scheme, names = scheme_of(uri), _names(error)
    told = _AZURE_APPENDIX.sub("", redact_text(str(error)))
    detail = one_line(told, 300) or type(error).__name__
    if names & _NO_CREDENTIALS or _status(error) in (401, 403):
        return f"{_advice(scheme)} (the storage says: {detail})"
    if _code(error) in _NO_BUCKET:
        return no_bucket(uri)
    if names & _NOT_THERE:
        return "nothing is there; check the bucket's name and the path"
    if names & _UNREACHABLE:
        return f"the storage cannot be reached ({detail}); check the network and storage.options.{scheme}"
    if isinstance(error, TimeoutError):
        return "the storage did not answer in time (storage.timeout_s)"
    return f"{type(error).__name__}: {detail}"


def no_bucket(uri: str) -> str:
    """What to say where the bucket of a URL does not exist."""
    bucket = uri.partition("://")[2].partition("/")[0]
    return f"there is no bucket {bucket!r}; check its name, or create it first"


def _advice(scheme: str) -> str:
    return (
        f"the credentials are missing, wrong or may not do this; give {_CREDENTIALS[scheme]}, "
        f"or storage.options.{scheme}"
    )


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and what it was raised for or in the course of, one after another."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _status(error: BaseException) -> int | None:
    """The HTTP status behind an error, as azure.core and gcsfs keep it."""
    for cause in causes(error):
        for name in ("status_code", "code"):
            value = getattr(cause, name, None)
            if isinstance(value, int | str) and str(value).isdigit():
                return int(value)
    return None


def _code(error: BaseException) -> str:
    """The store's own name of an error, as botocore and azure.core keep it."""
    for cause in causes(error):
        response = getattr(cause, "response", None)
        code = getattr(cause, "error_code", None) or (
            response.get("Error", {}).get("Code") if isinstance(response, dict) else None
        )
        if code:
            return str(getattr(code, "value", code))
    return ""


def _names(error: BaseException | None) -> frozenset[str]:
    """The class names of an error and of what caused it."""
    names: set[str] = set()
    while error is not None and len(names) < 50:
        names.update(cls.__name__ for cls in type(error).__mro__[:-1])
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return frozenset(names - {"Exception", "BaseException", "object"})
