"""What Kraken's error messages mean for an order.

Sources: "Spot Error Messages" (docs.kraken.com/api/docs/guides/spot-errors), "API error messages"
(support.kraken.com, article 360001491786), "Spot REST rate limits" for EService:Throttled, and the error list of ccxt
4.5.90; EOrder:Post only order is what nautilus_trader met. What doesn't say for certain that nothing happened is
UNKNOWN, as is every message that is not here.
"""

from __future__ import annotations

from typing import Final

from common.exchange.base import Outcome
from common.exchange.classify import ErrorTable

_REFUSED: Final = (
    "EAPI:Invalid key",
    "EAPI:Invalid signature",
    "EAPI:Feature disabled",
    "EAccount:Invalid permissions",
    "EGeneral:Permission denied",
    "EGeneral:Invalid arguments",
    "EQuery:Unknown asset",
    "EQuery:Unknown asset pair",
    "EQuery:Invalid asset pair",
    "EOrder:Cannot open position",
    "EOrder:Cannot open opposing position",
    "EOrder:Margin allowance exceeded",
    "EOrder:Insufficient margin",
    "EOrder:Insufficient funds",
    "EOrder:Insufficient funds (insufficient user funds)",
    "EOrder:Order minimum not met",
    "EOrder:Cost minimum not met",
    "EOrder:Tick size check failed",
    "EOrder:Invalid price",
    "EOrder:Positions limit exceeded",
    "EOrder:Orders limit exceeded",
    "EOrder:Trading agreement required",
    "EOrder:Post only order",
    "EService:Market in cancel_only mode",
    "EService:Market in post_only mode",
    "ETrade:User Locked",
)

_OF_THE_ACCOUNT: Final = frozenset(
    (
        *("EAPI:Rate limit exceeded", "EOrder:Rate limit exceeded", "EService:Throttled"),  # its limits
        *("EAPI:Invalid key", "EAPI:Invalid signature"),
        *(
            "EAPI:Feature disabled",
            "EAccount:Invalid permissions",
            "EGeneral:Permission denied",
            "ETrade:User Locked",
        ),
    )
)

KRAKEN_ERRORS: Final = ErrorTable(
    outcomes={
        **dict.fromkeys(_REFUSED, Outcome.REFUSED),
        "EAPI:Rate limit exceeded": Outcome.THROTTLED,
        "EOrder:Rate limit exceeded": Outcome.THROTTLED,
        "EGeneral:Too many requests": Outcome.THROTTLED,
        "EGeneral:Temporary lockout": Outcome.THROTTLED,
        "EService:Throttled": Outcome.THROTTLED,
        # A nonce that another request has overtaken: refused unread; the next one is higher.
        "EAPI:Invalid nonce": Outcome.LATE,
        "EOrder:Unknown order": Outcome.NOT_FOUND,
        # It also answered for an order that was open (reported to veox/python3-krakenex, 110).
        "EOrder:Invalid order": Outcome.UNKNOWN,
        # "The request timed out according to the default or specified deadline": not, that nothing was done.
        "EService:Deadline elapsed": Outcome.UNKNOWN,
        "EService:Unavailable": Outcome.UNKNOWN,
        "EService:Busy": Outcome.UNKNOWN,
        "EService:Timeout": Outcome.UNKNOWN,
        "EGeneral:Internal error": Outcome.UNKNOWN,
        "EDatabase:Internal error": Outcome.UNKNOWN,
    },
    per_account=_OF_THE_ACCOUNT,
    retry_after_ms={"EGeneral:Temporary lockout": 900_000, "EAPI:Rate limit exceeded": 5_000},
    default_retry_after_ms=2_000,
)
