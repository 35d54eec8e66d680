"""What is behind the subject, for each type and setting."""

from __future__ import annotations

import pytest

from birefnet_batch.backdrop import Backdrop
from birefnet_batch.errors import ConfigError
from birefnet_batch.settings import Alpha, MediaSettings
from birefnet_batch.video.formats import GIF, PRORES, VP9, X264
from birefnet_batch.video.look import Look, look_of

CARRYING = [VP9, PRORES, GIF]


def test_by_default_there_is_alpha_where_the_type_carries_it_else_black() -> None:
    assert look_of(X264, MediaSettings()) == Look(Backdrop("colour", (0, 0, 0)), premultiplied=False)
    for form in CARRYING:
        assert look_of(form, MediaSettings()) == Look(Backdrop("none"), premultiplied=False)


@pytest.mark.parametrize("form", [X264, *CARRYING], ids=lambda form: form.suffix)
def test_a_colour_is_laid_under_every_type(form) -> None:
    look = look_of(form, MediaSettings(background="#00b140"))
    assert look == Look(Backdrop("colour", (0, 177, 64)), premultiplied=False)
    assert look.to_dict() == {"background": "0,177,64", "alpha": None}


@pytest.mark.parametrize("form", CARRYING, ids=lambda form: form.suffix)
def test_alpha_can_be_premultiplied(form) -> None:
    look = look_of(form, MediaSettings(alpha=Alpha.premultiplied))
    assert look.to_dict() == {"background": "none", "alpha": "premultiplied"}


def test_no_background_in_a_type_without_alpha_names_the_types_that_have_it() -> None:
    with pytest.raises(ConfigError, match=r"X264 \(.mp4\) has none; give .*VP9 \(.webm\) or PRORES4444 \(.mov\)"):
        look_of(X264, MediaSettings(background="none"))
