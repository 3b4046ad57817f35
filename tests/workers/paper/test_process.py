"""Starting, stopping and configuring the process."""

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ccxt
import pytest

from tests.paper_process import ROOT, PaperProcess
from tests.workers.paper.conftest import STILL
from tests.workers.paper.raw import bare_order, order, send, signed
from workers.paper.accounts import read_credentials
from workers.paper.redirect import paper_urls, venue_exceptions

Start = Callable[..., PaperProcess]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "workers.paper", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)


def test_help_explains_every_option() -> None:
    shown = run("--help").stdout
    for name in (
        "--host",
        "--port-file",
        "--database",
        "--accounts-file",
        "--seed",
        "--orders-10s",
        "--allow-remote",
    ):
        assert name in shown


def test_an_address_that_is_not_loopback_is_refused(tmp_path: Path) -> None:
    outcome = run("--host", "0.0.0.0", "--database", str(tmp_path / "x.sqlite"))
    assert outcome.returncode == 2
    assert "not a loopback address" in outcome.stderr


def test_sigterm_ends_it_cleanly_even_while_a_request_hangs(own_paper: Start) -> None:
    paper = own_paper("--step-ms", "50")
    paper.fault("POST", "hang")
    with socket.create_connection(("127.0.0.1", paper.port)) as connection:
        connection.sendall(bare_order(order()))
        while not paper.faults()[0]["struck"]:
            pass
        assert paper.stop() == 0


def test_accounts_come_from_a_file_with_their_keys_and_balances(tmp_path: Path, own_paper: Start) -> None:
    file = tmp_path / "accounts.yaml"
    file.write_text("- {name: desk, key: k1, secret: s1, usdm: {USDT: '1000'}}\n- {name: other}\n")
    paper = own_paper(*STILL, "--accounts-file", str(file))
    assert send(paper, "POST", "/fapi/v1/order", signed(order(), "s1"), key="k1").status == 200
    assert send(paper, "POST", "/fapi/v1/order", signed(order()), key="paper-main-key").body["code"] == -2015
    accounts = paper.accounts()
    assert accounts["desk"]["wallet"] == {"USDT": "1000"}
    assert set(accounts) == {"desk", "other"}
    assert "s1" not in str(accounts)
    log = (paper.directory / "paper.stderr").read_text()
    assert "s1" not in log


def test_a_wrong_accounts_file_names_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "accounts.yaml"
    file.write_text("- {name: desk, balance: 5}\n")
    with pytest.raises(ValueError, match="balance"):
        read_credentials(file)


def test_no_section_of_ccxt_is_left_pointing_at_the_real_venue() -> None:
    for name in ("binance", "binanceusdm"):
        urls: dict[str, Any] = getattr(ccxt, name)().urls["api"]
        assert set(urls) <= set(paper_urls("http://paper")), f"{name} has sections that are not redirected"


def test_the_error_table_is_the_one_the_real_host_selects() -> None:
    client = ccxt.binanceusdm()
    table = venue_exceptions(client.exceptions, "linear")
    for code in ("-4116", "-2022", "-5022", "-1021", "-2013"):
        real = {
            **client.exceptions["exact"],
            **client.get_exceptions_by_url("https://fapi.binance.com/x", "exact"),
        }
        assert table[code] is real[code]


def test_control_is_for_what_exists_and_complains_in_sentences(paper: PaperProcess) -> None:
    for method, path, body in (
        ("GET", "nothing", None),
        ("POST", "price", {"product": "usdm", "symbol": "NOSUCH", "price": "1"}),
        ("POST", "price", {"product": "usdm", "symbol": "BTCUSDT", "price": "0"}),
        ("POST", "price", {"product": "usdm", "symbol": "BTCUSDT"}),
    ):
        with pytest.raises(ValueError, match="error"):
            paper.control(method, path, body)
    with pytest.raises(ValueError, match="whole number"):
        paper.control("GET", "audit", after="x")
