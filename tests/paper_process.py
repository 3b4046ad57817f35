"""Starting a real paper exchange for a test, and asking it what it saw."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 20.0
POLL_SECONDS = 0.02


class PaperProcess:
    """A paper exchange in a process of its own. Use as a context manager, or call :meth:`stop`.

    ``url`` is its base address; it keeps its port and its database over :meth:`kill` and :meth:`restart`.
    """

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.directory = directory
        self.arguments = arguments
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``"""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process id; raises if it isn't running."""
        assert self.process is not None, "the paper exchange is not running"
        return self.process.pid

    def start(self) -> PaperProcess:
        """Start it and wait until it listens; raises with its stderr if it doesn't."""
        port_file = self.directory / "port"
        port_file.unlink(missing_ok=True)
        command = [
            sys.executable, "-m", "workers.paper", "--port", str(self.port), "--port-file", str(port_file),
            "--database", str(self.directory / "paper.sqlite"), *self.arguments,
        ]  # fmt: skip
        errors = self.directory / "paper.stderr"
        with errors.open("ab") as sink:
            self.process = subprocess.Popen(command, cwd=ROOT, stderr=sink, stdout=sink)
        deadline = time.monotonic() + START_SECONDS
        while not port_file.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the paper exchange did not start: {errors.read_text()[-2000:]}")
            time.sleep(POLL_SECONDS)
        self.port = int(port_file.read_text())
        return self

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        if self.process is not None:
            if self.process.poll() is None:
                os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def restart(self) -> PaperProcess:
        """kill -9 and start again on the same port with the same database."""
        self.kill()
        return self.start()

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        if self.process is None:
            return 0
        self.process.terminate()
        try:
            code = self.process.wait(timeout=START_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self.process = None
        return code

    def pause(self) -> None:
        """SIGSTOP: it is there but says nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def __enter__(self) -> PaperProcess:
        return self if self.process is not None else self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def control(self, method: str, path: str, body: object = None, **query: object) -> Any:
        """Call ``/paper/<path>``; raises ``ValueError`` with its complaint if it is refused."""
        address = f"{self.url}/paper/{path}"
        if query:
            address += "?" + urlencode(query)
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(address, data=data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise ValueError(f"{method} {path}: {error.code} {error.read().decode()}") from None

    def audit(self, after: int = 0) -> list[dict[str, Any]]:
        """Every order-changing request since sequence number ``after``, in order of arrival."""
        entries: list[dict[str, Any]] = self.control("GET", "audit", after=after)
        return entries

    def orders(self, **query: object) -> list[dict[str, Any]]:
        """The exchange's own books, narrowed by ``client_id``, ``account``, ``product`` or ``symbol``."""
        orders: list[dict[str, Any]] = self.control("GET", "orders", **query)["orders"]
        return orders

    def algo_orders(self, **query: object) -> list[dict[str, Any]]:
        """Its USDⓈ-M conditional orders, narrowed likewise."""
        orders: list[dict[str, Any]] = self.control("GET", "orders", **query)["algo_orders"]
        return orders

    def accounts(self) -> dict[str, dict[str, Any]]:
        """Money and positions by account name."""
        return {account["name"]: account for account in self.control("GET", "accounts")}

    def books(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Mid, bid and ask by (product, symbol)."""
        return {(book["product"], book["symbol"]): book for book in self.control("GET", "books")}

    def fault(self, route: str, fault: str, **rest: object) -> dict[str, Any]:
        """Put a fault in force; ``count=``, ``probability=``, ``delay_ms=``, ``status=`` … as the exchange
        documents.
        """
        counter: dict[str, Any] = self.control("POST", "faults", {"route": route, "fault": fault, **rest})
        return counter

    def faults(self) -> list[dict[str, Any]]:
        """The faults put in force, with their counters."""
        counters: list[dict[str, Any]] = self.control("GET", "faults")
        return counters

    def clear_faults(self) -> None:
        """Drop every fault."""
        self.control("DELETE", "faults")

    def set_price(self, product: str, symbol: str, price: object, hold: bool = False) -> None:
        """Set a mid by hand and match at once."""
        self.control(
            "POST", "price", {"product": product, "symbol": symbol, "price": str(price), "hold": hold}
        )

    def step(self, steps: int = 1) -> None:
        """Walk every price ``steps`` steps on, matching after each."""
        self.control("POST", "step", {"steps": steps})

    def peak(self, name: str, window_ms: int) -> int:
        """The most that any window of ``window_ms`` held under ``name``, for example ``usdm:orders:main``."""
        return int(self.control("GET", "windows", name=name, ms=window_ms)[0]["peak"])

    def reset(self) -> None:
        """Forget every order, trade, audit entry, count and fault."""
        self.control("POST", "reset")


def start(directory: Path, *arguments: str) -> PaperProcess:
    """A paper exchange whose files are in ``directory``; ``arguments`` go to ``python -m workers.paper``."""
    return PaperProcess(directory, *arguments).start()
