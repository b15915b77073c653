"""Who may connect, to what, for how long: tokens become an :class:`~.grant.Access`."""
