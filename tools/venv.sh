# Sourced by the other tools: make .venv with a Python that is new enough and install this checkout into it.
# Usage: source tools/venv.sh; install_checkout '.' or install_checkout '.[dev]'

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    local candidate
    for candidate in python3 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null && new_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    echo "$0: needs Python 3.11 or newer, and found none on PATH" >&2
    return 1
}

install_checkout() {
    local wanted=$1 stamp=.venv/installed-${1//[^a-z]/} python
    if [ ! -x .venv/bin/python ] || ! new_enough .venv/bin/python; then
        python=$(find_python)
        rm -rf .venv
        "$python" -m venv .venv || {
            rm -rf .venv
            echo "$0: '$python -m venv' failed; on Debian and Ubuntu: apt-get install python3-venv" >&2
            return 1
        }
    fi
    if [ ! -e "$stamp" ] || [ pyproject.toml -nt "$stamp" ]; then
        echo "installing into .venv (a minute or two the first time)"
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable "$wanted"
        touch "$stamp"
    fi
}
