"""Whether all of a JPEG's image data is there, for a file without its end mark. Pure.

Decoders open such a file, whether only the mark is missing or half of the picture. The Huffman codes of a baseline JPEG
tell the two apart: each block's codes say where the next one begins (ITU T.81, annex F). Nothing else is decoded.
"""

import re
import struct
from collections.abc import Iterator

MOST_BYTES = 2 * 1024 * 1024
"""Larger files are not looked through. Each MB takes about 2 s of a full processor."""

_LOOK = 16  # the longest Huffman code, in bits

Table = list[int]
"""For each value of the next 16 bits: the code's length times 256, plus its symbol. 0 if no code fits."""


def is_whole(body: bytes) -> bool | None:
    """Whether the file has all blocks of its picture. None if it is not baseline, or if that can't be told."""
    try:
        return _is_whole(body)
    except (struct.error, IndexError, KeyError, ValueError):
        return None


def _is_whole(body: bytes) -> bool | None:
    tables: dict[int, Table] = {}
    interval = 0
    blocks: dict[int, int] = {}  # blocks of each component in a unit
    units = 0
    for kind, content, end in _segments(body):
        if kind == 0xC4:
            tables |= _tables(content)
        elif kind == 0xDD:
            (interval,) = struct.unpack(">H", content)
        elif kind in (0xC0, 0xC1):
            units, blocks = _frame(content)
        elif 0xC2 <= kind <= 0xCF and kind not in (0xC8, 0xCC):
            return None  # progressive or arithmetic
        elif kind == 0xDA:
            parts = [
                (tables[selector >> 4], tables[16 + (selector & 15)])
                for component, selector in struct.iter_unpack("BB", content[1 : 1 + 2 * content[0]])
                if component in blocks
                for _ in range(blocks[component])
            ]
            if content[0] != len(blocks):
                return None  # one scan for each component
            return _has_all(body[end:], parts, units, interval)
    return None


def _segments(body: bytes) -> Iterator[tuple[int, bytes, int]]:
    """The segments up to the image data: kind, content, and where the segment ends."""
    at = 2
    while True:
        while body[at] == 0xFF and body[at + 1] == 0xFF:
            at += 1
        kind = body[at + 1]
        (length,) = struct.unpack_from(">H", body, at + 2)
        yield kind, body[at + 4 : at + 2 + length], at + 2 + length
        at += 2 + length


def _frame(content: bytes) -> tuple[int, dict[int, int]]:
    """The number of units (MCUs) in the picture, and each component's blocks in a unit."""
    _, height, width, number = struct.unpack_from(">BHHB", content)
    sampling = {content[6 + 3 * n]: (content[7 + 3 * n] >> 4, content[7 + 3 * n] & 15) for n in range(number)}
    if number == 1:
        sampling = dict.fromkeys(sampling, (1, 1))
    across, down = (8 * max(one[side] for one in sampling.values()) for side in (0, 1))
    return -(-width // across) * -(-height // down), {name: h * v for name, (h, v) in sampling.items()}


def _tables(content: bytes) -> dict[int, Table]:
    """The Huffman tables in a segment, by class times 16 plus number."""
    found: dict[int, Table] = {}
    while content:
        name, counts = content[0], content[1:17]
        symbols = content[17 : 17 + sum(counts)]
        table: Table = []
        at = 0
        for length, count in enumerate(counts, start=1):
            for symbol in symbols[at : at + count]:
                table += [length << 8 | symbol] * (1 << (_LOOK - length))
            at += count
        found[name] = (table + [0] * (1 << _LOOK))[: 1 << _LOOK]
        content = content[17 + sum(counts) :]
    return found


def _has_all(data: bytes, parts: list[tuple[Table, Table]], units: int, interval: int) -> bool:
    """Whether the image data has this many units. With restart marks, only what follows the last one is looked at."""
    pieces = re.split(rb"\xff[\xd0-\xd7]", data)
    if interval:
        units -= interval * (len(pieces) - 1)
    return _count(pieces[-1].replace(b"\xff\0", b"\xff"), parts, units) >= units


def _count(data: bytes, parts: list[tuple[Table, Table]], units: int) -> int:
    """How many whole units the data has, up to ``units``."""
    limit = 8 * len(data)
    padded = data + b"\xff" * 64
    held = left = at = 0  # bits that were read, how many of them are unused, and the next byte

    for unit in range(units):
        for first, rest in parts:
            table, number = first, 0
            while number < 64:
                if left < 32:
                    held = (held & ((1 << left) - 1)) << 64 | int.from_bytes(padded[at : at + 8])
                    left, at = left + 64, at + 8
                entry = table[held >> (left - _LOOK) & 0xFFFF]
                if not entry:
                    return unit
                symbol = entry & 255
                left -= (entry >> 8) + (symbol & 15)
                if table is first:
                    table, number = rest, 1
                elif symbol == 0:
                    break  # the other coefficients of the block are zero
                else:
                    number += (symbol >> 4) + 1
            if 8 * at - left > limit:
                return unit
    return units
