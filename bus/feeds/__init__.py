"""Feeds: one process per venue, from its sockets to ticks on the bus.

The generic layer names no venue. A venue is a package here (``bus.feeds.<venue>``) whose module
``venue`` offers ``create(feed)``; it is found by the feed's settings, so that a new venue touches
no other file.
"""
