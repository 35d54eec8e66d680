"""The text of `--help`: groups and keys, one line each, without loading Hydra."""

from __future__ import annotations

from birefnet_batch.conf_folder import conf_folder
from birefnet_batch.settings import describe

_HEAD = """\
birefnet-batch: remove the background from videos with the BiRefNet models.

  birefnet-batch request.video_url=clip.mp4 request.model=portrait output=out
  birefnet-batch manifest=videos.yaml output=out
  birefnet-batch request_file=call.json output=out        the arguments of an API call
  birefnet-batch experiment=demo                          the shipped clips and model
  birefnet-batch -m request.model=light,portrait request.video_url=clip.mp4 output=out

Quote values with spaces or parentheses, for the shell: 'request.model=General Use (Light 2K)'.
"""
_TAIL = """\
--cfg job shows the composed configuration, --config-dir FOLDER adds your own groups and experiments,
-m sweeps over comma-separated values, --hydra-help explains Hydra's flags, --version shows the version.
Exit status: 0 every video succeeded, 1 some failed, 2 wrong configuration, 130 interrupted."""


def help_text() -> str:
    """The whole text."""
    groups = [
        f"  {folder.name + '=':13}{' | '.join(sorted(choice.stem for choice in folder.glob('*.yaml')))}"
        for folder in sorted(conf_folder().iterdir())
        if folder.is_dir() and any(folder.glob("*.yaml"))
    ]
    rows = describe()
    keys = [
        f"  {key}={default}\n      {text}" if len(key) + len(default) > 36 else f"  {f'{key}={default}':39}{text}"
        for key, default, text in rows
    ]
    return "\n".join([_HEAD, "Groups (conf/):", *groups, "", "Keys and defaults:", *keys, "", _TAIL])
