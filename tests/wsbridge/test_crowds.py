"""Crowds: who is in one, who of it can be written to, and what was written to each."""

from __future__ import annotations

from bus.wsbridge.channels import Channel
from bus.wsbridge.crowds import Crowd, by_crowd, in_several
from bus.wsbridge.style import Style, Wire
from bus.wsbridge.topics import Directory, MarketTopic
from tests.wsbridge.makers import Nobody, settings_of


def channels(count: int) -> list[Channel[Nobody]]:
    topic = Directory(settings_of()).resolve_topic("price.BTC")
    assert isinstance(topic, MarketTopic)
    return [Channel[Nobody](topic, Style(), Wire()) for _ in range(count)]


def test_channels_with_equal_clients_are_one_crowd_until_somebody_moves() -> None:
    a, b = Nobody(), Nobody()
    first, second, third = channels(3)
    for channel, clients in ((first, [a, b]), (second, [b, a]), (third, [a])):
        for client in clients:
            channel.add(client)
    assert by_crowd([first, third, second]) == {
        frozenset([a, b]): [first, second],
        frozenset([a]): [third],
    }
    assert first.crowd is second.crowd
    third.add(b)
    second.remove(a)
    assert by_crowd([first, second, third]) == {
        frozenset([a, b]): [first, third],
        frozenset([b]): [second],
    }


def test_it_is_laid_out_anew_when_anybodys_way_has_changed() -> None:
    clients = [Nobody(7), Nobody(8), Nobody(9)]
    crowd = Crowd(clients)
    crowd.lay_out(0)
    assert (sorted(crowd.fds), crowd.others) == ([7, 8, 9], [])
    assert [client.fd for client in crowd.direct] == list(crowd.fds)
    clients[1].fd = -1
    crowd.lay_out(0)
    assert len(crowd.fds) == 3, "nobody has said that anything changed"
    crowd.lay_out(1)
    assert (sorted(crowd.fds), crowd.others) == ([7, 9], [clients[1]])


def test_what_was_written_is_counted_for_those_it_went_to() -> None:
    early, late = Nobody(7), Nobody(-1)
    crowd = Crowd([early, late])
    crowd.lay_out(0)
    crowd.written(100)
    late.fd = 8
    crowd.lay_out(1)
    crowd.written(10)
    crowd.count()
    crowd.count()
    assert (early.direct_bytes, late.direct_bytes) == (110, 10)


def test_nothing_written_is_forgotten_when_a_crowd_dissolves_or_joins_another() -> None:
    a, b = Nobody(7), Nobody(8)
    first, second = channels(2)
    first.add(a)
    (crowd,) = by_crowd([first])
    crowd.lay_out(0)
    crowd.written(5)
    first.add(b)
    assert a.direct_bytes == 5
    second.add(a)
    second.add(b)
    for channel in (first, second):
        (crowd,) = by_crowd([channel])
        crowd.lay_out(0)
        crowd.written(1)
    assert len(by_crowd([first, second])) == 1
    second.remove(b)
    first.remove(b)
    assert (a.direct_bytes, b.direct_bytes) == (7, 2)


def test_who_belongs_to_several() -> None:
    one, two, three, four = (Nobody() for _ in range(4))
    crowds = [Crowd([one, two]), Crowd([two, three]), Crowd([four]), Crowd([two, four])]
    assert in_several(crowds) == {two, four}
    assert in_several(crowds[:1]) == in_several([]) == set()
