"""What Binance's error codes mean for an order: one table for spot, one for USDⓈ-M futures.

Sources: "Error codes" of the spot and of the USDⓈ-M documentation (developers.binance.com, binance-spot-api-docs
errors.md and usds-margined-futures/error-code) and "HTTP return codes" of both: a status of 5xx is "NOT a
failure; the execution status is UNKNOWN".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from common.exchange.base import Outcome
from common.exchange.classify import ErrorTable, MessageRule


def _all(outcome: Outcome, *codes: int | range) -> dict[str, Outcome]:
    return {str(code): outcome for code in _flat(codes)}


def _flat(codes: Iterable[int | range]) -> Iterable[int]:
    for code in codes:
        yield from code if isinstance(code, range) else (code,)


def _down(first: int, last: int) -> range:
    return range(first, last - 1, -1)


_SHARED: Final = {
    **_all(
        Outcome.UNKNOWN,
        -1000,  # "An unknown error occurred while processing the request."
        -1001,  # "Internal error; unable to process your request. Please try again."
        -1006,  # "An unexpected response was received from the message bus. Execution status unknown."
        -1007,  # "Timeout waiting for response from backend server. Send status unknown; execution status unknown."
        -1008,  # spot: "Server is currently overloaded"; it doesn't say whether the order was taken
        -1010,  # "This code is sent when an error has been returned by the matching engine": any
        -1016,  # "This service is no longer available."
    ),
    **_all(
        Outcome.THROTTLED,
        -1003,  # "Too many requests" / "IP banned until %s"
        -1015,  # "Too many new orders; current limit is %s orders per %s."
    ),
    **_all(Outcome.LATE, -1021),  # "Timestamp for this request is outside of the recvWindow" / "1000ms ahead"
    **_all(
        Outcome.NOT_FOUND,
        -2013,  # "Order does not exist."
    ),
    **_all(
        Outcome.REFUSED,
        -1002,  # "You are not authorized to execute this request."
        -1013,  # "Filter failure: …", invalid message
        -1014,  # "Unsupported order combination."
        -1020,  # "This operation is not supported."
        -1022,  # "Signature for this request is not valid."
        -1099,  # "Not found, authenticated, or authorized"
        _down(-1100, -1108),  # parameters: illegal characters, too many, missing, empty, not read, overflow
        -1111,  # "Precision is over the maximum defined for this asset."
        -1112,  # "No orders on book for symbol."
        _down(-1114, -1119),  # time in force, order type, side, client order id empty
        -1121,  # "Invalid symbol."
        -1122,  # "Invalid symbol status."
        -1128,  # "Combination of optional parameters invalid."
        -1130,  # "Data sent for parameter '%s' is not valid."
        -1131,  # "recvWindow must be less than 60000"
        -2010,  # new order rejected, for the reason in its message (duplicates: see the messages)
        -2011,  # cancel rejected, for the reason in its message (unknown orders: see the messages)
        -2014,  # "API-key format invalid."
        -2015,  # "Invalid API-key, IP, or permissions for action."
    ),
}

_MESSAGES: Final = (
    MessageRule("-2010", "Duplicate order sent", Outcome.DUPLICATE),
    MessageRule("-1010", "Duplicate order sent", Outcome.DUPLICATE),
    MessageRule("-2011", "Unknown order sent", Outcome.NOT_FOUND),
)

_WAITS_MS: Final = {
    "429": 60_000,  # the weight is counted by the minute
    "418": 120_000,  # "bans scale in duration for repeat offenders, from 2 minutes to 3 days"
    "-1003": 60_000,
    "-1015": 10_000,  # the shortest of the order limits counts 10 s
    "-1008": 1_000,
}

_OF_THE_ACCOUNT: Final = frozenset(
    str(code)
    for code in (
        -1015,  # its order limits
        *(-1002, -1022, -1099, -2008, -2014, -2015, -2017),  # its key, signature, address or permissions
        *(-1109, -4087, -4088),  # USDⓈ-M: it is invalid, may only reduce, or may not trade now
    )
)

SPOT_ERRORS: Final = ErrorTable(
    outcomes={
        **_SHARED,
        **_all(
            Outcome.REFUSED,
            -1134,  # "strategyType was less than 1000000."
            -1135,  # invalid JSON in a parameter
            -1145,  # "cancelRestrictions has to be either ONLY_NEW or ONLY_PARTIALLY_FILLED."
            -1151,  # "Symbol is present multiple times in the list."
            -2008,  # "Invalid Api-Key ID"
            -2016,  # "No trading window could be found for the symbol."
        ),
    },
    messages=_MESSAGES,
    retry_after_ms=_WAITS_MS,
    per_account=_OF_THE_ACCOUNT,
)

USDM_ERRORS: Final = ErrorTable(
    outcomes={
        **_SHARED,
        **_all(Outcome.DUPLICATE, -4116),  # "ClientOrderId is duplicated."
        **_all(Outcome.LATE, -5028),  # "Timestamp for this request is outside of the ME recvWindow."
        **_all(
            Outcome.THROTTLED,
            -1008,  # "Request throttled by system-level protection"; General Info: 503 C, "100% failure"
        ),
        **_all(
            Outcome.REFUSED,
            -1005,  # "No such IP has been white listed"
            -1011,  # "This IP cannot access this route."
            -1109,  # "Invalid account."
            -1110,  # "Invalid symbolType."
            -1136,  # "Invalid newOrderRespType."
            _down(
                -2016, -2028
            ),  # key locked, balance, margin, immediate trigger, reduce-only, liquidation, leverage
            _down(-4000, -4007),  # order status, price, quantity, stop price out of bounds
            _down(
                -4013, -4016
            ),  # price below minimum, tick size, client order id's form, price multiplier cap
            -4020,  # "Target strategy invalid for orderType '%s',reduceOnly '%b'."
            _down(-4022, -4024),  # market status, step size, price multiplier floor
            -4031,  # "Invalid parameter working type."
            -4045,  # "Reach max stop order limit."
            _down(-4050, -4051),  # cross or isolated balance insufficient
            _down(-4060, -4062),  # position side, its mode, reduce-only
            _down(
                -4087, -4088
            ),  # "User can only place reduce only order." / "User can not place order currently."
            _down(-4117, -4118),  # stop order triggering; reduce-only order failed
            -4120,  # "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead."
            -4131,  # "The counterparty's best price does not meet the PERCENT_PRICE filter limit"
            -4136,  # target strategy invalid
            _down(-4140, -4141),  # symbol status, symbol closed
            -4164,  # "Order's notional must be no smaller than …"
            _down(-4183, -4184),  # price against the stop price's multipliers
            -4192,  # "Trade forbidden due to Cooling-off Period."
            _down(-4210, -4211),  # stop price against the price multipliers
            _down(-4400, -4403),  # quantitative rules, compliance, region
            -4531,  # position mode out of step between USDⓈ-M and COIN-M
            _down(-5021, -5027),  # FOK, post-only (GTX) and amendment refused; "No need to modify the order."
            _down(-5037, -5041),  # price match, self-trade prevention, good-till-date, no depth
            -5047,  # "The original order is not a reduce-only order."
        ),
    },
    messages=_MESSAGES,
    certain_on_5xx=frozenset({"-1008"}),
    retry_after_ms=_WAITS_MS,
    per_account=_OF_THE_ACCOUNT,
)

UNCHANGED: Final = "-5027"
"""USDⓈ-M: "No need to modify the order." - it is already as the amendment wants it."""
