"""The list of calls that template.yaml's policies are compared with has all calls of the functions, and no others.

That it has all is also checked wherever the tests run a function (``integration/conftest.py``, ``stage.py``).
"""

import calls
import calls_to_aws
import pytest
from stage import Stage


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_the_list_has_exactly_the_calls_that_the_flows_make(servers: Stage) -> None:
    assert calls.record(servers) == calls_to_aws.committed(), "run: make calls"
