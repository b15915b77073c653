"""Finnhub: last trades of stocks, forex and crypto over one WebSocket, and news. Needs a key."""
