"""The paper exchange: a process that unmodified ccxt ``binance`` and ``binanceusdm`` talk to over HTTP.

It carries Binance's own rules (checks, error codes, limits, client ids that are unique among *open* orders
only), survives its own kill -9, and keeps the books against which every guarantee is judged.
"""
