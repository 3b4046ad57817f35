"""The exchange's state: markets, accounts, orders and the moving prices, and the one place they change
together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal

import msgspec

from workers.paper import book, margin_ledger, spot_ledger
from workers.paper.accounts import Account, Credentials, opened
from workers.paper.amounts import nearest_to
from workers.paper.audit import AuditEntry
from workers.paper.book import Depth, Level, Quote
from workers.paper.errors import Refusal, invalid_symbol
from workers.paper.feed import Feed
from workers.paper.listen_keys import LISTEN_KEY_MS, ListenKeys
from workers.paper.orders import AlgoOrder, Order
from workers.paper.register import OrderRegister
from workers.paper.rules import PRODUCTS, Product, SymbolRules, load_market
from workers.paper.store import MarketState, Store

MARKET_STATE = "market"


class Behaviour(msgspec.Struct, frozen=True):
    """How the synthetic market behaves. Volatility is the greatest move per step, as a fraction of the
    price.
    """

    seed: int = 1
    volatility: Decimal = Decimal("0.0005")
    partial_fill_probability: Decimal = Decimal("0.3")
    spot_maker_fee: Decimal = Decimal("0.001")
    spot_taker_fee: Decimal = Decimal("0.001")
    usdm_maker_fee: Decimal = Decimal("0.0002")
    usdm_taker_fee: Decimal = Decimal("0.0005")

    def fee(self, product: Product, maker: bool) -> Decimal:
        """The fee rate of a fill."""
        if product == "spot":
            return self.spot_maker_fee if maker else self.spot_taker_fee
        return self.usdm_maker_fee if maker else self.usdm_taker_fee


class Exchange:
    """Everything the paper exchange knows, read from its store at start. Single-threaded."""

    def __init__(
        self,
        store: Store,
        credentials: Sequence[Credentials],
        behaviour: Behaviour,
        now_us: Callable[[], int],
        listen_key_ms: int = LISTEN_KEY_MS,
    ) -> None:
        self.store = store
        self.behaviour = behaviour
        self.now_us = now_us
        self.feed = Feed()
        self.markets = {product: load_market(product) for product in PRODUCTS}
        self.by_key = {entry.key: entry for entry in credentials}
        self._credentials = credentials
        self._sequence = store.last_sequence()
        self.register = OrderRegister(store.orders(), store.algo_orders())
        self.state = store.fact(MARKET_STATE, MarketState) or MarketState()
        self.listen_keys = ListenKeys(store, listen_key_ms)
        self.accounts = {account.name: account for account in store.accounts()}
        self._complete()

    def _complete(self) -> None:
        """Accounts and prices that aren't on file yet start fresh."""
        assets = sorted({asset for r in self.markets["spot"].symbols.values() for asset in (r.base, r.quote)})
        for entry in self._credentials:
            if entry.name not in self.accounts:
                self.accounts[entry.name] = opened(entry, assets)
                self.store.put_account(self.accounts[entry.name])
        for product in PRODUCTS:
            for rules in self.markets[product].symbols.values():
                self.state.mids.setdefault(f"{product}:{rules.symbol}", rules.start_price)
                self.state.anchors.setdefault(f"{product}:{rules.symbol}", rules.start_price)

    def reset(self) -> None:
        """Forget every order, trade, audit entry and count; accounts and prices start fresh."""
        self.store.erase()
        self.listen_keys.forget()
        self._sequence = 0
        self.register = OrderRegister((), ())
        self.state = MarketState()
        self.accounts = {}
        self._complete()

    def rules(self, product: Product, symbol: str) -> SymbolRules:
        """A listed symbol's rules. Raises -1121 for one that isn't listed."""
        rules = self.markets[product].symbols.get(symbol)
        if rules is None:
            raise invalid_symbol()
        return rules

    def account(self, name: str) -> Account:
        """An account by name."""
        return self.accounts[name]

    def mid(self, rules: SymbolRules) -> Decimal:
        """The current mid price, which is also the last and the mark price."""
        return self.state.mids[f"{rules.product}:{rules.symbol}"]

    def quote(self, rules: SymbolRules) -> Quote:
        """Best bid and ask now."""
        return book.quote(rules, self.mid(rules))

    def levels(self, rules: SymbolRules, side: str) -> Iterator[Level]:
        """What an order of ``side`` trades against now, best first."""
        return book.levels(rules, self.mid(rules), side, self.behaviour.seed, self.state.step)

    def depth(self, rules: SymbolRules) -> Depth:
        """The whole book now."""
        return book.depth(rules, self.mid(rules), self.behaviour.seed, self.state.step)

    def mark(self, symbol: str) -> Decimal:
        """Mark price of a USDⓈ-M symbol."""
        return self.state.mids[f"usdm:{symbol}"]

    def step_prices(self) -> None:
        """Move every price that isn't held one step along its walk."""
        self.state.step += 1
        for product in PRODUCTS:
            for rules in self.markets[product].symbols.values():
                name = f"{product}:{rules.symbol}"
                if name not in self.state.held:
                    self.state.mids[name] = book.next_mid(
                        rules,
                        self.state.mids[name],
                        self.state.anchors[name],
                        self.behaviour.volatility,
                        self.behaviour.seed,
                        self.state.step,
                    )
        self.store.put_fact(MARKET_STATE, self.state)
        self.feed.prices()

    def set_price(self, rules: SymbolRules, price: Decimal, hold: bool) -> Decimal:
        """Set a mid by hand, to the nearest tick; a held price leaves the walk. Returns the price set."""
        name = f"{rules.product}:{rules.symbol}"
        mid = max(rules.tick * 2, nearest_to(price, rules.tick))
        self.state.mids[name] = self.state.anchors[name] = mid
        if hold:
            self.state.held.add(name)
        else:
            self.state.held.discard(name)
        self.store.put_fact(MARKET_STATE, self.state)
        self.feed.prices()
        return mid

    def margin(self, account: Account) -> margin_ledger.Margin:
        """The account's USDⓈ-M margin now, in USDT."""
        open_orders = self.register.open_of("usdm", account.name)
        return margin_ledger.measure(account, "USDT", self.mark, open_orders)

    def execute(self, order: Order, price: Decimal, quantity: Decimal, maker: bool, now_ms: int) -> None:
        """Book one execution of ``order``: money, position, fill, status."""
        rules, account = self.rules(order.product, order.symbol), self.account(order.account)
        fee = self.behaviour.fee(order.product, maker)
        if order.product == "spot":
            fill = spot_ledger.settle(account, rules, order, price, quantity, fee)
        else:
            fill = margin_ledger.settle(account, rules, order, price, quantity, fee, now_ms)
        fill.trade_id = self.register.next_trade_id(order.product)
        fill.maker, fill.time_ms = maker, now_ms
        order.fills.append(fill)
        order.executed_quantity += quantity
        order.executed_quote += fill.quote
        order.updated_ms = now_ms
        self.store.put_account(account)
        if order.remaining <= 0:
            self._close(order, "FILLED", now_ms)
        else:
            order.status = "PARTIALLY_FILLED"
            self.store.put_order(order)
        self.feed.order(self, order, "TRADE", now_ms, fill)

    def end(self, order: Order, status: str, now_ms: int, cancel_id: str = "") -> None:
        """Close ``order`` with ``status``, though not all of it was executed; ``cancel_id`` is a cancel's own id."""
        self._close(order, status, now_ms)
        self.feed.order(self, order, status, now_ms, cancel_id=cancel_id)

    def _close(self, order: Order, status: str, now_ms: int) -> None:
        """Give ``order`` its last status, and back to its account what it still locks."""
        order.status, order.updated_ms = status, now_ms
        if order.locked:
            account = self.account(order.account)
            spot_ledger.release(account, self.rules(order.product, order.symbol), order)
            self.store.put_account(account)
        self.register.closed(order)
        self.store.put_order(order)

    def keep_algo(self, order: AlgoOrder, status: str, now_ms: int) -> None:
        """Give a conditional order its next status."""
        order.status, order.updated_ms = status, now_ms
        if status != "NEW":
            self.register.algo_closed(order)
        self.store.put_algo_order(order)
        actual_id = order.actual_order_id
        actual = self.register.find("usdm", order.account, order.symbol, actual_id, "") if actual_id else None
        self.feed.algo(order, actual, now_ms)

    def record(self, entry: AuditEntry) -> None:
        """Append to the audit, under the next sequence number."""
        self._sequence += 1
        self.store.add_audit(msgspec.structs.replace(entry, sequence=self._sequence))

    def refuse_duplicate(self, product: Product, account: str, client_order_id: str) -> None:
        """A client id is unique among open orders only; an ended order's id is free again."""
        holder = self.register.with_client_id(product, account, client_order_id)
        if holder is None or not holder.is_open:
            return
        if product == "spot":
            raise Refusal(-2010, "Duplicate order sent.")
        raise Refusal(-4116, "ClientOrderId is duplicated.")
