"""Kraken spot market data (WebSocket v2): trades, tickers and checked books, without a key."""
