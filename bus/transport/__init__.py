"""The only makers of ZeroMQ sockets: every option is set here, explicitly, and nowhere else."""
