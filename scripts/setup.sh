# Sourced by scripts/run, scripts/test and scripts/docs: a virtual environment in .venv with Tickloom and what it needs, made once and
# remade when pyproject.toml or constraints.txt change. Wants a Python of 3.11 or newer; TICKLOOM_PYTHON names another.
# usage: setup EXTRAS   (e.g. setup "" or setup "[test]"); sets $PY to the environment's python.

find_python() {
    for candidate in ${TICKLOOM_PYTHON:-python3 python3.13 python3.12 python3.11 python}; do
        if command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return 0
        fi
    done
    echo "tickloom: no Python 3.11 or newer found; install one, or name it in TICKLOOM_PYTHON" >&2
    return 2
}

setup() {
    local extras=$1 venv=$ROOT/.venv${1:+-${1//[^a-z]/}} stamp want python
    want=$(cat "$ROOT/pyproject.toml" "$ROOT/constraints.txt" | cksum)
    stamp=$venv/.tickloom-setup
    PY=$venv/bin/python
    if [ "$(cat "$stamp" 2>/dev/null)" = "$want" ] && "$PY" -c 'import tickloom' 2>/dev/null; then
        return 0
    fi
    python=$(find_python) || return 2
    echo "tickloom: setting up $(basename "$venv") with $("$python" --version) (once; about a minute)" >&2
    "$python" -m venv --clear "$venv" || return 2
    "$PY" -m pip install --quiet --disable-pip-version-check --constraint "$ROOT/constraints.txt" \
        --editable "$ROOT$extras" >&2 || return 2
    printf '%s\n' "$want" >"$stamp"
}
