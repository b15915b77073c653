"""Binance spot market data: trades, quotes, 24-hour figures and full-depth books, without a key."""
