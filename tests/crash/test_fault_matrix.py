"""Every fault of the stand-in at every stage, once; `make reliability` also lets each last for hours.

`make test` runs a sample, because a case takes a second.
"""

import faults
import pytest
from stage import Stage

pytestmark = [pytest.mark.hostile(kind="answer"), pytest.mark.sampled(24)]


@pytest.mark.parametrize("meeting", [one for one in faults.meetings() if not one.lasting], ids=str)
def test_a_fault_neither_loses_a_job_nor_buys_it_twice(servers: Stage, meeting: faults.Meeting) -> None:
    _, violations = faults.judge(servers, meeting)
    assert violations == []
