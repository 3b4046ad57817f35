# Sourced by the commands in scripts/: finds Python, keeps the virtual environment, and says where both are.
#
#   enter_environment pool|dev   sets $python to the environment's interpreter, its packages installed as
#                                requirements.lock (pool) or requirements-dev.lock (dev) says
#   find_base_python             sets $base_python to a Python >= 3.11 that can make an environment
#   print_header FILE            prints the comment at the head of a script: its help
#
# $root is the repository. PYTHON names the interpreter to use, ORDERLANE_VENV the environment ($root/.venv).
# Written for bash 3.2 and newer.

export CDPATH=
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)

print_header() {
  local line
  while IFS= read -r line; do
    case $line in
      '#!'*) ;;
      '#'*) line=${line#\#}; printf '%s\n' "${line# }" ;;
      *) return 0 ;;
    esac
  done < "$1"
}

_fits() { # a Python that runs, is new enough, and can make an environment with pip in it
  "$1" -I -c 'import sys; sys.exit(sys.version_info < (3, 11)); ' > /dev/null 2>&1
}

_makes_environments() {
  "$1" -I -c 'import venv, ensurepip, ssl' > /dev/null 2>&1
}

find_base_python() {
  local candidate incomplete=
  # 3.12 and 3.11 come first: for them there is a wheel with a redis-server in it.
  for candidate in ${PYTHON:+"$PYTHON"} python3.12 python3.11 python3.13 python3 python; do
    if _fits "$candidate"; then
      if _makes_environments "$candidate"; then
        base_python=$candidate
        return 0
      fi
      incomplete=${incomplete:-$candidate}
    fi
    if [[ -n ${PYTHON:-} ]]; then
      break
    fi
  done
  if [[ -n $incomplete ]]; then
    echo "orderlane: $incomplete has no venv or ensurepip module, which make the virtual environment." >&2
    echo "  Debian, Ubuntu: apt-get install $("$incomplete" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" >&2
  elif [[ -n ${PYTHON:-} ]]; then
    echo "orderlane: PYTHON is set to '$PYTHON', which does not run as Python 3.11 or newer: correct or unset it." >&2
  else
    echo "orderlane: found no Python 3.11 or newer. Install one, or name one: PYTHON=/path/to/python3 $0" >&2
    echo "  Debian, Ubuntu: apt-get install python3 python3-venv    Fedora: dnf install python3.12    macOS: brew install python@3.12" >&2
  fi
  return 1
}

enter_environment() {
  local environment=$root/scripts/lib/environment.py
  local venv=${ORDERLANE_VENV:-$root/.venv} base_python
  local locks=("$root/requirements.lock")
  if [[ $1 == dev ]]; then
    locks=("$root/requirements-dev.lock" "$root/requirements.lock")
  fi
  case $venv in
    /*) ;;
    *) venv=$PWD/$venv ;;
  esac
  python=$venv/bin/python
  if [[ -z ${PYTHON:-} ]] && "$python" -I -S "$environment" check "$venv" "${locks[@]}" 2> /dev/null; then
    return 0
  fi
  find_base_python || exit 1
  "$base_python" -I "$environment" install "$venv" "${locks[@]}" || exit
}

# The checkout's own packages, before any others of the same names.
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
