"""The seams of the source: where a job is built, which use case is part of another, and what has a type."""

import ast
from collections import Counter
from typing import get_type_hints

import pytest
from seedance.batches.record import BatchRecord
from seedance.batches.store import BatchChanges
from seedance.jobs.job import Job
from seedance.jobs.store import JobChanges
from test_house_rules import USE_CASES, ours

PARTS = {"intake": {"submit"}, "redriving": {"announce"}}
"""The use cases that have another as a part. None imports one for its helpers."""

UNTYPED = 15
"""The most places with ``dict[str, Any]``: JSON from others before it is checked, and values of which each has the type
of its own field."""


@pytest.mark.parametrize(("changes", "record"), [(JobChanges, Job), (BatchChanges, BatchRecord)])
def test_what_a_write_may_change_has_the_types_of_the_record(changes: type, record: type) -> None:
    types = get_type_hints(record)
    assert {name: types.get(name) for name in get_type_hints(changes)} == get_type_hints(changes)


def test_a_write_can_change_neither_the_state_nor_the_key() -> None:
    assert not {"job_id", "state", "entered", "past_reasons"} & set(get_type_hints(JobChanges))
    assert not {"batch_id", "standing"} & set(get_type_hints(BatchChanges))


def test_jobs_are_built_in_one_module(layer: dict[str, ast.Module]) -> None:
    built = {
        name
        for name, tree in layer.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Job", "job.Job")
    }
    assert built == {"jobs.creation"}


def test_a_use_case_imports_another_only_as_a_part(layer: dict[str, ast.Module]) -> None:
    found = {name: ours(layer[name], layer) & USE_CASES - {name} for name in USE_CASES}
    assert {name: others for name, others in found.items() if others} == PARTS


def test_few_dicts_have_no_type(layer: dict[str, ast.Module]) -> None:
    found = Counter(name for name, tree in layer.items() for node in ast.walk(tree) if _is_untyped(node))
    assert found.total() <= UNTYPED, found


def _is_untyped(node: ast.AST) -> bool:
    return isinstance(node, ast.Subscript) and ast.unparse(node) == "dict[str, Any]"
