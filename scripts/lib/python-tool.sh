# Sourced by scripts that use programs which come as Python packages.

# python_tool NAME PACKAGE==VERSION...: installs the packages into a virtual environment of their own below
# target/, unless they are there; $python_tool_bin is the folder of their programs then.
python_tool() {
  local root python environment
  root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
  environment="$root/target/python/$1"
  shift
  python_tool_bin="$environment/bin"
  [ "$(cat "$environment/packages" 2>/dev/null)" != "$*" ] || return 0
  python="${PYTHON:-$(command -v python3 || command -v python || true)}"
  if [ -z "$python" ]; then
    echo "Python with pip is missing; it gets $*" >&2
    return 1
  fi
  "$python" -m venv --clear "$environment"
  [ -d "$python_tool_bin" ] || python_tool_bin="$environment/Scripts" # on Windows
  "$python_tool_bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: "$@"
  echo "$*" >"$environment/packages"
}
