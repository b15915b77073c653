"""The only makers of ZeroMQ sockets, every option of which is set here, explicitly, and nowhere
else; and what joins the supervisor to its processes.
"""
