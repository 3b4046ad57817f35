"""What OKX's error codes mean for an order.

Sources: "Error Code" of the v5 documentation (okx.com/docs-v5), as copied in exchanges/okx/okx_err_codes.go of
thrasher-corp/gocryptotrader and in the error list of ccxt 4.5.90. What doesn't say for certain that nothing
happened is UNKNOWN, as is every code that is not here.
"""

from __future__ import annotations

from typing import Final

from common.exchange.base import Outcome
from common.exchange.classify import ErrorTable

_UNKNOWN: Final = (
    50001,  # "Service temporarily unavailable"
    50004,  # "Endpoint request timeout (does not indicate success or failure of order …)"
    50005,  # "API is offline or unavailable"
    50013,  # "System is busy, please try again later", with status 429
    50026,  # "System error, please try again later."
    51149,  # "Order timed out. Please try again later."
    51410,  # "Cancellation failed as the order is already under cancelling status"
)
_THROTTLED: Final = (
    50011,  # "Request too frequent"
    50061,  # "You've reached the maximum order rate limit for this account."
    51113,  # "Market-price liquidation requests too frequent"
)
_NOT_FOUND: Final = (
    51400,  # "Cancellation failed as the order does not exist" (or is filled, or canceled)
    51401,  # "Cancellation failed as the order is already canceled"
    51402,  # "Cancellation failed as the order is already completed"
    51503,  # "Order modification failed as the order does not exist"
    51509,  # "Modification failed as the order has been canceled"
    51510,  # "Modification failed as the order has been completed"
    51603,  # "Order does not exist"
)
_REFUSED: Final = (
    *(50000, 50002, 50006, 50007, 50008, 50009, 50010, 50012),  # body, account blocked, user
    *range(50014, 50026),  # parameters; position, currency or account frozen
    *(50027, 50028, 50030, 50044, 50062),  # account restricted, permission, feature
    *(
        50100,
        50101,
        50103,
        50104,
        50105,
        50106,
        50107,
        50108,
        50109,
        50110,
        50111,
        50112,
        50113,
        50114,
        50115,
    ),
    50119,  # "API key doesn't exist", seen in the wild
    *range(51000, 51011),  # parameter, instrument, amount, price, balance, account mode
    51012,  # token doesn't exist
    *(
        51014,
        51015,
        51017,
        51018,
        51019,
        51020,
        51021,
        51022,
        51023,
        51024,
        51025,
        51026,
        51027,
        51028,
        51029,
    ),
    *(51030, 51031, 51046, 51047, 51051),
    *range(51100, 51113),
    *range(51115, 51123),
    *range(51124, 51140),
    *(51155, 51156, 51159, 51162, 51163, 51166, 51174, 51185),
    *range(51201, 51206),
    *range(51403, 51406),
    *(51407, 51408, 51409),
    *(51500, 51501, 51502, 51506, 51508, 51511),
)

_OF_THE_ACCOUNT: Final = frozenset(
    str(code)
    for code in (
        *_THROTTLED,  # private requests count by user
        *(50007, 50030, 50044),  # it is blocked, or lacks a permission
        *(
            50100,
            50101,
            50103,
            50104,
            50105,
            50106,
            50110,
            50111,
            50113,
            50114,
            50119,
        ),  # its key, signature, address
    )
)

OKX_ERRORS: Final = ErrorTable(
    outcomes={
        **{str(code): Outcome.UNKNOWN for code in _UNKNOWN},
        **{str(code): Outcome.THROTTLED for code in _THROTTLED},
        **{str(code): Outcome.NOT_FOUND for code in _NOT_FOUND},
        **{str(code): Outcome.REFUSED for code in _REFUSED},
        "51016": Outcome.DUPLICATE,  # "Client order ID already exists."
        "50102": Outcome.LATE,  # "Timestamp request expired"
    },
    per_account=_OF_THE_ACCOUNT,
    default_retry_after_ms=2_000,  # the order limits count 2 s
)
