"""Random histories with a fixed seed; the command plays more of them."""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from interleavings import histories
from stage import Stage

# Minutes on a busy machine: `make soak` and `make reliability` run it.
pytestmark = pytest.mark.soak

FEW = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


def test_no_history_breaks_the_law_of_money(servers: Stage) -> None:
    run_state_machine_as_test(histories(servers), settings=FEW)
