"""The exchange's clock: measured, and deaf to the machine's wall clock."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.exchange.clock import ClockSample, ExchangeClock, monotonic_ms, offset_ms
from tests.common.exchange.stub_server import Answer
from tests.common.exchange.venues import AT_MS, opened


@given(
    st.integers(-(10**12), 10**12),
    st.lists(st.tuples(st.floats(0, 500), st.floats(0, 500)), min_size=1, max_size=8),
)
def test_the_offset_is_wrong_by_half_the_shortest_round_trip_at_most(
    true_offset: int, trips: list[tuple[float, float]]
) -> None:
    samples = [
        ClockSample(1000.0, 1000.0 + there + back, int(1000 + there + true_offset)) for there, back in trips
    ]
    shortest = min(sample.round_trip_ms for sample in samples)
    assert abs(offset_ms(samples) - true_offset) <= shortest / 2 + 1


def test_a_jump_of_the_wall_clock_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ExchangeClock()
    before = clock.now_ms()
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert clock.now_ms() >= before


async def test_sync_takes_the_exchanges_time() -> None:
    async with opened("binance") as (exchange, stub):
        stub.answer("GET /api/v3/time", Answer({"serverTime": AT_MS}))
        asked = monotonic_ms()
        await exchange.sync_clock(samples=3)
        assert stub.paths() == ["GET /api/v3/time"] * 3
        assert AT_MS - 1 <= exchange.now_ms() <= AT_MS + (monotonic_ms() - asked) + 1


async def test_a_sync_that_fails_keeps_the_estimate() -> None:
    async with opened("binance") as (exchange, stub):
        stub.answer("GET /api/v3/time", Answer({"serverTime": AT_MS}))
        await exchange.sync_clock(samples=1)
        stub.answer("GET /api/v3/time", Answer("", 500))
        with pytest.raises(Exception, match="unknown"):
            await exchange.sync_clock(samples=1)
        assert exchange.now_ms() >= AT_MS - 1
