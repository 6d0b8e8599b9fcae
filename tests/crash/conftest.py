"""One stage for all the plays; each gets an empty world on it."""

from collections.abc import Iterator

import pytest
from stage import Stage, stage


@pytest.fixture(scope="module")
def servers() -> Iterator[Stage]:
    with stage() as found:
        yield found
