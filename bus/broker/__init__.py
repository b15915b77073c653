"""The broker: a C proxy between publishers and subscribers, and a cache that answers on it."""
