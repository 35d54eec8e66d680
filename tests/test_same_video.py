"""Whether two URLs are one video's."""

from __future__ import annotations

from birefnet_batch.same_video import spelt_alike


def test_one_url_in_other_letters_is_told_from_another() -> None:
    url = "http://h/a%20b.mp4?t=a+b&x="
    assert spelt_alike(url, "HTTP://h/a b.mp4?t=a%20b&x=#t=3")
    assert not spelt_alike(url, url.replace("x=", "x=1"))
    assert not spelt_alike("http://u:1@h/a.mp4", "http://u:2@h/a.mp4")
