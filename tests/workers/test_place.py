"""Every way in which sending an order can end: one order on the exchange's books, or one clear refusal."""

import pytest

from orderlane.orders import OrderStatus
from tests.workers.pool_fixture import VENUES, Pool, Product, paper, paper_of_module, pool

__all__ = ["paper", "paper_of_module", "pool"]


@pytest.mark.parametrize("venue", VENUES)
async def test_an_accepted_order_is_on_the_book_once_and_on_record(pool: Pool, venue: Product) -> None:
    first, second = venue.order("one"), venue.order("two", price=49_000)
    async with pool.working(venue):
        pool.send(first, second)
        order = await pool.outcome(first)
        await pool.outcome(second)
    assert order.status is OrderStatus.ACTIVE
    pool.assert_once(first)
    pool.assert_once(second)
