"""The model of scale: what each part carries, by hand-made figures and by the venues' own limits."""

from __future__ import annotations

import json
import math

import pytest

from common.buckets import Margins
from common.venue_limits import VENUES, Scope, venue_limits
from scripts.bench import DOCUMENT, STORED
from scripts.harness.bench.scale_model import (
    Costs,
    Site,
    accounts_of_an_address,
    capacity,
    costs_in,
    most_in_window,
    orders_allowed,
    shared_cores,
)
from scripts.harness.bench.scale_tables import MODEL_BEGIN, MODEL_END, model_tables

COSTS = Costs(worker_us=500.0, redis_us=100.0, worker_rate=1_500.0, kept_bytes=1_000.0)
EXACT = Margins(safety=1.0, burst=0.2, reserve=0.1, arrival_spread_ms=0)
FREE = {"weight_1m": "60000000/minute", "orders_10s": "1000000/10 seconds", "orders_1m": "6000000/minute"}


def test_workers_carry_what_was_measured_and_never_more_than_their_core() -> None:
    assert capacity(COSTS, Site(venue="binanceusdm", accounts=1, worker_cores=3)).workers == 4_500
    quick = Costs(worker_us=1_000.0, redis_us=100.0, worker_rate=1_500.0, kept_bytes=1_000.0)
    assert capacity(quick, Site(venue="binanceusdm", accounts=1)).workers == 1_000


def test_masters_carry_their_number_times_one() -> None:
    site = Site(venue="binanceusdm", accounts=1, masters=3, memory_bytes=1e9, retention_seconds=1_000)
    assert capacity(COSTS, site).redis == 30_000
    assert capacity(COSTS, site).memory == pytest.approx(3 * 1e6 / 1_000)


def test_the_limits_are_those_of_the_pools_own_buckets() -> None:
    limits = venue_limits("binanceusdm")
    # 1 200 a minute, a fifth of it as burst: 960 are left for the minute.
    assert orders_allowed(limits, Scope.ACCOUNT, EXACT) == pytest.approx(960 / 60)
    assert orders_allowed(limits, Scope.IP, EXACT) == pytest.approx(1_920 / 60)
    assert orders_allowed(venue_limits("okx"), Scope.IP, EXACT) == math.inf


def test_the_sync_takes_from_the_address_before_orders_do() -> None:
    limits = venue_limits("binanceusdm")
    # Listing an account's open orders costs 80; the address refills 32 a second.
    assert accounts_of_an_address(limits, 15, EXACT) == pytest.approx(32 * 15 / 80)
    assert capacity(COSTS, Site(venue="binanceusdm", accounts=3), EXACT).addresses == pytest.approx(16)
    assert capacity(COSTS, Site(venue="binanceusdm", accounts=1_000), EXACT).peak == ("addresses", 0)
    assert (
        capacity(COSTS, Site(venue="binanceusdm", accounts=1_000, addresses=1_000), EXACT).peak[0]
        == "workers"
    )


def test_what_ends_first_is_named() -> None:
    assert capacity(COSTS, Site(venue="binanceusdm", accounts=1, limits=FREE)).peak == ("workers", 1_500)
    assert (
        capacity(COSTS, Site(venue="binanceusdm", accounts=1, worker_cores=100, limits=FREE)).peak[0]
        == "redis"
    )
    assert capacity(COSTS, Site(venue="kraken", accounts=10, symbols=2), EXACT).peak == ("accounts", 20)


def test_processes_that_share_cores_carry_what_all_of_an_intent_costs() -> None:
    assert shared_cores((400.0, 100.0), 2) == 4_000


def test_the_worst_window_counts_what_lies_within_it() -> None:
    assert most_in_window([], 10) == 0
    assert most_in_window([0, 9, 10, 11, 30], 10) == 3
    assert most_in_window([0, 10, 20], 10) == 1


def test_figures_that_were_not_measured_are_named() -> None:
    with pytest.raises(ValueError, match="--only 1"):
        costs_in({})


def test_the_documents_tables_are_those_of_the_stored_figures() -> None:
    document = DOCUMENT.read_text()
    tables = document.partition(MODEL_BEGIN)[2].partition(MODEL_END)[0].strip()
    assert tables == model_tables(costs_in(json.loads(STORED.read_bytes()))).strip()
    assert all(f"| {venue} |" in tables for venue in VENUES)
