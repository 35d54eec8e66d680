"""What goes wrong with the hub, as reasons that a user can act on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from birefnet_batch.refusals import one_line, system_reason
from birefnet_batch.url_redaction import redact, redact_text


class HubError(Exception):
    """Why the hub's file cannot be had; half a sentence."""


class NoAnswerError(HubError):
    """The hub was not asked, or did not answer."""


def library_reason(error: Exception) -> str:
    """What a library says went wrong, in one line and without secrets of URLs."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return redact_text(one_line(text)) or type(error).__name__


def host_of(error: Exception) -> str | None:
    """The `host` or `host:port` that a request went to which httpx could not make; None where it does not say."""
    import httpx

    try:
        return error.request.url.netloc.decode("ascii") if isinstance(error, httpx.RequestError) else None
    except RuntimeError:
        return None


@contextmanager
def refusals(repository: str, revision: str | None) -> Iterator[None]:
    """Turn what huggingface_hub raises.

    Args:
        repository: `owner/name` that is asked for.
        revision: of it; None is the main branch.

    Raises:
        NoAnswerError: the hub was not asked, or did not answer.
        HubError: everything else.
    """
    import httpx
    from huggingface_hub import constants, errors

    version, endpoint = f"{repository}@{revision or 'main'}", redact(constants.ENDPOINT)
    try:
        yield
    except errors.OfflineModeIsEnabled:
        raise NoAnswerError("HF_HUB_OFFLINE is set") from None
    except errors.GatedRepoError:
        raise HubError(f"{repository} is gated; accept its terms on the hub and set HF_TOKEN") from None
    except errors.RepositoryNotFoundError as error:
        status = error.response.status_code
        raise HubError(
            f"{endpoint} knows no {repository} ({status}); check the name, and set HF_TOKEN if it is private"
        ) from None
    except errors.RevisionNotFoundError:
        raise HubError(f"{repository} has no revision {revision}") from None
    except errors.EntryNotFoundError:
        raise HubError(f"{version} has no model.safetensors; give the path of a file that you have") from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        hint = "; check HF_TOKEN" if status in (401, 403) else ""
        kind = NoAnswerError if status >= 500 else HubError
        raise kind(f"{endpoint} answered {status} for {version}{hint}") from None
    except httpx.HTTPError as error:
        host = host_of(error)
        elsewhere = host is not None and host != httpx.URL(constants.ENDPOINT).netloc.decode("ascii")
        where = f"{host}, where {endpoint} says that the file is," if elsewhere else endpoint
        raise NoAnswerError(f"{where} cannot be reached ({library_reason(error)})") from None
    except OSError as error:
        named = f"{error.filename}: " if error.filename else ""
        raise HubError(f"{named}{system_reason(error)}") from None
    except ValueError as error:
        raise HubError(redact_text(one_line(error))[:200]) from None
