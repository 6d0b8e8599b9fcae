"""Rounds of reconcile: what the code assumes about its schedule, and about the expiry of items."""

import ast
import re
from typing import Any

from seedance.jobs.in_flight import SETTLED_SECONDS
from seedance.reconcile import LEASE_SECONDS


def test_a_killed_round_never_stops_the_next_scheduled_one(functions: dict[str, Any]) -> None:
    reconcile = functions["reconcile"]
    (schedule,) = (event["Properties"]["Schedule"] for event in reconcile["Events"].values())
    minutes = int(re.fullmatch(r"rate\((\d+) minutes\)", schedule)[1])  # type: ignore[index]
    assert reconcile["Timeout"] == LEASE_SECONDS < 60 * minutes
    assert 60 * minutes > SETTLED_SECONDS  # so that the next round can confirm a reading


def test_nothing_depends_on_the_moment_at_which_an_item_expires(layer: dict[str, ast.Module]) -> None:
    """DynamoDB deletes expired items within days, not on time."""
    for name, tree in layer.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Compare):
                assert "expires_at" not in ast.unparse(node), f"{name}: line {node.lineno}"
