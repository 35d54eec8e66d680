"""The arguments of one API call, from a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from birefnet_batch.errors import ConfigError, RequestError
from birefnet_batch.manifest_entries import BAD_TAG, BAD_TAG_ERRORS
from birefnet_batch.models.registry import SHIPPED, Catalogue
from birefnet_batch.refusals import one_line
from birefnet_batch.repeated_names import load_json, load_yaml
from birefnet_batch.request import Request
from birefnet_batch.uri_schemes import scheme_of
from birefnet_batch.uris import canonical_uri, user_path
from birefnet_batch.url_redaction import redact, redact_text


def load_request_file(
    location: str, defaults: Mapping[str, Any], overrides: Mapping[str, Any], models: Catalogue = SHIPPED
) -> Request:
    """Read a JSON or YAML file with the arguments of one API call.

    Args:
        location: the file. A relative video_url in it is relative to its folder.
        defaults: request fields that the file may leave out.
        overrides: request fields that win over the file's.
        models: those that the file may name.

    Raises:
        ConfigError: it cannot be read, or is a URL.
        RequestError: its fields are no request.
    """
    if scheme_of(location) not in ("", "file"):
        raise ConfigError(f"request_file={redact(location)} is a URL; download it and give its path")
    path, location = user_path(location), redact(location)
    try:
        text = path.read_text("utf-8-sig")
        data = load_json(text) if path.suffix.lower() == ".json" else load_yaml(text)
    except FileNotFoundError:
        raise ConfigError(f"request_file={location} does not exist; give a JSON or YAML file") from None
    except BAD_TAG_ERRORS:
        raise ConfigError(f"request_file={location} cannot be read: {BAD_TAG}") from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = redact_text(one_line(error))
        raise ConfigError(f"request_file={location} cannot be read: {reason}") from None
    if not isinstance(data, Mapping):
        raise RequestError(
            f"The request file {location} has problems",
            [f"it holds a {type(data).__name__}; it must map request fields to values"],
        )
    fields = {**defaults, **{name: value for name, value in data.items() if value is not None}, **overrides}
    url = fields.get("video_url")
    if isinstance(url, str) and url.strip():
        fields["video_url"] = canonical_uri(url.strip(), path.parent.absolute())
    return Request.from_dict(fields, models)
