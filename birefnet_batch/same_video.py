"""Whether two URLs are one video's: in other letters they are, with other secrets nobody can tell."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote, urlsplit

from birefnet_batch.errors import InputError


def spelt_alike(one: str, other: str) -> bool:
    """Whether two URLs ask a server for the same in other letters: a fragment, or a space as + or %20."""
    return one == other or _asked(one) == _asked(other)


def _asked(uri: str) -> tuple[object, ...]:
    try:
        parts = urlsplit(uri)
    except ValueError:
        return (uri,)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    return parts.scheme.lower(), parts.netloc, unquote(parts.path, errors="surrogateescape"), tuple(pairs)


def same_but_for_secrets(shown: str, place: str) -> InputError:
    """The error for a URL whose redacted form is that of another video of the run, so that they would share a folder.

    Args:
        shown: the redacted form.
        place: where the other one is named.
    """
    return InputError(
        f"{shown} differs from {place} in nothing but its user name, password, signature or token, which names of "
        "results do not hold; give each video another URL, or leave one of them out"
    )
