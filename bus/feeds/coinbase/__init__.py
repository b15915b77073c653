"""Coinbase Exchange market data: trades, tickers and whole books, without a key."""
