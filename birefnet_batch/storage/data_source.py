"""Inputs inside their own URI: data:video/mp4;base64,..."""

from __future__ import annotations

import base64
import binascii
import hashlib
from urllib.parse import unquote_to_bytes

from birefnet_batch.errors import InputError
from birefnet_batch.settings import StorageSettings
from birefnet_batch.storage.facts import SourceFacts
from birefnet_batch.url_redaction import redact


def decode_data_uri(uri: str, settings: StorageSettings) -> bytes:
    """The content of a data URI (RFC 2397).

    Raises:
        InputError: it is none, or holds more than `storage.max_input_bytes`.
    """
    head, comma, body = uri.partition(",")
    shown = redact(uri)
    if not comma:
        raise InputError(f"{shown} is no data URI; it must be data:video/mp4;base64,CONTENT")
    if len(body) * 3 // 4 > settings.max_input_bytes:
        raise InputError(
            f"{shown} holds more than storage.max_input_bytes={settings.max_input_bytes}; raise the setting if that is "
            "wanted"
        )
    encoded = unquote_to_bytes(body)
    if not head.lower().endswith(";base64"):
        return encoded
    try:
        return base64.b64decode(b"".join(encoded.split()), validate=True)
    except binascii.Error as error:
        raise InputError(f"{shown} cannot be decoded: {str(error).lower()}; was it copied completely?") from None


def data_facts(content: bytes) -> SourceFacts:
    """The facts of a data URI's content."""
    digest = hashlib.sha256(content).hexdigest()
    return SourceFacts(len(content), f"size={len(content)};sha256={digest}", digest)
