from workers.paper.rules import load_market

MAJORS = ["BTC", "ETH", "SOL", "XRP", "ADA", "DOGE", "BNB", "LTC", "LINK", "AVAX", "DOT", "ATOM"]


def test_both_products_carry_the_majors_against_usdt_in_trading() -> None:
    for product in ("spot", "usdm"):
        symbols = load_market(product).symbols
        assert {symbols[f"{base}USDT"].status for base in MAJORS} == {"TRADING"}


def test_the_carried_rules_hold_the_odd_cases() -> None:
    spot, usdm = load_market("spot").symbols, load_market("usdm").symbols
    for symbols in (spot, usdm):
        assert {1, 1000} <= {rules.lot for rules in symbols.values()}
        assert any(rules.status != "TRADING" for rules in symbols.values())
        assert any(rules.start_price < 0.01 for rules in symbols.values())
        assert any(rules.max_quantity != rules.market_max_quantity for rules in symbols.values())
    assert any(rules.start_price > 1_000_000_000 for rules in spot.values())
    assert any(rules.lot != rules.market_lot for rules in spot.values())


def test_every_starting_price_lies_on_its_tick_and_within_its_filter() -> None:
    for product in ("spot", "usdm"):
        for rules in load_market(product).symbols.values():
            assert rules.start_price % rules.tick == 0, rules.symbol
            assert rules.min_price < rules.start_price < rules.max_price, rules.symbol
