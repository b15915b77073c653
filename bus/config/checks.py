"""What no single setting can tell: settings that contradict each other, or name what is not there.

Pure. What is found is reported by key, with a hint where there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bus.config.access import ALGORITHMS
from bus.config.bridge import CLOSES_PER_S, LEAST_TTL_S, is_loopback
from bus.config.patterns import PATTERNS, read_pattern
from bus.config.settings import Settings
from bus.config.venues import MARKET_STREAMS
from bus.endpoint import check_endpoint
from bus.errors import ConfigError

Report = Callable[..., None]
"""``problem(key, message, hint="")``."""


def check_together(settings: Settings, problem: Report) -> None:
    """What no single key can tell."""
    for alias, target in settings.aliases.items():
        key = f"aliases.{alias}"
        symbol, at, feed = target.partition("@")
        if not (symbol and at and feed):
            served = [name for name, one in settings.feeds.items() if target in one.symbols]
            feed = next(iter([*served, *settings.feeds]), "binance")
            example = f'{alias.upper()} = "{target if served else "XRP-USDT"}@{feed}"'
            problem(key, f'{target!r} is not of the form "SYMBOL@feed"', f"for example {example}")
        elif feed not in settings.feeds:
            near = nearest(feed, settings.feeds)
            problem(key, f"there is no feed {feed!r}", near)
        if alias != alias.upper():
            problem(key, "aliases are upper case", f"write {alias.upper()}")
    _check_ports(settings, problem)
    _check_topics(settings, problem)
    _check_ttls(settings, problem)
    _check_access(settings, problem)
    _check_stop(settings, problem)
    _check_exposed(settings, problem)
    _check_endpoints(settings, problem)


def _check_endpoints(settings: Settings, problem: Report) -> None:
    """The broker's endpoints can be used, by this machine alone, and are told before it binds."""
    for name in ("publish", "subscribe"):
        key, endpoint = f"broker.{name}", getattr(settings.broker, name)
        if not endpoint:
            continue
        try:
            check_endpoint(endpoint, key)
        except ConfigError as error:
            for each in error.problems:
                problem(key, each.message, each.hint)
            continue
        host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
        if endpoint.startswith("tcp://") and port in ("*", "0"):
            problem(key, f"{endpoint!r}: a port is needed", f"e.g. tcp://{host}:5555")


def _check_stop(settings: Settings, problem: Report) -> None:
    """A bridge is given the time that it needs to let its clients go."""
    bridge, deadline_s = settings.bridge, settings.supervisor.stop_deadline_s
    if deadline_s and deadline_s < bridge.farewell_s:
        problem(
            "supervisor.stop_deadline_s",
            f"{deadline_s:g} s would cut off clients: a bridge with bridge.max_connections = "
            f"{bridge.max_connections} takes up to {bridge.farewell_s:g} s to close them",
            f"at least {bridge.farewell_s:g}, or fewer connections ({CLOSES_PER_S} are closed "
            "a second), or a shorter bridge.drain_s or bridge.close_timeout_s",
        )


def _check_ttls(settings: Settings, problem: Report) -> None:
    """TTLs of single symbols name topics that are there."""
    for name, ttl_s in settings.bridge.ttl_s.items():
        key = f"bridge.ttl_s.{name}"
        stream, _, symbol = name.partition(".")
        if stream not in MARKET_STREAMS or not symbol:
            streams = f"streams are {', '.join(MARKET_STREAMS)}"
            problem(key, f'{name!r} is not of the form "stream.SYMBOL"', streams)
        elif settings.resolve_alias(symbol) is None:
            problem(key, f"no enabled feed serves {symbol!r}")
        if ttl_s < LEAST_TTL_S:
            problem(key, f"{ttl_s:g} is below the least, {LEAST_TTL_S:g} s")


def _check_ports(settings: Settings, problem: Report) -> None:
    """Every port is one, and nobody shares it."""
    for venue, port in settings.simulator.ports.items():
        if not 0 <= port <= 65_535:
            problem(f"simulator.ports.{venue}", f"{port} is no port", "0 to 65535")
    bridge = settings.bridge
    ports = {"bridge.port": bridge.port}
    if bridge.admin.enabled and bridge.admin.port:
        last = bridge.admin.port + bridge.workers - 1
        if last > 65_535:
            problem("bridge.admin.port", f"the last of {bridge.workers} workers would have {last}")
        if bridge.admin.port <= bridge.port <= last:
            problem("bridge.admin.port", f"the workers' ports reach {bridge.port}")
    for venue, port in settings.simulated_ports.items():
        ports[f"simulator.ports.{venue}"] = port
    seen: dict[int, str] = {}
    for key, port in ports.items():
        if port and port in seen:
            problem(key, f"port {port} is taken by {seen[port]} already")
        seen.setdefault(port, key)


def _check_topics(settings: Settings, problem: Report) -> None:
    """No two enabled feeds publish the same topics: their ticks could not be told apart."""
    publishers: dict[str, str] = {}
    for name, feed in settings.feeds.items():
        if not feed.enabled:
            continue
        label = settings.venue_label(name)
        topics = [("symbols", f"{label}/{symbol}") for symbol in feed.symbols]
        topics += [
            ("news_categories", f"news/{label}/{category}") for category in feed.news_categories
        ]
        for key, topic in topics:
            other = publishers.setdefault(topic, name)
            if other != name:
                problem(
                    f"feeds.{name}.{key}",
                    f"{topic} is published by the feed {other!r} already",
                    "choose other symbols, switch one of the feeds off, or use "
                    'mode = "live", where every venue has a label of its own'
                    if settings.simulated
                    else "choose other symbols, or switch one of the feeds off",
                )


def _check_access(settings: Settings, problem: Report) -> None:
    """Tokens can be checked at all, and what they name is there."""
    bridge = settings.bridge
    for index, name in enumerate(bridge.access.algorithms):
        if name not in ALGORITHMS:
            known = f"algorithms are {', '.join(ALGORITHMS)}"
            problem("bridge.access.algorithms", f"item {index + 1} is {name!r}", known)
    if not bridge.access.algorithms:
        problem("bridge.access.algorithms", "is empty: no token could ever be accepted")
    if bridge.access.default_tier not in bridge.tiers:
        near = nearest(bridge.access.default_tier, bridge.tiers)
        tier = bridge.access.default_tier
        problem("bridge.access.default_tier", f"there is no tier {tier!r}", near)
    for name, tier_settings in bridge.tiers.items():
        for text in tier_settings.topics:
            if read_pattern(text) is None:
                problem(f"bridge.tiers.{name}.topics", f"{text!r} means no topics", PATTERNS)
    for proxy in bridge.limits.trusted_proxies:
        from ipaddress import ip_network  # there are hardly ever any

        try:
            ip_network(proxy)
        except ValueError:
            problem(
                "bridge.limits.trusted_proxies",
                f"{proxy!r} is neither an address nor a network",
                "e.g. 127.0.0.1 or 10.0.0.0/8",
            )


def _check_exposed(settings: Settings, problem: Report) -> None:
    """Nothing listens off loopback for everybody unless that was asked for outright."""
    bridge = settings.bridge
    if bridge.auth not in ("jwt", "none") and not is_loopback(bridge.host):
        problem(
            "bridge.host",
            f"{bridge.host!r} is reachable from other machines, and there is no authentication",
            'listen on 127.0.0.1, set bridge.auth = "jwt" and a key, or bridge.auth = "none" '
            "to serve everybody",
        )
    admin = bridge.admin
    if admin.enabled and not admin.token and not is_loopback(admin.host):
        problem(
            "bridge.admin.host",
            f"{admin.host!r} is reachable from other machines, and there is no token",
            "listen on 127.0.0.1, or set bridge.admin.token",
        )


def nearest(word: str, known: Iterable[str], prefix: str = "") -> str:
    """A hint at the known word that may have been meant; empty when none is near."""
    import difflib  # every process reads settings, hardly any finds a fault in them

    match = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.5)
    return f"did you mean {prefix}{match[0]}?" if match else ""
