"""The house rules: which way imports run, what a file may hold, what the wheel and the lock files carry."""

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LAYERS = {
    "orderlane": {"orderlane"},
    "common": {"common", "orderlane"},
    "workers": {"workers", "common", "orderlane"},
}
TOP_LEVEL = {"workers", "common", "tests", "scripts", "orderlane", "docs", ".ci"}
TOP_LEVEL_FILES = re.compile(
    r"Procfile|pyproject\.toml|README\.md|\.\w+|[\w.-]+\.(lock|ya?ml|ya?ml\.example)"
)
LINE_LIMIT = 450
LUA_HEADER = ("KEYS:", "ARGV:", "Returns:", "Safe to run twice:")

# Modules that only decide: they take values and return values, whoever calls them and whenever.
PURE = {f"orderlane/{name}.py" for name in ("intents", "events", "orders", "keys")} | {"common/normalizer.py"}
IMPURE_IMPORTS = {"asyncio", "random", "secrets", "socket", "subprocess", "time", "redis", "aiohttp", "ccxt"}
UNSAFE_IMPORTS = {"marshal", "pickle", "shelve"}
DRAWERS = re.compile(r"(^|_)(utils?|helpers?|managers?|misc|stuff)$")

# Each pattern is written so that it does not match itself.
FORBIDDEN_TEXT = {
    "a path of one machine": r"(?<![\w.])/(?:work|root|home|Users)/\w",
    "a package registry's host": r"pypi\.(?:org|python)|pythonhosted\.org|npmjs\.|crates\.io|/opt/py[p]i",
    "the tool that wrote it": r"cl[a]ude|anthr[o]pic|chat[g]pt|open[a]i|\bc[o]pilot\b|\bL[L]M",
    "an entry of a tracker": r"\b(?:issue|ticket|pull request) ?#?\d|\bthis iss[u]e\b",
    "something left for later": r"\bTO[D]O\b|\bFIX[M]E\b",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
}
LOCKS = {"requirements.lock": ["pool"], "requirements-dev.lock": ["pool", "dev"]}


def modules(package: str) -> Iterator[tuple[str, ast.Module]]:
    """Each module of a package, as its path from the root and its syntax tree."""
    for path in sorted((ROOT / package).rglob("*.py")):
        yield str(path.relative_to(ROOT)), ast.parse(path.read_text(), str(path))


def imports(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Each module a module imports, in full, with the line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ".", node.lineno


def top(module: str) -> str:
    return module.partition(".")[0]


@cache
def committed_files() -> tuple[str, ...]:
    """The files of the checkout that are, or would be, committed."""
    git = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), "ls-files", "-z"]
    listing = subprocess.run(
        [*git, "--cached", "--others", "--exclude-standard"], capture_output=True, text=True, check=False
    )
    if listing.returncode != 0:
        pytest.skip(f"not a git checkout: {listing.stderr.strip()}")
    return tuple(name for name in sorted(set(listing.stdout.split("\0"))) if name and (ROOT / name).is_file())


@cache
def requirements(*groups: str) -> dict[str, Requirement]:
    """What pyproject.toml asks for: the project's dependencies and those of the groups, by canonical name."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lines = list(table["project"]["dependencies"])
    for group in groups:
        lines += table["dependency-groups"][group]
    return {canonicalize_name(one.name): one for one in map(Requirement, lines)}


def locked(lock: str) -> dict[str, tuple[str, int]]:
    """What a lock file pins, by canonical name: the version, and how many hashes it gives."""
    entries = re.findall(
        r"^([\w.-]+)==(\S+)[^\n]*\\\n((?:    --hash=\S+[^\n]*\n?)+)", (ROOT / lock).read_text(), re.M
    )
    return {canonicalize_name(name): (version, hashes.count("sha256:")) for name, version, hashes in entries}


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_run_one_way(layer: str) -> None:
    own = {*LAYERS, "tests", "scripts"}
    wrong = [
        f"{path}:{line} imports {module}"
        for path, tree in modules(layer)
        for module, line in imports(tree)
        if top(module) in own - LAYERS[layer]
    ]
    assert not wrong, f"{layer} may import {sorted(LAYERS[layer])} of our own packages:\n" + "\n".join(wrong)


def test_orderlane_needs_redis_and_msgspec_and_its_command_line_click_and_rich() -> None:
    def allowed(path: str) -> set[str]:
        command_line = path.startswith("orderlane/cli")
        extras = {"sqlalchemy", "duckdb"} if path.startswith("orderlane/archive/") else set()
        return {"orderlane", "redis", "msgspec"} | ({"click", "rich"} if command_line else set()) | extras

    wrong = [
        f"{path}:{line} imports {module}"
        for path, tree in modules("orderlane")
        for module, line in imports(tree)
        if top(module) not in sys.stdlib_module_names | allowed(path)
    ]
    assert not wrong, "\n".join(wrong)


def test_what_the_pool_imports_is_declared() -> None:
    declared, providers = set(requirements("pool")), packages_distributions()
    wrong = [
        f"{path}:{line} imports {module}"
        for layer in ("common", "workers")
        for path, tree in modules(layer)
        for module, line in imports(tree)
        if top(module) not in sys.stdlib_module_names | set(LAYERS)
        and not declared & {canonicalize_name(name) for name in providers.get(top(module), [])}
    ]
    assert not wrong, "in no dependency of pyproject.toml, only there by chance:\n" + "\n".join(wrong)


def test_modules_that_decide_have_no_clock_and_no_io() -> None:
    wrong = [
        f"{path}:{line} imports {module}"
        for layer in LAYERS
        for path, tree in modules(layer)
        if path in PURE
        for module, line in imports(tree)
        if top(module) in IMPURE_IMPORTS
    ]
    assert not wrong, "\n".join(wrong)


def test_connections_of_the_pool_are_built_in_one_module() -> None:
    def builds_a_connection(node: ast.AST) -> bool:
        if not isinstance(node, ast.Call):
            return False
        name = ast.unparse(node.func).split(".")
        return name[-1] in {"Redis", "StrictRedis", "RedisCluster", "ConnectionPool"} or (
            name[-1] == "from_url" and "redis" in ".".join(name).lower()
        )

    wrong = [
        f"{path}:{node.lineno}"
        for layer in ("common", "workers")
        for path, tree in modules(layer)
        if path != "common/redis.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and builds_a_connection(node)
    ]
    assert not wrong, "common/redis.py builds them, with its retries and timeouts:\n" + "\n".join(wrong)


def test_nothing_is_unpickled_or_run_through_a_shell() -> None:
    wrong = [
        f"{path}:{line} imports {module}"
        for layer in LAYERS
        for path, tree in modules(layer)
        for module, line in imports(tree)
        if top(module) in UNSAFE_IMPORTS
    ] + [
        f"{path}:{node.value.lineno} shell=True"
        for layer in (*LAYERS, "scripts")
        for path, tree in modules(layer)
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "shell" and ast.unparse(node.value) != "False"
    ]
    assert not wrong, "\n".join(wrong)


def test_files_are_rooms_not_halls() -> None:
    lengths = {
        path: len((ROOT / path).read_text().splitlines())
        for path in committed_files()
        if path.startswith(tuple(f"{layer}/" for layer in LAYERS)) and path.endswith((".py", ".lua"))
    }
    wrong = [f"{path} has {lines} lines" for path, lines in lengths.items() if lines > LINE_LIMIT]
    assert not wrong, f"more than {LINE_LIMIT} lines:\n" + "\n".join(wrong)


def test_no_file_is_a_drawer() -> None:
    wrong = [path for path in committed_files() if DRAWERS.search(Path(path).stem)]
    assert not wrong, f"name them by their purpose: {wrong}"


def test_every_lua_script_states_its_contract() -> None:
    wrong = []
    for path in sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.lua")):
        header = re.match(r"(?:--.*\n)+", path.read_text())
        missing = [word for word in LUA_HEADER if f"-- {word}" not in (header[0] if header else "")]
        if missing:
            wrong.append(f"{path.relative_to(ROOT)} does not say {', '.join(missing)}")
    assert not wrong, "\n".join(wrong)


def test_the_top_level_is_the_agreed_one() -> None:
    def agreed(path: str) -> bool:
        folder, slash, _ = path.partition("/")
        return folder in TOP_LEVEL if slash else bool(TOP_LEVEL_FILES.fullmatch(path))

    wrong = [path for path in committed_files() if not agreed(path)]
    assert not wrong, f"not at the top level, please: {wrong}"


@pytest.mark.parametrize("what", FORBIDDEN_TEXT)
def test_no_committed_file_holds(what: str) -> None:
    pattern = re.compile(FORBIDDEN_TEXT[what], re.IGNORECASE if "tool" in what else 0)
    wrong = []
    for path in committed_files():
        text = f"{path}\n{(ROOT / path).read_text(errors='replace')}"
        wrong += [f"{path}: {match[0]!r}" for match in pattern.finditer(text)]
    assert not wrong, f"{what}:\n" + "\n".join(wrong)


def test_links_between_documents_lead_somewhere() -> None:
    wrong = []
    for path in (path for path in committed_files() if path.endswith(".md")):
        for target in re.findall(r"\]\(([^)#\s]+)", (ROOT / path).read_text()):
            if "://" not in target and not (ROOT / path).parent.joinpath(target).exists():
                wrong.append(f"{path} -> {target}")
    assert not wrong, "\n".join(wrong)


def test_commands_are_executable_bash() -> None:
    commands = [path for path in committed_files() if re.fullmatch(r"scripts/[^/.]+|\.ci/run", path)]
    wrong = [
        path
        for path in commands
        if not (ROOT / path).read_text().startswith("#!/usr/bin/env bash\n")
        or not os.access(ROOT / path, os.X_OK)
    ]
    assert commands
    assert not wrong, f"missing the first line or the x bit: {wrong}"
    for path in [*commands, "scripts/lib/environment.sh"]:
        subprocess.run(["bash", "-n", ROOT / path], check=True)


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_pins_by_hash_what_the_project_asks_for(lock: str) -> None:
    pins = locked(lock)
    text = (ROOT / lock).read_text()
    wanted = requirements(*LOCKS[lock])
    wrong = [
        f"{name} {one.specifier} is locked at {pins.get(name, ('nothing', 0))[0]}"
        for name, one in wanted.items()
        if name not in pins or not one.specifier.contains(pins[name][0], prereleases=True)
    ]
    assert not wrong, "run scripts/lock:\n" + "\n".join(wrong)
    assert len(pins) == len(re.findall(r"^\w", text, re.M)), "a line of the lock is not a pin with hashes"
    assert all(hashes for _, hashes in pins.values())
    assert "://" not in text
    assert not re.search(r"^-", text, re.M), "the lock names an index or an option"


def test_the_development_lock_holds_the_pool_lock() -> None:
    pool, dev = (
        {line for line in (ROOT / lock).read_text().splitlines() if line[:1].strip()} for lock in LOCKS
    )
    # psutil is wanted everywhere by the tests, so that its line there has no condition
    assert {line.split()[0] for line in pool} <= {line.split()[0] for line in dev}


def test_the_wheel_holds_orderlane_alone(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    built = subprocess.run(build, cwd=ROOT, check=False, capture_output=True, text=True, timeout=120)
    assert built.returncode == 0, built.stdout + built.stderr
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [metadata_name] = [name for name in names if name.endswith(".dist-info/METADATA")]
        metadata = Parser().parsestr(archive.read(metadata_name).decode())
        [entry_points] = [name for name in names if name.endswith(".dist-info/entry_points.txt")]
        assert "orderlane = orderlane.cli:main" in archive.read(entry_points).decode()
    packaged = {name for name in names if not re.match(r"orderlane-[^/]+\.dist-info/", name)}
    wanted = {path for path in committed_files() if path.startswith("orderlane/")}
    assert packaged == wanted
    assert "orderlane/py.typed" in packaged
    asked = [Requirement(one) for one in metadata.get_all("Requires-Dist", [])]
    assert {one.name for one in asked if "extra" not in str(one.marker)} == {
        "redis",
        "msgspec",
        "click",
        "rich",
    }
    assert {one.name for one in asked if "extra" in str(one.marker)} == {"sqlalchemy", "psycopg", "duckdb"}


def test_importing_orderlane_loads_nothing_of_the_pool() -> None:
    program = (
        "import sys, orderlane, orderlane.client, orderlane.pool_status;"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {"ccxt", "common", "workers", "rq", "click", "rich", "aiohttp", "sqlalchemy"} & set(
        answer.stdout.split()
    )
