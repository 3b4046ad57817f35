"""What Bybit's error codes mean for an order.

Sources: "Error Codes" of the v5 documentation (bybit-exchange.github.io/docs/v5/error, its source docs/v5/error.mdx in
bybit-exchange/docs, July 2026). 10018, 10020, 110016 and 170135 are not there any more; ccxt 4.5.90 has their
meaning. What doesn't say for certain that nothing happened is UNKNOWN, as is every code that is not here.
"""

from __future__ import annotations

from typing import Final

from common.exchange.base import Outcome
from common.exchange.classify import ErrorTable, MessageRule

_UNKNOWN: Final = (
    10000,  # "Server Timeout"
    10016,  # "Internal server error" / "System error. Please try again later."
    110079,  # "The order is processing and cannot be operated during this time"
    170001,  # "Internal error."
    170007,  # "Timeout waiting for response from backend server."
    170032,  # "Network error. Please try again later"
    170146,  # "Order creation timeout"
    170147,  # "Order cancellation timeout"
    10014,  # "Invalid duplicate request.": of which request, and what became of it, isn't said
    170144,  # "Order has been locked": not for how long
    170149,  # "Create order failed": not why
    170150,  # "Cancel order failed": not why
    170191,  # "Can not cancel order, please try again later"
    170234,  # "System Error"
)
_THROTTLED: Final = (
    10006,  # "Too many visits. Exceeded the API Rate Limit."
    10018,  # "Exceeded the IP Rate Limit."
    10429,  # "System level frequency protection"
    170005,  # "Too many new orders; current limit is %s orders per %s."
    170222,  # "Too many requests in this time frame."
)
_NOT_FOUND: Final = (
    110001,  # "Order does not exist" / "order not exists or too late to cancel"
    110008,  # "Order has been finished or canceled"
    110010,  # "Order already cancelled"
    170139,  # "Order has been filled."
    170142,  # "Order has been canceled"
    170143,  # "Cannot be found on order book"
    170190,  # "Cancel order has been finished"
    170213,  # "Order does not exist."
)
_DUPLICATE: Final = (
    110072,  # "OrderLinkedID is duplicate"
    170141,  # "Duplicate clientOrderId"
)
_REFUSED: Final = (
    *(
        10001,
        10003,
        10004,
        10005,
        10007,
        10008,
        10009,
        10010,
    ),  # parameters, key, signature, permission, bans, address
    *(10017, 10020, 10024, 10027, 10028, 10029),  # route, account type, compliance, trading ban, symbol list
    *range(110003, 110008),  # price out of range, balance, position status
    *(110009, 110011, 110012, 110014),  # too many stop orders, liquidation, balance
    *range(110016, 110024),  # risk limit, reduce-only, too many orders, open interest, reduction only
    *(110031, 110032, 110034, 110039, 110040, 110042, 110044, 110045),
    *(110051, 110052, 110053, 110057, 110058, 110059, 110063, 110064, 110066, 110068, 110069, 110070),
    *(110092, 110093, 110094),  # trigger price on the wrong side, notional below the minimum
    *(170010, 170011, 170019, 170031, 170033, 170034, 170036, 170037, 170105),
    *(170115, 170116, 170117, 170121, 170124),  # time in force, type, side, symbol, amount too large
    *range(170130, 170138),  # parameter, balance, price and quantity bounds and decimals
    *(170140, 170145, 170148, 170151, 170157, 170159),
    *range(170192, 170195),  # price limits
    *range(170197, 170205),  # quantity against the book, restricted account, filter, trigger prices
    *(170206, 170209, 170210, 170217, 170218, 170221, 170223, 170224, 170226, 170227, 170228, 170229, 170241),
    *range(181000, 181005),  # category, symbol, side missing
)

_OF_THE_ACCOUNT: Final = frozenset(
    str(code)
    for code in (
        *(10006, 10429, 170005, 170222),  # its limits
        *(
            10003,
            10004,
            10005,
            10007,
            10008,
            10010,
        ),  # its key, signature, permissions, a ban of it, its address
        *(10024, 10027, 10028),  # compliance, a ban of its trading, its type
    )
)

BYBIT_ERRORS: Final = ErrorTable(
    outcomes={
        **{str(code): Outcome.UNKNOWN for code in _UNKNOWN},
        **{str(code): Outcome.THROTTLED for code in _THROTTLED},
        **{str(code): Outcome.NOT_FOUND for code in _NOT_FOUND},
        **{str(code): Outcome.DUPLICATE for code in _DUPLICATE},
        **{str(code): Outcome.REFUSED for code in _REFUSED},
        "10002": Outcome.LATE,  # "The request time exceeds the time window range."
    },
    # "If you receive HTTP 403 'access too frequent', your IP has breached the limit": ten minutes.
    messages=(MessageRule("http_403", "access too frequent", Outcome.THROTTLED),),
    per_account=_OF_THE_ACCOUNT,
    retry_after_ms={"http_403": 600_000, "10018": 5_000},
)
