"""One stage for all scenarios; each gets an empty world on it."""

from collections.abc import Iterator

import pytest
from stage import Stage, stage


@pytest.fixture(scope="module")
def servers() -> Iterator[Stage]:
    with stage() as found:
        yield found
