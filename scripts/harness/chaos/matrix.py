"""The death matrix, generated: every failpoint that one intent passes, times everything an exchange may do. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import Struct

from common.failpoints import POINTS
from orderlane.intents import (
    AmendOrder,
    CancelAll,
    CancelOrder,
    Intent,
    OrderType,
    PlaceOrder,
    Side,
    TimeInForce,
)
from scripts.harness.chaos.terms import Timing

ROUTES: Final = {
    "place": "^POST /fapi/v1/order$",
    "stop": "^POST /fapi/v1/algoOrder$",
    "cancel": "^DELETE /fapi/v1/order$",
    "amend": "^PUT /fapi/v1/order$",
    "replace": "^POST /api/v3/order$",
    "replaces": "^POST /fapi/v1/order$",
    "cancel_all": "^DELETE /fapi/v1/allOpenOrders$",
    "think": "^POST /fapi/v1/order$",
}
"""Kind of work -> the request that the exchange's behaviour strikes. `replace`, an amend where the venue has none, runs
on spot, the others on USDⓈ-M. `replaces` is a place in the stead of an order, and passes the same points. A `stop` is
placed like any order, and kept by the exchange in a book of its own. `think` is a lane of which the rules make less
than was asked for; what is struck is the request that is left."""

DRIVEN_LIKE: Final = {"stop": "place", "replaces": "replace"}
"""Kinds of work that pass the points of another one."""

REJECTIONS: Final = {
    "place": '{"code":-2019,"msg":"Margin is insufficient."}',
    "stop": '{"code":-2021,"msg":"Order would immediately trigger."}',
    "cancel": '{"code":-2011,"msg":"Unknown order sent."}',
    "amend": '{"code":-1111,"msg":"Precision is over the maximum defined for this asset."}',
    "replace": '{"code":-2010,"msg":"Account has insufficient balance for requested action."}',
    "replaces": '{"code":-2019,"msg":"Margin is insufficient."}',
    "cancel_all": '{"code":-1121,"msg":"Invalid symbol."}',
    "think": '{"code":-2019,"msg":"Margin is insufficient."}',
}

BEHAVIOURS: Final[Mapping[str, Mapping[str, Any] | None]] = {
    "accepts": None,
    "rejects": {"fault": "verbatim", "status": 400},
    "drops_reply": {"fault": "drop_after"},
    "5xx_executed": {"fault": "error_after"},
    "5xx_not_executed": {"fault": "error_before"},
    "reset_unread": {"fault": "reset_before_read"},
    "cut_body": {"fault": "cut_body"},
    "429": {"fault": "429"},
    "hangs_executed": {"fault": "hang", "executed": True},
    "hangs": {"fault": "hang", "executed": False},
    "late": {"fault": "delay"},
}
"""What the exchange does with the request, as a fault rule of the paper exchange; None: what it is there for. `late`:
it is executed when its sender has given up waiting, and within the receive window."""

SHARED: Final = ("reset_unread", "429")
"""Behaviours that strike whatever is under way beside: their cells run among themselves."""

COINS: Final = (
    "BTC", "ETH", "BNB", "SOL", "XRP", "ADA", "DOGE", "LTC", "LINK", "AVAX", "DOT", "ATOM", "TRX", "UNI", "BCH", "XLM",
    "EOS", "NEAR", "ALGO",
)  # fmt: skip
ACCOUNTS: Final = ("main", "alt")
NOTIONAL: Final = Decimal(300)


class Cell(Struct, frozen=True):
    """One death: at `point`, while the exchange does `behaviour` with the request of a `kind` of work."""

    kind: str
    point: str
    behaviour: str

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.point}:{self.behaviour}"


class Seat(Struct, frozen=True):
    """A cell in its lane, with the intents that play it: what must be there first, the one that dies, what the rules
    do something about together with it, and one more behind it in the lane."""

    cell: Cell
    number: int
    account: str
    coin: str
    setup: Intent | None
    subject: Intent
    company: tuple[Intent, ...]
    follower: Intent

    @property
    def lane(self) -> str:
        return self.subject.lane

    @property
    def intents(self) -> tuple[Intent, ...]:
        """What is submitted when the stage is set."""
        return self.subject, *self.company, self.follower

    @property
    def waits(self) -> bool:
        """Whether its intents must wait in their lane together before a worker takes it."""
        return bool(self.company)

    @property
    def name(self) -> str:
        """The cell and its lane, as `--only` takes them."""
        return f"{self.cell.name}@{self.account}/{self.coin}"

    @property
    def about(self) -> str:
        """How the point knows that this cell is meant: by its lane, where no entry of it is decoded."""
        return self.lane if self.cell.point.startswith(("lane.taken", "think.")) else self.subject.id

    def fault(self, timing: Timing) -> dict[str, Any] | None:
        """The rule for the paper exchange that strikes this cell's request alone."""
        behaviour = BEHAVIOURS[self.cell.behaviour]
        if behaviour is None or self.cell.behaviour == "reset_unread":
            return None
        rule = {
            "route": ROUTES[self.cell.kind], "count": 1, "account": self.account, "symbol": f"{self.coin}USDT",
            **behaviour,
        }  # fmt: skip
        if self.cell.behaviour == "late":
            rule["delay_ms"] = (timing.request_timeout_ms + timing.receive_window_ms) // 2
        return rule | ({"body": REJECTIONS[self.cell.kind]} if self.cell.behaviour == "rejects" else {})


def cells(only: str = "") -> list[Cell]:
    """Every cell of the matrix in whose name (`work:point:behaviour`) one of the parts begins with `only`; the one of
    just that name, where a lane follows it after `@`."""
    alone, seated, _ = only.partition("@")
    every = [
        Cell(kind, name, behaviour)
        for kind in ROUTES
        for name, point in POINTS.items()
        if {DRIVEN_LIKE.get(kind, kind), "any"} & set(point.drives)
        for behaviour in BEHAVIOURS
    ]
    return [cell for cell in every if (cell.name == alone if seated else f":{only}" in f":{cell.name}")]


def sample(every: Sequence[Cell], number: int, seed: int) -> list[Cell]:
    """`number` cells in which each row (kind and point) and each behaviour comes up as evenly as can be."""
    if number >= len(every):
        return list(every)
    chance = random.Random(f"{seed}/matrix")
    rows: dict[tuple[str, str], list[Cell]] = {}
    for cell in every:
        rows.setdefault((cell.kind, cell.point), []).append(cell)
    used = dict.fromkeys(BEHAVIOURS, 0)
    chosen: list[Cell] = []
    order = list(rows)
    while len(chosen) < number:
        chance.shuffle(order)
        for row in order[: number - len(chosen)]:
            left = rows[row]
            if left:
                cell = min(left, key=lambda one: (used[one.behaviour], chance.random()))
                left.remove(cell)
                used[cell.behaviour] += 1
                chosen.append(cell)
    return chosen


def batches(chosen: Sequence[Cell]) -> list[list[Cell]]:
    """Cells that may run side by side, each on a lane of its own."""
    lanes = len(COINS) * len(ACCOUNTS)
    groups = [[cell for cell in chosen if cell.behaviour not in SHARED]]
    groups += [[cell for cell in chosen if cell.behaviour == shared] for shared in SHARED]
    packed = []
    for group in groups:
        spot = [cell for cell in group if cell.kind == "replace"]
        futures = [cell for cell in group if cell.kind != "replace"]
        while spot or futures:
            packed.append(futures[:lanes] + spot[:lanes])
            futures, spot = futures[lanes:], spot[lanes:]
    return packed


def seats(
    batch: Sequence[Cell], first: int, prices: Mapping[str, Decimal], seed: int, only: str = ""
) -> list[Seat]:
    """The cells of one batch, each on a lane of its own: the first on that of `only`, if it names one. `first` numbers
    them through the run. What a cell does depends on its name, its lane and the seed alone."""
    wanted = only.partition("@")[2].partition("/")
    shift = 0
    if wanted[0] in ACCOUNTS and wanted[2] in COINS:
        shift = ACCOUNTS.index(wanted[0]) * len(COINS) + COINS.index(wanted[2])
    taken = {"binance": 0, "binance-spot": 0}
    seated = []
    for number, cell in enumerate(batch, first):
        exchange = "binance-spot" if cell.kind == "replace" else "binance"
        place = (taken[exchange] + shift) % (len(COINS) * len(ACCOUNTS))
        taken[exchange] += 1
        coin, account = COINS[place % len(COINS)], ACCOUNTS[place // len(COINS)]
        seated.append(
            _seat(cell, number, exchange, account, coin, prices, random.Random(f"{seed}/{cell.name}"))
        )
    return seated


def _seat(
    cell: Cell,
    number: int,
    exchange: str,
    account: str,
    coin: str,
    prices: Mapping[str, Decimal],
    chance: random.Random,
) -> Seat:
    symbol = f"{coin}/USDT" + (":USDT" if exchange == "binance" else "")
    price = prices[symbol]

    def place(role: str, share: str, kind: OrderType = OrderType.LIMIT) -> PlaceOrder:
        limit = price * Decimal(share)
        return PlaceOrder(
            id=f"cell-{number}-{role}", exchange=exchange, account=account, symbol=symbol, side=Side.BUY, type=kind,
            amount=plain(NOTIONAL / price), price=plain(limit) if kind is OrderType.LIMIT else None,
            time_in_force=TimeInForce.GTC if kind is OrderType.LIMIT else None,
        )  # fmt: skip

    follower = place("follower", "0.98")
    named: dict[str, Any] = {
        "id": f"cell-{number}",
        "exchange": exchange,
        "account": account,
        "symbol": symbol,
    }
    setup: Intent | None = None if cell.kind in ("place", "stop", "think") else place("target", "0.985")
    subject: Intent
    company: tuple[Intent, ...] = ()
    if cell.kind == "think":
        rules = ("merge", "edit", "annul") if cell.point.startswith("think.") else ("merge", "edit")
        setup, subject, company = _thought_about(named, price, chance.choice(rules))
    elif cell.kind == "stop":
        subject = PlaceOrder(
            **named, side=Side.SELL, type=OrderType.STOP_MARKET, amount=plain(NOTIONAL / price),
            trigger_price=plain(price * Decimal("0.9")),
        )  # fmt: skip
    elif setup is None:
        # Orders that fill at once matter most: their client order ids are free again.
        share, kind = chance.choice(
            [("0.99", OrderType.LIMIT), ("1.01", OrderType.LIMIT), ("1", OrderType.MARKET)]
        )
        subject = place("place", share, kind)
    elif cell.kind == "replaces":
        subject = msgspec.structs.replace(place("place", "0.99"), replaces=setup.id)
    elif cell.kind == "cancel":
        subject = CancelOrder(**named, target=setup.id)
    elif cell.kind == "cancel_all":
        subject = CancelAll(**named)
    else:
        subject = AmendOrder(**named, target=setup.id, price=plain(price * Decimal("0.982")))
    return Seat(cell, number, account, coin, setup, subject, company, follower)


def _thought_about(
    named: dict[str, Any], price: Decimal, rule: str
) -> tuple[Intent | None, Intent, tuple[Intent, ...]]:
    """What must be there first, and two intents of which a rule makes one (`merge`, `edit`) or none (`annul`)."""
    amount = Decimal(f"{NOTIONAL / 2 / price:.1g}")  # a multiple of every lot: only such are summed
    amount = Decimal(f"{amount:f}")
    if rule == "merge":
        at_market = named | {"type": OrderType.MARKET, "amount": amount}
        closes = [
            PlaceOrder(**at_market | {"id": f"{named['id']}-{role}"}, side=Side.SELL, reduce_only=True)
            for role in ("close", "company")
        ]
        opening = at_market | {"id": f"{named['id']}-opening", "amount": amount * 2}
        return PlaceOrder(**opening, side=Side.BUY), closes[0], (closes[1],)
    place = PlaceOrder(
        **named | {"id": f"{named['id']}-place"}, side=Side.BUY, type=OrderType.LIMIT, amount=amount * 2,
        price=plain(price * Decimal("0.99")),
    )  # fmt: skip
    other = named | {"id": f"{named['id']}-company", "target": place.id}
    if rule == "annul":
        return None, place, (CancelOrder(**other),)
    return None, place, (AmendOrder(**other, price=plain(price * Decimal("0.982"))),)


def plain(number: Decimal) -> Decimal:
    """Eight significant digits, written out."""
    rounded = Decimal(f"{number:.8g}")
    return Decimal(f"{rounded:f}")
