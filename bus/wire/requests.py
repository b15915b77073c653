"""Snapshot by subscription and replay by subscription: the strings and their end markers.

A consumer subscribes to ``T`` and then to ``snapshot/<id>/T``; the broker's cache answers with
every message it holds under ``T``, each as ``snapshot/<id>/`` + the cached frame, then with an end
marker whose topic is the subscription itself: ``["end", count]``. ``replay/<id>/<epoch>-<seq>/T``
asks for the retained messages of one topic after a position; where that is no longer possible
without a hole the only answer is ``["gone", oldest_epoch, oldest_seq]``.
"""

from __future__ import annotations

import base64
import os
import re

import msgspec

from bus.errors import PayloadError, RequestError, TopicError
from bus.wire.codec import SEPARATOR, _pack, unpack
from bus.wire.topic import MAX_TOPIC_BYTES, check_prefix, parse_topic

SNAPSHOT_ROOT = b"snapshot/"
REPLAY_ROOT = b"replay/"
MAX_REQUEST_BYTES = MAX_TOPIC_BYTES + 96

_ID = re.compile(rb"[A-Za-z0-9_-]{1,32}")
_MAX_UINT = 2**64 - 1  # what a payload can hold
_POSITION = re.compile(rb"([0-9]{1,20})-([0-9]{1,20})")


class SnapshotRequest(msgspec.Struct, frozen=True):
    """Every cached message under ``prefix`` is wanted."""

    request_id: bytes
    prefix: bytes

    @property
    def root(self) -> bytes:
        """What stands before each cached frame of the answer."""
        return SNAPSHOT_ROOT + self.request_id + b"/"

    @property
    def key(self) -> bytes:
        """The subscription, and the topic of the end marker."""
        return self.root + self.prefix


class ReplayRequest(msgspec.Struct, frozen=True):
    """The messages of ``topic`` after (``epoch``, ``seq``) are wanted, in order."""

    request_id: bytes
    epoch: int
    seq: int
    topic: bytes

    @property
    def root(self) -> bytes:
        """What stands before each retained frame of the answer."""
        return b"%s%s/%d-%d/" % (REPLAY_ROOT, self.request_id, self.epoch, self.seq)

    @property
    def key(self) -> bytes:
        """The subscription, and the topic of the end marker."""
        return self.root + self.topic


class End(msgspec.Struct, frozen=True):
    """The answer is complete: ``count`` messages came before this marker."""

    count: int


class Gone(msgspec.Struct, frozen=True):
    """The position is no longer held; the oldest message that is has this (epoch, seq).

    Both are 0 when the cache holds nothing at all of the topic.
    """

    oldest_epoch: int
    oldest_seq: int


def new_request_id() -> bytes:
    """A random token, unguessable and unique among the consumers of one bus."""
    return base64.urlsafe_b64encode(os.urandom(9))


def parse_request(key: bytes) -> SnapshotRequest | ReplayRequest | None:
    """Parse a subscription; ``None`` when it is an ordinary one.

    Raises :class:`~bus.errors.RequestError` when it begins like a request but is malformed.
    """
    if key.startswith(SNAPSHOT_ROOT):
        return _parse_snapshot(key)
    if key.startswith(REPLAY_ROOT):
        return _parse_replay(key)
    return None


def _parse_snapshot(key: bytes) -> SnapshotRequest:
    request_id, prefix = _parts(key, SNAPSHOT_ROOT)
    try:
        return SnapshotRequest(request_id, check_prefix(prefix))
    except TopicError as error:
        raise RequestError(key, error.why) from None


def _parse_replay(key: bytes) -> ReplayRequest:
    request_id, rest = _parts(key, REPLAY_ROOT)
    position, _, topic = rest.partition(b"/")
    match = _POSITION.fullmatch(position)
    if match is None:
        raise RequestError(key, "the position must be <epoch>-<seq>, both decimal")
    epoch, seq = int(match[1]), int(match[2])
    if max(epoch, seq) > _MAX_UINT:
        raise RequestError(key, "epoch and seq are at most 2^64-1")
    try:
        parse_topic(topic)
    except TopicError as error:
        raise RequestError(key, error.why) from None
    return ReplayRequest(request_id, epoch, seq, topic)


def _parts(key: bytes, root: bytes) -> tuple[bytes, bytes]:
    if len(key) > MAX_REQUEST_BYTES:
        raise RequestError(key, f"longer than {MAX_REQUEST_BYTES} bytes")
    request_id, _, rest = key[len(root) :].partition(b"/")
    if not _ID.fullmatch(request_id):
        raise RequestError(key, "the id must be 1 to 32 of A-Z a-z 0-9 _ -")
    return request_id, rest


def encode_end(request: SnapshotRequest | ReplayRequest, count: int) -> bytes:
    """The frame that ends an answer of ``count`` messages."""
    marker: bytes = request.key + SEPARATOR + _pack(["end", count])
    return marker


def encode_gone(request: ReplayRequest, oldest_epoch: int, oldest_seq: int) -> bytes:
    """The frame that refuses a replay."""
    marker: bytes = request.key + SEPARATOR + _pack(["gone", oldest_epoch, oldest_seq])
    return marker


def decode_marker(payload: bytes) -> End | Gone:
    """Decode the payload of an end marker. Raises :class:`~bus.errors.PayloadError`."""
    match unpack(payload):
        case ["end", int(count)] if count >= 0:
            return End(count)
        case ["gone", int(epoch), int(seq)] if epoch >= 0 and seq >= 0:
            return Gone(epoch, seq)
    raise PayloadError('neither ["end", count] nor ["gone", epoch, seq]')
