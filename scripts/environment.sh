# Sourced by scripts/demo and scripts/test: makes a virtual environment in the repository and
# installs interp with the extras named in $1, every package at the version of requirements.lock.
# A stamp holds the digest of what was installed, so that a second run installs nothing.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

python_for_venv() {
    local candidate
    for candidate in "${PYTHON:-}" python3 python3.11 python3.12 python3.13; do
        if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    echo "interp needs Python 3.11 or later: install one, or name it with PYTHON=/path/to/python." >&2
    exit 2
}

# install_interp EXTRAS [PACKAGE ...]: the packages come alone, without what they ask for.
install_interp() {
    local extras="$1" stamp python
    local pip=".venv/bin/python -m pip install --quiet --no-compile --constraint requirements.lock"
    shift
    stamp=".venv/installed-$(echo "$extras $* $(cat pyproject.toml requirements.lock)" | sha256sum | cut -c1-16)"
    [ -f "$stamp" ] && return
    if [ ! -x .venv/bin/python ]; then
        python="$(python_for_venv)" || exit 2
        "$python" -m venv .venv || exit 5
    fi
    # torch first and by itself: pip must not choose another build of it for the sake of a dependency.
    $pip torch || exit 5
    $pip --editable ".${extras:+[$extras]}" || exit 5
    [ $# -eq 0 ] || $pip --no-deps "$@" || exit 5
    # Compiled on all cores, where pip has one. A file that cannot be is no module (a template).
    .venv/bin/python -m compileall -qq -j 0 .venv/lib || true
    touch "$stamp"
}
