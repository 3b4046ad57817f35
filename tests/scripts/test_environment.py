"""scripts/lib: the environment is what the lock says or is made again. Packages come from a folder, not an index."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMAND = """
set -euo pipefail
source "$1/scripts/lib/environment.sh"
enter_environment "$2"
"$python" -I -c 'import orderlane_probe; print(orderlane_probe.VERSION)'
"""


def make_wheel(folder: Path, version: str) -> str:
    """Write the smallest wheel there is, of a package `orderlane_probe`; give its line in a lock file."""
    information = f"orderlane_probe-{version}.dist-info"
    wheel = folder / f"orderlane_probe-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("orderlane_probe.py", f"VERSION = {version!r}\n")
        archive.writestr(
            f"{information}/METADATA", f"Metadata-Version: 2.1\nName: orderlane-probe\nVersion: {version}\n"
        )
        archive.writestr(
            f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{information}/RECORD", f"orderlane_probe.py,,\n{information}/RECORD,,\n")
    return f"orderlane-probe=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


class Checkout:
    """A folder with the scripts and lock files of its own, and a folder of wheels for pip."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a check out"
        self.venv = self.root / ".venv"
        self.wheels = folder / "wheels"
        self.wheels.mkdir()
        shutil.copytree(ROOT / "scripts" / "lib", self.root / "scripts" / "lib")
        self.lock("1.0")

    def lock(self, version: str) -> None:
        """Write both lock files, asking for this version of the package."""
        line = make_wheel(self.wheels, version)
        for name in ("requirements.lock", "requirements-dev.lock"):
            (self.root / name).write_text(line)

    def command(self, group: str) -> tuple[list[str], dict[str, str]]:
        settings = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PIP_", "ORDERLANE_VENV"))
        }
        settings |= {
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": self.wheels.as_uri(),
            "PIP_CONFIG_FILE": os.devnull,
            "PYTHON": sys.executable,
        }
        return ["bash", "-c", COMMAND, "bash", str(self.root), group], settings

    def enter(self, group: str = "pool", **settings: str) -> subprocess.CompletedProcess[str]:
        command, environment = self.command(group)
        return subprocess.run(
            command,
            env=environment | settings,
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_it_is_made_once_and_follows_the_lock(checkout: Checkout) -> None:
    first = checkout.enter("dev")
    assert first.stdout == "1.0\n", first.stderr
    assert first.stderr.count("\n") == 1
    made = (checkout.venv / "pyvenv.cfg").stat()

    second = checkout.enter("pool")
    assert (second.stdout, second.stderr) == ("1.0\n", "")

    checkout.lock("2.0")
    third = checkout.enter("pool")
    assert third.stdout == "2.0\n", third.stderr
    assert (checkout.venv / "pyvenv.cfg").stat().st_ino == made.st_ino, (
        "a new lock alone needs no new environment"
    )


def test_an_installation_that_failed_is_not_taken_as_finished(checkout: Checkout) -> None:
    wheel, aside = checkout.wheels / "orderlane_probe-1.0-py3-none-any.whl", checkout.wheels / "aside"
    wheel.rename(aside)
    failed = checkout.enter()
    assert failed.returncode == 1
    assert "installing failed" in failed.stderr
    assert "orderlane-probe==1.0" in failed.stderr

    leftover = checkout.venv / "leftover"
    leftover.touch()
    aside.rename(wheel)
    again = checkout.enter()
    assert again.stdout == "1.0\n", again.stderr
    assert not leftover.exists(), "what was left unfinished is made anew"


def test_a_file_with_another_hash_is_not_installed(checkout: Checkout) -> None:
    lock = checkout.root / "requirements.lock"
    lock.write_text("orderlane-probe==1.0 --hash=sha256:" + "0" * 64 + "\n")
    refused = checkout.enter()
    assert refused.returncode == 1
    assert refused.stdout == ""


def test_two_runs_at_once_make_one_environment(checkout: Checkout) -> None:
    command, settings = checkout.command("pool")
    both = [
        subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [run.communicate(timeout=120) for run in both]
    assert [output for output, _ in said] == ["1.0\n", "1.0\n"], said
    assert "".join(errors for _, errors in said).count("installing the locked packages") == 1


def test_what_someone_else_made_is_left_alone(checkout: Checkout) -> None:
    checkout.venv.mkdir()
    (checkout.venv / "precious").touch()
    refused = checkout.enter()
    assert refused.returncode == 1
    assert "ORDERLANE_VENV" in refused.stderr
    assert [path.name for path in checkout.venv.iterdir()] == ["precious"]


def test_pip_settings_of_the_person_do_not_send_packages_elsewhere(
    checkout: Checkout, tmp_path: Path
) -> None:
    entered = checkout.enter(PIP_TARGET=str(tmp_path / "elsewhere"), PIP_USER="1")
    assert entered.stdout == "1.0\n", entered.stderr


def test_a_python_that_will_not_do_is_named(checkout: Checkout) -> None:
    refused = checkout.enter(PYTHON="no-such-python")
    assert refused.returncode == 1
    assert "no-such-python" in refused.stderr
    assert not checkout.venv.exists()
