"""Values of options that name folders."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from birefnet_batch.option_values import folder


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("s3://me:SECRET@bucket/x", "'s3://bucket/x' is a URL; give a folder on a disk"),
        ("https://host/x?token=SECRET", "is a URL; give a folder on a disk"),
        ("file://host/x", "needs three slashes"),
        (" ", "it is empty"),
    ],
)
def test_a_url_is_not_taken_for_the_name_of_a_folder(text: str, message: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=message) as caught:
        folder(text)
    assert "SECRET" not in str(caught.value)


def test_a_folder_may_be_a_file_uri_and_a_home() -> None:
    assert folder("file:///a%20b/c") == Path("/a b/c")
    assert folder("~") == Path.home()
