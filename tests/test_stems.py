"""Names of results are safe, whatever inputs are called."""

from __future__ import annotations

import pytest

from birefnet_batch.stems import stem_of


@pytest.mark.parametrize(
    ("uri", "stem"),
    [
        ("file:///x/My%20Clip%20(final).MP4", "my-clip-final"),
        ("https://h/../../etc/passwd?x=1", "passwd"),
        ("https://h/", "video"),
        ("file:///x/日本.mp4", "video"),
        ("file:///x/..mp4", "video"),
        (f"file:///x/{'a' * 300}.mp4", "a" * 48),
        ("https://h/clip.mp4;jsessionid=very.secret", "clip"),
        ("file:///x/clip;token=1.mp4", "clip-token-1"),
        ("https://h/eyJhbGciOiJI.eyJzdWIi.abc-_.mp4", "sha256-417591bd0579"),
        ("file:///x/CON.mp4", "video-con"),
        ("file:///x/nul.tar.mp4", "video-nul.tar"),
        ("s3://b/lpt9.mp4", "video-lpt9"),
        ("file:///x/con1.mp4", "con1"),
        ("file:///x/auxiliary.mp4", "auxiliary"),
    ],
)
def test_stems_are_safe_file_names(uri: str, stem: str) -> None:
    assert stem_of(uri) == stem
