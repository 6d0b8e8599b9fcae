"""Response bodies: too long, too deep or too many values is detected early, before it costs time or memory."""

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seedance.provider import bodies
from seedance.provider.bodies import DEEPEST, LONGEST_NUMBER, MOST_VALUES, Unreadable

gzipped = partial(gzip.compress, mtime=0)
"""Without the time, so that the ids of the tests are the same in every process."""

pytestmark = pytest.mark.hostile(kind="answer")

MANY = 200_000


def unpacked(chunks: list[bytes], encoding: str = "", limit: int = 1000) -> bytes:
    return b"".join(bodies.decoded(chunks, encoding, limit))


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("", bytes),
        ("identity", bytes),
        ("gzip", gzip.compress),
        ("GZip ", gzip.compress),
        ("x-gzip", gzip.compress),
        ("deflate", zlib.compress),
    ],
)
def test_a_body_is_unpacked_from_chunks_of_any_size(encoding: str, pack: Any) -> None:
    packed = pack(b"a shoe turns")
    assert unpacked([packed], encoding) == b"a shoe turns"
    assert unpacked([packed[at : at + 1] for at in range(len(packed))], encoding) == b"a shoe turns"
    assert unpacked(
        [packed, b"", b"what comes after the end" if encoding not in ("", "identity") else b""], encoding
    ) == (b"a shoe turns")


def raw_deflate(body: bytes) -> bytes:
    """Without zlib's header, as some servers send it."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "packed", "words"),
    [
        ("gzip", b"no gzip", "it is not valid gzip"),
        ("gzip", b"\x1f\x8b\x08 no gzip", "it is not valid gzip"),
        ("gzip", gzipped(b"a shoe")[:-1], "its gzip data is cut off"),
        ("gzip", gzipped(b"a shoe") + gzipped(b" turns")[:-9], "its gzip data is cut off"),
        ("deflate", b"\xff", "it is not valid deflate"),
        ("deflate", zlib.compress(b"a shoe")[:-5], "its deflate data is cut off"),
        ("br", b"x", "it is compressed with br, which was not requested"),
        ("zstd", b"\x28\xb5\x2f\xfd....", "compressed with zstd"),
        ("compress", b"\x1f\x9d\x90....", "compressed with compress"),
        ("gzip, br", b"x", "it is not valid gzip"),
        ("x" * 5000, b"x", r"compressed with x{40}, which"),
    ],
)
@pytest.mark.hostile(kind="answer")
def test_a_body_that_cannot_be_unpacked_is_an_error(encoding: str, packed: bytes, words: str) -> None:
    with pytest.raises(Unreadable, match=words):
        unpacked([packed], encoding)


SAID = b'{"request_id": "req-1"}'
FILM = bytes.fromhex("0000001866747970") + b"isom, and so on"


@pytest.mark.hostile(kind="answer")
@pytest.mark.parametrize("body", [SAID, b" \r\n[1]", b"\xef\xbb\xbf{}", b"<html>", FILM, b"\0\0\0\x08wide" + FILM])
@pytest.mark.parametrize(
    "encoding",
    ["", "identity", "none", "aws-chunked", "utf-8", "UTF-8", "gzip", "x-gzip", "deflate", "br", "zstd", "a, b"],
)
def test_a_body_that_is_not_compressed_is_read_whatever_its_header_says(encoding: str, body: bytes) -> None:
    assert unpacked([body], encoding) == body
    assert unpacked([body[at : at + 1] for at in range(len(body))], encoding) == body


@pytest.mark.hostile(kind="answer")
@pytest.mark.parametrize("encoding", ["", "identity", "gzip", "none", "br"])
@pytest.mark.parametrize(
    "packed",
    [
        gzipped(SAID),
        gzipped(SAID[:7]) + gzipped(SAID[7:]),
        gzipped(b"") * 20 + gzipped(SAID),
        gzipped(gzipped(SAID)),
        gzipped(SAID) + b"bytes behind it",
        gzipped(SAID) + b"\x1f\x8b",
    ],
    ids=["once", "in members", "after empty members", "twice", "with bytes behind it", "with half a mark behind it"],
)
def test_gzip_is_unpacked_whatever_the_header_says(encoding: str, packed: bytes) -> None:
    assert unpacked([packed], encoding) == SAID
    assert unpacked([packed[at : at + 1] for at in range(len(packed))], encoding) == SAID


@pytest.mark.hostile(kind="answer")
@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("deflate", raw_deflate(SAID)),
        ("deflate, gzip", gzipped(zlib.compress(SAID))),
        ("gzip, deflate", zlib.compress(gzipped(SAID))),
        ("identity, deflate", zlib.compress(SAID)),
    ],
)
def test_deflate_is_unpacked_with_and_without_a_header(encoding: str, packed: bytes) -> None:
    assert unpacked([packed], encoding) == SAID


@pytest.mark.hostile(kind="answer")
@pytest.mark.parametrize("times", [3, 4, 10])
def test_a_body_that_is_compressed_again_and_again_is_an_error(times: int) -> None:
    body = SAID
    for _ in range(times):
        body = gzipped(body)
    with pytest.raises(Unreadable, match="compressed more than 2 times"):
        unpacked([body], ", ".join(["gzip"] * times))


@pytest.mark.hostile(kind="answer")
def test_compressed_data_without_contents_does_not_count_as_no_data() -> None:
    """Empty blocks, 5 bytes each: without a limit on the packed bytes, they would be read for as long as they come."""
    head = gzipped(b"", mtime=0)[:10]
    asked: list[int] = []

    def endless() -> Iterator[bytes]:
        yield head
        while True:
            asked.append(1)
            yield b"\0\0\0\xff\xff" * 20

    with pytest.raises(Unreadable, match="larger than"):
        list(bodies.decoded(endless(), "gzip", 1000))
    assert len(asked) == 10


@pytest.mark.hostile(kind="answer")
def test_a_bomb_in_a_bomb_is_stopped_at_the_limit() -> None:
    """A thousandth of a thousandth: 2 KB for 2 GB."""
    packer, inner = zlib.compressobj(9, wbits=31), bytearray()
    for _ in range(300):
        inner += packer.compress(bytes(1_000_000))
    bomb = gzip.compress(bytes(inner) + packer.flush(), 9)
    assert len(bomb) < 5000
    tracemalloc.start()
    with pytest.raises(Unreadable, match="larger than 1 MB"):
        unpacked([bomb], "gzip, gzip", 1_000_000)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4_000_000


@pytest.mark.parametrize("size", [999, 1000])
def test_a_body_up_to_the_limit_is_read_in_full(size: int) -> None:
    assert len(unpacked([b"x" * size])) == size


def test_an_endless_body_is_cut_off_at_the_limit() -> None:
    asked: list[int] = []

    def endless() -> Iterator[bytes]:
        while True:
            asked.append(1)
            yield b"x" * 100

    with pytest.raises(Unreadable, match=r"larger than 0\.001 MB"):
        list(bodies.decoded(endless(), "", 1000))
    assert len(asked) == 11


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_decompression_bomb_is_stopped_at_the_limit(encoding: str) -> None:
    packer = zlib.compressobj(wbits=31 if encoding == "gzip" else 15)
    bomb = b"".join(packer.compress(bytes(1_000_000)) for _ in range(200)) + packer.flush()
    assert len(bomb) < 250_000  # for 200 MB
    tracemalloc.start()
    with pytest.raises(Unreadable):
        unpacked([bomb], encoding, 1_000_000)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 3_000_000


@pytest.mark.parametrize(
    "text",
    [
        "[" * MANY,
        "[" * MANY + "]" * MANY,
        '{"a":' * MANY + "1" + "}" * MANY,
        '{"status": "COMPLETED", "output": ' + "[" * (DEEPEST + 1) + "]" * (DEEPEST + 1) + "}",
        "[" * (DEEPEST + 1) + "]" * (DEEPEST + 1),
        '"' + "[" * 100 + '", ' + "[" * MANY,
        '["\\"[",' + "[" * 100,
    ],
)
def test_deep_nesting_is_detected_before_parsing(text: str) -> None:
    with pytest.raises(Unreadable):
        bodies.parsed(text.encode())


def test_brackets_in_strings_or_side_by_side_do_not_count_as_nesting() -> None:
    value = {"prompt": "[" * 5000 + '\\"{', "rows": [[]] * 500, "deep": json.loads("[" * 60 + "]" * 60)}
    assert bodies.parsed(json.dumps(value).encode()) == value


@pytest.mark.parametrize("text", ["[" + "0," * MOST_VALUES + "0]", "[" + "[]," * MOST_VALUES + "0]"])
def test_too_many_values_are_not_parsed(text: str) -> None:
    with pytest.raises(Unreadable, match="values"):
        bodies.parsed(text.encode())


@pytest.mark.parametrize(
    "escapes", ['"' + '\\"[' * MANY, '"' + '\\"[' * MANY + "\\", '"\\' * MANY + "[" * 100, '"' * MANY + "[" * 100]
)
def test_many_unclosed_quotes_take_bounded_time(escapes: str) -> None:
    with pytest.raises(Unreadable):
        bodies.parsed(escapes.encode())


@pytest.mark.parametrize(
    "number",
    ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" * (LONGEST_NUMBER + 1), "9" * 5000, "-" + "9" * 5000],
)
def test_a_number_that_cannot_be_stored_loses_only_itself(number: str) -> None:
    assert bodies.parsed(f'{{"cost": {number}, "output": "x"}}'.encode()) == {"cost": None, "output": "x"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'"half \ud83d an emoji"', "half ? an emoji"),
        (r'["\udc00", {"\ud800": "\uDBFF!"}]', ["?", {"?": "?!"}]),
        (r'"\ud83d\ude00"', "\N{GRINNING FACE}"),
        (r'"\\ud83d"', "\\ud83d"),
    ],
)
def test_half_an_emoji_becomes_a_question_mark(text: str, value: Any) -> None:
    assert bodies.parsed(text.encode()) == value


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"<html>", b"1 2", b"\x00\x00"])
def test_a_body_that_is_not_json_is_an_error(body: bytes) -> None:
    with pytest.raises(Unreadable, match="not JSON"):
        bodies.parsed(body)


LETTERS = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | LETTERS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(LETTERS, inner, max_size=5),
    max_leaves=30,
)


@given(JSON, st.booleans())
def test_any_json_value_is_read_unchanged(value: Any, ascii_only: bool) -> None:
    assert bodies.parsed(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.binary(max_size=300))
def test_any_bytes_are_json_or_unreadable(body: bytes) -> None:
    try:
        bodies.parsed(body)
    except Unreadable as error:
        assert str(error).startswith("it ")
