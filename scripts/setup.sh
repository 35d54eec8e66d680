# Sourced by the other scripts: makes .venv and installs the project into it, again only when pyproject.toml or
# the checkout's place changed.
#
#   set_up EXTRAS    EXTRAS is empty, or a list of extras such as "test"

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11 python; do
        if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "error: no Python 3.11 or newer was found; install one, or name it: PYTHON=/path/to/python $0" >&2
    return 1
}

set_up() {
    local extras=$1 stamp=.venv/.installed-${1:-run} wanted python
    # The folder is in it because the installed programs name it: a checkout may be moved.
    wanted="$(cksum <pyproject.toml) $PWD"
    if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && .venv/bin/python -c '' 2>/dev/null; then
        return
    fi
    # What was stopped while it was made, or made by a Python without ensurepip, has a Python and no pip.
    if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
        python=$(find_python)
        echo "making .venv with $("$python" --version)" >&2
        rm -rf .venv
        "$python" -m venv .venv
    fi
    echo "installing birefnet-batch${extras:+ with $extras} into .venv (some minutes the first time)" >&2
    .venv/bin/python -m pip install -qq --disable-pip-version-check --editable ".${extras:+[$extras]}"
    echo "$wanted" >"$stamp"
}
