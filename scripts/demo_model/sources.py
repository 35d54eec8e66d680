"""Fetches the packages that hold the training material, through their registries' own clients."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from demo_model.paths import DOWNLOADS, SOURCES


@dataclass(frozen=True)
class Source:
    """A package with material for training.

    Attributes:
        name: the folder below SOURCES.
        registry: `npm`, `pypi` or `debian`.
        package: its name there, with a version where the registry keeps old ones.
        pattern: what the downloaded file is called.
        licence: of the files that we use.
    """

    name: str
    registry: str
    package: str
    pattern: str
    licence: str


SOURCES_USED = (
    Source("emoji", "npm", "@lobehub/fluent-emoji-3d@1.1.0", "lobehub-fluent-emoji-3d-*.tgz", "MIT"),
    Source("pmndrs", "npm", "@pmndrs/assets@1.7.0", "pmndrs-assets-*.tgz", "CC0-1.0"),
    Source("pybullet", "pypi", "pybullet==3.2.7", "pybullet-*.whl", "zlib"),
    Source("skimage", "pypi", "scikit-image==0.26.0", "scikit_image-*.whl", "CC0-1.0 (the three textures)"),
    Source("lomiri", "debian", "lomiri-wallpapers-16.04", "lomiri-wallpapers-16.04_*.deb", "CC-BY-4.0"),
    Source("gcompris", "debian", "gcompris-qt-data", "gcompris-qt-data_*.deb", "CC0-1.0, public domain, CC-BY-3.0"),
    Source("blender", "debian", "blender-data", "blender-data_*.deb", "CC0-1.0 (the panoramas)"),
)


def _download(source: Source) -> Path:
    found = sorted(DOWNLOADS.glob(source.pattern))
    if not found:
        pip = [sys.executable, "-m", "pip"]
        commands = {
            "npm": ["npm", "pack", "--silent", source.package],
            "pypi": [*pip, "download", "--quiet", "--no-deps", "--only-binary=:all:", source.package],
            "debian": ["apt-get", "download", source.package],
        }
        subprocess.run(commands[source.registry], cwd=DOWNLOADS, check=True)
        found = sorted(DOWNLOADS.glob(source.pattern))
    if not found:
        raise SystemExit(f"error: {source.package} was downloaded but {DOWNLOADS / source.pattern} is not there")
    return found[-1]


def fetch() -> None:
    """Download and unpack every source that is not there yet."""
    DOWNLOADS.mkdir(parents=True, exist_ok=True)
    for source in SOURCES_USED:
        target = SOURCES / source.name
        done = target / ".complete"
        if done.exists():
            continue
        print(f"fetching {source.package} ({source.licence})", flush=True)
        archive = _download(source)
        target.mkdir(parents=True, exist_ok=True)
        if archive.suffix == ".tgz":
            with tarfile.open(archive) as package:
                package.extractall(target, filter="data")
        elif archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as package:
                package.extractall(target)
        else:
            subprocess.run(["dpkg-deb", "-x", str(archive), str(target)], check=True)
        done.touch()
