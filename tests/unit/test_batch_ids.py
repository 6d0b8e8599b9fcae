"""Ids of batches and their jobs: the same input gives the same id, and each id is valid where it is used."""

import re

import pytest
from seedance.jobs.job import api_job_id, batch_id, batch_job_id, upload_job_id
from seedance.provider.matching import named_job
from seedance.provider.payloads import history_row

EXECUTION_NAME = re.compile(r"[A-Za-z0-9-]{1,80}")


def test_the_same_event_gives_the_same_batch_and_the_same_row_the_same_job() -> None:
    assert batch_id("b", "batches/a.csv", "v1") == batch_id("b", "batches/a.csv", "v1")
    assert batch_job_id("batch-1", 7) == batch_job_id("batch-1", 7)


def test_any_difference_gives_another_id() -> None:
    where = [("b", "batches/a.csv", "v1"), ("b", "batches/a.csv", "v2"), ("b", "batches/a.csvv", "1"), ("bb", "a", "v")]
    assert len({batch_id(*one) for one in where}) == len(where)
    jobs = {batch_job_id(batch, row) for batch in ("batch-1", "batch-11") for row in range(1, 1001)}
    assert len(jobs) == 2000
    assert upload_job_id("b", "k", "v")[3:] == batch_id("b", "k", "v")[6:]  # only the prefix differs
    assert upload_job_id("b", "k", "v") != batch_id("b", "k", "v")


def test_a_batch_and_a_job_can_name_an_execution() -> None:
    batch = batch_id("b", "batches/größe.csv", "v1")
    assert EXECUTION_NAME.fullmatch(batch)
    assert EXECUTION_NAME.fullmatch(batch_job_id(batch, 100_000))


@pytest.mark.parametrize("job_id", [upload_job_id("b", "k", "v"), api_job_id("c", "k"), batch_job_id("batch-1", 1)])
def test_every_kind_of_job_id_is_recognised_in_the_providers_history(job_id: str) -> None:
    link = f"https://s3.example/a.jpg?response-content-disposition=inline%3B%20filename%3D%22{job_id}%22&X-Amz-Date=1"
    row = history_row({"request_id": "r", "model_status": "COMPLETED", "request_body": {"image_url": link}})
    assert named_job(row) == job_id
