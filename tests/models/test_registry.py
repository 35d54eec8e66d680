"""Which models there are: the API's names and the checkpoints behind them."""

from __future__ import annotations

import pytest

from birefnet_batch.models.registry import MODELS, find_model
from birefnet_batch.request import Request

# From the table of the reference: request model, hub repository, backbone.
CHECKPOINTS = {
    "General Use (Light)": ("ZhengPeng7/BiRefNet", "swin_v1_l"),
    "General Use (Light 2K)": ("ZhengPeng7/BiRefNet_lite-2K", "swin_v1_t"),
    "General Use (Heavy)": ("ZhengPeng7/BiRefNet_lite", "swin_v1_t"),
    "Matting": ("ZhengPeng7/BiRefNet-matting", "swin_v1_l"),
    "Portrait": ("ZhengPeng7/BiRefNet-portrait", "swin_v1_l"),
    "General Use (Dynamic)": ("ZhengPeng7/BiRefNet_dynamic", "swin_v1_l"),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_each_api_name_means_its_published_checkpoint(name):
    spec = find_model(name)
    assert (spec.repository, spec.network) == CHECKPOINTS[name]
    assert find_model(spec.short_name) is spec


def test_a_request_can_name_every_model_and_no_other():
    for spec in MODELS:
        for name in (spec.name, spec.short_name):
            assert find_model(Request.from_dict({"video_url": "a.mp4", "model": name}).model) is spec
    with pytest.raises(KeyError, match="no model 'Heavy Duty'"):
        find_model("Heavy Duty")
