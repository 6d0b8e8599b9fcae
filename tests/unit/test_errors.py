"""The error tree: it matches its drawing, and each error has a stable code."""

import inspect
from collections.abc import Iterator

import pytest
from seedance import errors
from seedance.errors import MediaError, SeedanceError

TREE = [thing for thing in vars(errors).values() if inspect.isclass(thing) and issubclass(thing, SeedanceError)]


def test_every_error_has_a_unique_code() -> None:
    codes = [thing.code for thing in TREE if "code" in vars(thing)]  # others have their kind's
    assert len(set(codes)) == len(codes)
    assert all(code.isascii() and code == code.upper() and code.replace("_", "").isalpha() for code in codes)


def test_the_drawn_tree_is_the_real_one() -> None:
    def drawn(kind: type[SeedanceError], indent: str = "") -> Iterator[str]:
        children = [thing for thing in TREE if kind in thing.__bases__]
        for child in children:
            last = child is children[-1]
            yield indent + ("└── " if last else "├── ") + child.__name__
            yield from drawn(child, indent + ("    " if last else "│   "))

    lines = (errors.__doc__ or "").splitlines()
    first = lines.index("SeedanceError") + 1
    picture = [line.partition("  " if "──" not in line else "\0")[0] for line in lines[first:]]
    for line, expected in zip(picture, drawn(SeedanceError), strict=False):
        assert line.startswith(f"{expected} ")
    assert len([line for line in lines if "── " in line]) == len(TREE) - 1


@pytest.mark.parametrize(
    ("url", "kept"),
    [("https://h/a.mp4?X-Amz-Signature=secret", "https://h/a.mp4"), ("https://h/a.mp4", "https://h/a.mp4")],
)
def test_a_media_error_keeps_no_signature(url: str, kept: str) -> None:
    assert MediaError("no", url=url).url == kept
