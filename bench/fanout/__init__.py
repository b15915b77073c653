"""What one delivered WebSocket frame costs the server, beside other servers in the same run."""
