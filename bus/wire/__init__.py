"""The bus wire format: topics, payloads, requests. Pure: bytes in, values out."""
