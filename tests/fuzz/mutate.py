"""Damage to files, as pure functions of the bytes and a random number generator.

Half of what an attacker sends is not noise but a lie: a size field, a second file's end, a checksum
that fits again. Noise alone dies at the first checksum.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from random import Random

Mutation = Callable[[Random, bytes, Sequence[bytes]], bytes]

_PNG = b"\x89PNG\r\n\x1a\n"
# Sizes and counts at which arithmetic overflows.
_NUMBERS = (0, 1, 2, 127, 128, 255, 256, 20_000, 32_767, 32_768, 65_535, 65_536)
_NUMBERS += (0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0x7FFF_FFFF_FFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF)
_LARGE = 100_000
_MARKERS = (b"IHDR", b"\xff\xc0", b"\xff\xc2", b"ispe", b"VP8X", b"VP8L", b"VP8 ", b"\x2c\0\0\0\0")


def mutate(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """A file after one to four kinds of damage; PNG checksums are usually repaired."""
    for _ in range(random.randint(1, 4)):
        data = random.choice(MUTATIONS)(random, data, others)
    if data.startswith(_PNG) and random.random() < 0.7:
        data = heal_png(data)
    return data


def heal_png(data: bytes) -> bytes:
    """The same PNG with correct checksums, as far as its chunk lengths can be followed."""
    pieces, at = [data[:8]], 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data):
            break
        pieces.append(data[at:end] + struct.pack(">I", zlib.crc32(data[at + 4 : end])))
        at = end + 4
    return b"".join([*pieces, data[at:]])


def _flip(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    changed = bytearray(data or b"\0")
    for _unused in range(random.randint(1, 8)):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _noise(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    start, end = _slice(random, data)
    noise = bytes(random.randrange(256) for _unused in range(end - start))
    return data[:start] + noise + data[end:]


def _truncate(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    return data[: random.randint(0, len(data))]


def _cut(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    start, end = _slice(random, data)
    return data[:start] + data[end:]


def _repeat(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    start, end = _slice(random, data)
    times = random.choice((1, 2, 50)) if len(data) < _LARGE else 0
    return data[:end] + data[start:end] * times + data[end:]


def _splice(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    other = random.choice(others)
    return data[: random.randint(0, len(data))] + other[random.randint(0, len(other)) :]


def _append(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    return data + random.choice(others)


def _number(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    return _put_number(random, data, random.randint(0, len(data)))


def _lie(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Change a number after a marker where formats store sizes, or in the first bytes."""
    places = [at for marker in _MARKERS if (at := data.find(marker)) >= 0]
    at = random.choice([*places, 0])
    return _put_number(random, data, min(at + random.randint(2, 30), len(data)))


MUTATIONS: tuple[Mutation, ...] = (
    _flip,
    _flip,
    _noise,
    _truncate,
    _cut,
    _repeat,
    _splice,
    _append,
    _number,
    _number,
    _lie,
    _lie,
)


def _put_number(random: Random, data: bytes, at: int) -> bytes:
    size = random.choice((1, 2, 3, 4, 8))
    number = random.choice(_NUMBERS) & ((1 << 8 * size) - 1)
    written = number.to_bytes(size, random.choice(("little", "big")))
    return data[:at] + written + data[at + size :]


def _slice(random: Random, data: bytes) -> tuple[int, int]:
    start = random.randint(0, len(data))
    return start, min(start + random.choice((1, 4, 12, 100, len(data))), len(data))
