"""The WebSocket bridge: from the bus to browsers, in the protocol of docs/websocket.md."""
