"""Where files go that nobody keeps."""

from __future__ import annotations

import tempfile

from birefnet_batch.errors import ConfigError
from birefnet_batch.refusals import system_reason


def require_temporary_folder() -> None:
    """Make sure that there is a folder for temporary files, which each video needs.

    Raises:
        ConfigError: none can be written.
    """
    try:
        tempfile.gettempdir()
    except OSError as error:
        raise ConfigError(f"temporary files cannot be written: {system_reason(error)}") from None
