"""Whether all of a picture is there, for a JPEG or PNG file without its end marker. Pure.

Decoders open such a file, whether only the mark is missing or half of the picture. In a baseline JPEG, the Huffman
codes say where each block ends (ITU T.81, annex F), so the blocks are counted. In a progressive JPEG, the last scan
must have begun: it only refines a picture of which all blocks are there. In a PNG, the decompressed data must have all
rows.
"""

import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

MOST_BYTES = 8 * 1024 * 1024
MOST_BLOCKS = 1_500_000
"""Image data of a JPEG with more bytes or blocks (each 8 x 8 pixels of one component) is not looked through: these take
about four seconds of a full processor. With restart markers, only the data after the last one counts."""

_ALL = (1 << 64) - 1  # a bit for each of a block's 64 coefficients
_DEFLATED, _INFLATED = 64 * 1024, 256 * 1024  # bytes of compressed and decompressed data at once
_MOST_SEGMENTS = 10_000
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Adam7, the order of an interlaced PNG: first column and row, and the steps to the next ones."""

_MARK = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


def is_whole(media_type: str, body: bytes) -> bool | None:
    """Whether a file without its end marker has all of its picture. None if that can't be told."""
    try:
        return _KINDS[media_type](body)
    except (struct.error, IndexError, KeyError, ValueError, ArithmeticError, zlib.error):
        return None


def _png(body: bytes) -> bool:
    width, height, depth, colours, _, _, interlaced = struct.unpack_from(">IIBBBBB", body, 16)
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colours]
    missing: int = sum(
        rows * (1 + -(-columns * bits // 8))
        for x, y, dx, dy in (_PASSES if interlaced else ((0, 0, 1, 1),))
        if (columns := -(-(width - x) // dx)) > 0 and (rows := -(-(height - y) // dy)) > 0
    )
    inflate, at = zlib.decompressobj(), 8
    while missing > 0 and at + 8 <= len(body):
        length, kind = struct.unpack_from(">I4s", body, at)
        at += 8
        for start in range(at, min(at + length, len(body)) if kind == b"IDAT" else at, _DEFLATED):
            data = body[start : min(start + _DEFLATED, at + length)]
            while data and missing > 0:
                missing -= len(inflate.decompress(data, _INFLATED))
                data = inflate.unconsumed_tail
        at += length + 4
    return missing <= len(inflate.flush())


@dataclass(frozen=True)
class _Table:
    """A Huffman table.

    An entry is the number of bits of a code and its value, plus 256 times the coefficients that it stands for, plus
    65536 if it ends the block. 0 if there is no such code. It is looked up by the next 16 bits, the longest code.
    """

    one: list[int]
    sums: list[int] = field(default_factory=lambda: [0] * 65536)
    """What ``several`` returned, as far as it was called."""

    def several(self, window: int) -> int:
        """The sum of the entries of all codes that are complete in these 16 bits, or else the first code's entry."""
        total = 0
        while total & 255 < 16 and total >> 8 < 64:
            entry = self.one[window << (total & 255) & 0xFFFF]
            if not entry or (total and (total & 255) + (entry & 255) > 16):
                break
            total += entry
        self.sums[window] = total
        return total


@dataclass
class _Jpeg:
    """What the segments of a JPEG said so far."""

    tables: dict[int, bytes] = field(default_factory=dict)
    """The number of codes of each length, and their symbols. By class (0: for the first coefficient, 1: for the others)
    times 16, plus number."""
    segments: int = 0
    interval: int = 0
    """Units between two restart markers. 0: there are none."""
    width: int = 0
    height: int = 0
    sampling: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Each component's blocks in a unit, across and down."""
    progressive: bool = False
    there: dict[int, int] = field(default_factory=dict)
    """For each component, the coefficients whose last bits have come, or are in the last scan."""
    scan: list[tuple[int, int]] = field(default_factory=list)
    """The last scan's components, and their tables."""

    @property
    def complete(self) -> bool:
        return all(self.there.get(component) == _ALL for component in self.sampling)


def _jpeg(body: bytes) -> bool | None:
    file, at = _Jpeg(), 2
    while mark := _MARK.search(body, at):
        kind, start = body[mark.end() - 1], mark.end()
        at = start + int.from_bytes(body[start : start + 2])
        content = body[start + 2 : at]
        file.segments += 1
        if file.segments > _MOST_SEGMENTS:
            return None
        if len(body) < max(at, start + 2):  # it ends in the middle of a segment between two scans
            return file.complete
        if kind == 0xC4:
            while content:
                end = 17 + sum(content[1:17])
                file.tables[content[0]], content = content[1:end], content[end:]
        elif kind == 0xDD:
            (file.interval,) = struct.unpack(">H", content)
        elif kind in (0xC0, 0xC1, 0xC2):
            file.height, file.width, number = struct.unpack_from(">xHHB", content)
            for component, sampling in struct.iter_unpack("BBx", content[6 : 6 + 3 * number]):
                file.sampling[component] = sampling >> 4, sampling & 15
            file.progressive = kind == 0xC2
        elif 0xC3 <= kind <= 0xCF and kind not in (0xC8, 0xCC):
            return None  # lossless, hierarchical or arithmetic
        elif kind == 0xDA:
            _begin_scan(file, content)
    return file.complete and (file.progressive or _has_all(file, body[at:]))


def _begin_scan(file: _Jpeg, content: bytes) -> None:
    end = 1 + 2 * content[0]
    file.scan = list(struct.iter_unpack("BB", content[1:end]))
    first, last, bits = content[end : end + 3]
    done = _ALL
    if file.progressive:  # the lower four bits: how many bits of the coefficients come in later scans
        done = (2 << last) - (1 << first) if bits & 15 == 0 else 0
    for component, _ in file.scan:
        file.there[component] = file.there.get(component, 0) | done


def _table(content: bytes, *, first: bool) -> _Table:
    """``first``: whether it is for the first coefficients, where no symbol ends a block."""
    one: list[int] = []
    at = 16
    for length, count in enumerate(content[:16], start=1):
        for symbol in content[at : at + count]:
            run, bits = divmod(symbol, 16)
            ends = not first and not bits and run != 15
            entry = (length + bits) + (65536 if ends else 256 * (run + 1))
            one += [entry] * (1 << (16 - length))
            if len(one) > 65536:
                raise ValueError("more codes than there are values of 16 bits")
        at += count
    return _Table(one + [0] * (65536 - len(one)))


def _has_all(file: _Jpeg, data: bytes) -> bool | None:
    """Whether the data of a baseline scan has all units."""
    across, down = (8 * max(sides) for sides in zip(*file.sampling.values(), strict=True))
    names = [(selected >> 4, 16 + (selected & 15)) for _, selected in file.scan]
    tables = {name: _table(file.tables[name], first=name < 16) for name in set().union(*names)}
    unit: list[tuple[_Table, _Table]] = []
    for (component, _), (first, others) in zip(file.scan, names, strict=True):
        wide, high = file.sampling[component]
        unit += [(tables[first], tables[others])] * (wide * high)
    if len(file.scan) == 1:  # a component alone in its scan: its unit is a block
        unit = unit[:1]
    else:
        wide = high = 1
    units = -(-file.width * wide // across) * -(-file.height * high // down)
    if file.interval:
        marks = [bytes([0xFF, kind]) for kind in range(0xD0, 0xD8)]
        units -= file.interval * sum(map(data.count, marks))
        last = max(map(data.rfind, marks))
        data = data[last + 2 :] if last >= 0 else data
    # Some programs fill up what they did not get with zeros. The data itself ends with ones, or with 0xFF 0x00.
    data = data.rstrip(b"\0")
    if len(data) > MOST_BYTES or units * len(unit) > MOST_BLOCKS:
        return None
    return _has_units(data.replace(b"\xff\0", b"\xff"), unit, units)


def _has_units(data: bytes, blocks: list[tuple[_Table, _Table]], units: int) -> bool:
    limit = 8 * len(data)
    padded = data + b"\xff" * 512
    held = left = at = 0  # bits that were read, how many of them are unused, and the next byte
    for _ in range(units):
        for first, others in blocks:
            one, sums, number = first.one, others.sums, 0
            while number < 64:
                if left < 32:
                    held = (held & ((1 << left) - 1)) << 64 | int.from_bytes(padded[at : at + 8])
                    left, at = left + 64, at + 8
                window = held >> (left - 16) & 0xFFFF
                if number == 0:
                    entry, number = one[window] & 255, 1
                else:
                    entry = sums[window] or others.several(window)
                    if number + (entry >> 8 & 255) >= 64:  # one of them ends the block
                        entry = others.one[window]
                    number = 64 if entry >> 16 else number + (entry >> 8)
                if not entry:
                    return False
                left -= entry & 255
            if 8 * at - left > limit:
                return False
    return True


_KINDS: dict[str, Callable[[bytes], bool | None]] = {"image/jpeg": _jpeg, "image/png": _png}
