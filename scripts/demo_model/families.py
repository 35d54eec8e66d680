"""Which emoji are pictures of one family, so that recoloured copies never straddle the split."""

from __future__ import annotations

import zlib

SKIN_TONES = {f"1f3f{tone}" for tone in "bcdef"}
PEOPLE = {"1f468", "1f469", "1f9d1", "1f466", "1f467", "1f474", "1f475", "1f9d2", "1f9d3", "1f476"}
HELD_OUT_PART = 8
# The paperclip and the game controller are pictures of products; the black bird came after the published set.
_OTHERS = {("1f4ce",), ("1f3ae",), ("1f426", "2b1b")}


def _within(code: int, *ranges: tuple[int, int]) -> bool:
    return any(first <= code <= last for first, last in ranges)


def emoji_family(stem: str) -> str:
    """Return the family of the emoji whose file is called `stem` (code points in hexadecimal)."""
    codes = [code for code in stem.split("-") if code not in SKIN_TONES and code not in ("fe0f", "200d")]
    codes = [code for code in codes if code not in ("2640", "2642")] or codes
    first = int(codes[0], 16)
    if _within(first, (0x1F1E6, 0x1F1FF), (0x1F3F3, 0x1F3F4), (0x1F38C, 0x1F38C), (0x1F6A9, 0x1F6A9)):
        return "flag"
    if "20e3" in codes or _within(
        first,
        (0x1F170, 0x1F251),
        (0x2648, 0x2653),
        (0x1F6AB, 0x1F6C5),
        (0x1F500, 0x1F524),
        (0x1F52F, 0x1F53D),
        (0x1F540, 0x1F549),
        (0x1F54E, 0x1F54E),
        (0x1F5E3, 0x1F5E3),
        (0x2194, 0x21AA),
        (0x23E9, 0x23FA),
        (0x25AA, 0x25FE),
        (0x1F7E0, 0x1F7F0),
        (0x2B05, 0x2B1C),
        (0x262A, 0x262F),
        (0x2714, 0x2757),
        (0x2795, 0x27BF),
        (0x2934, 0x2935),
        (0x3030, 0x3299),
        (0xA9, 0xAE),
    ):
        return "sign"
    if _within(first, (0x1F600, 0x1F637), (0x1F641, 0x1F644), (0x1F910, 0x1F917), (0x1F920, 0x1F92F)) or _within(
        first, (0x1F970, 0x1F97A), (0x1FAE0, 0x1FAE8), (0x2639, 0x263A), (0x1F9D0, 0x1F9D0)
    ):
        return "face"
    if _within(first, (0x1F638, 0x1F640)):
        return "cat face"
    if _within(first, (0x1F493, 0x1F49F), (0x2763, 0x2764), (0x1F90D, 0x1F90E), (0x1FA75, 0x1FA77)):
        return "heart"
    if _within(first, (0x1F550, 0x1F567)):
        return "clock"
    if _within(first, (0x1F311, 0x1F31E)):
        return "moon"
    if codes[0] in PEOPLE:
        rest = sorted(set(codes[1:]) - PEOPLE)
        several = len([code for code in codes if code in PEOPLE]) > 1
        return "couple" if several or "2764" in rest else f"person {'-'.join(rest)}"
    if _within(first, (0x1F446, 0x1F450), (0x1F590, 0x1F596), (0x1F918, 0x1F91F), (0x270A, 0x270D), (0x1FAF0, 0x1FAF8)):
        return "hand"
    return codes[0]


def published(stem: str) -> bool:
    """Whether Microsoft publishes an emoji of this file's name, in microsoft/fluentui-emoji under MIT.

    The package has pictures of others too, whose source it does not name: flags of countries, couples and families,
    people that hold hands, wrestle or wear ears, technologists.
    """
    codes = [code for code in stem.split("-") if code not in ("fe0f", "200d")]
    first = int(codes[0], 16)
    if _within(first, (0x1F1E6, 0x1F1FF), (0x1F46A, 0x1F46D), (0x1F48F, 0x1F48F), (0x1F491, 0x1F491)):
        return False
    if _within(first, (0x1F46F, 0x1F46F), (0x1F93C, 0x1F93C)) or any(code.startswith("e00") for code in codes):
        return False
    if codes[0] in PEOPLE and (emoji_family(stem) == "couple" or {"1f4bb", "1f91d"} & set(codes)):
        return False
    return tuple(codes) not in _OTHERS and codes[0] not in SKIN_TONES


def held_out(family: str) -> bool:
    """Whether a family is for evaluation only; about one in eight, the same on every machine."""
    return zlib.crc32(family.encode()) % HELD_OUT_PART == 0
