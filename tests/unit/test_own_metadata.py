"""An upload's own metadata: what of it a job keeps, and that it costs no upload its video."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seedance.jobs import labels
from seedance.jobs.job import Job, State
from seedance.jobs.requests import Defaults, own_metadata, upload_request
from seedance.submit import Submit

DEFAULTS = Defaults(model="seedance-1.0-pro-fast", prompt="The camera moves slowly.", transport="v2")


@pytest.fixture
def take(world: Any, submit: Submit) -> Callable[[dict[str, Any]], None]:
    """Process one message. The provider accepts every request."""

    def process(content: dict[str, Any]) -> None:
        world.wire.will(httpx.Response(200, json={"request_id": "req-9", "status": "QUEUED"}))
        world.intake(submit).message(json.dumps(content))
        world.wire.forget()

    return process


def the_job(world: Any) -> Job:
    items = world.aws["dynamodb"].scan(TableName="jobs-of-tests")["Items"]
    (job_id,) = (item["job_id"]["S"] for item in items if "state" in item)
    return world.job(job_id)  # type: ignore[no-any-return]


OWN: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "none": ({"prompt": "It turns.", "aspect-ratio": "1:1", "video-duration": "5"}, {}),
    "any name that is no option": ({"sku": "S-1", "Order-Id": "7"}, {"sku": "S-1", "order-id": "7"}),
    "beside options": ({"prompt": "It turns.", "sku": "S-1", "duration": "5"}, {"sku": "S-1"}),
    "unknown, but marked as ours": ({"video-codec": "h264"}, {}),
    "what programs write about files": (
        {
            "mtime": "1.5",
            "mode": "33188",
            "uid": "501",
            "s3cmd-attrs": "uname:joe",
            "file-owner": "0",
            "md5chksum": "x",
        },
        {},
    ),
    "the same names, marked as own": (
        {"metadata-mode": "a", "metadata.seed": "b", "Metadata-Model": "c"},
        {"mode": "a", "seed": "b", "model": "c"},
    ),
    "an object": (
        {"metadata": '{"SKU": "S-1", "size": 42.50, "new": true, "colour": null}'},
        {"SKU": "S-1", "size": "42.5", "new": "true", "colour": ""},
    ),
    "no object": ({"metadata": "spring"}, {"metadata": "spring"}),
    "no valid object": ({"metadata": '{"sku": S-1}'}, {"metadata": '{"sku": S-1}'}),
    "a name that is given twice": ({"metadata": '{"a": "1", "a": "2"}'}, {"metadata": '{"a": "1", "a": "2"}'}),
    "encoded": ({"farbe": "=?utf-8?b?Z3LDvG4=?="}, {"farbe": "grün"}),
    "empty": ({"sku": ""}, {"sku": ""}),
    "a camera's model": ({"make": "Apple", "model": "iPhone 15"}, {"make": "Apple"}),
}


@pytest.mark.parametrize("case", OWN)
def test_names_that_are_no_option_are_the_callers_own(case: str) -> None:
    pairs, own = OWN[case]
    assert own_metadata(pairs) == (own, [])


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize(
    ("pairs", "kept", "left_out"),
    [
        ({"sku": "x" * 257, "order": "7"}, {"order": "7"}, ["sku"]),
        ({"x" * 65: "a"}, {}, ["x" * 65]),
        ({"sku": "=?utf-8?q?a=00b?="}, {}, ["sku"]),
        ({"sku": "=?nonsense?b?4pyM?="}, {}, ["sku"]),
        ({"sku": "a", "metadata-sku": "b"}, {"sku": "b"}, ["sku"]),
        ({"metadata": '{"sku": {"a": [1]}, "\\u0000": "x"}'}, {"sku": '{"a": [1]}'}, ["\0"]),
        ({"metadata": '{"sku": "' + "x" * 300 + '"}'}, {}, ["sku"]),
    ],
)
def test_a_pair_that_a_job_cannot_keep_is_left_out(
    pairs: dict[str, str], kept: dict[str, str], left_out: list[str]
) -> None:
    assert own_metadata(pairs) == (kept, left_out)


@pytest.mark.hostile(kind="input")
@given(st.dictionaries(st.text(max_size=30), st.text(max_size=80), max_size=8))
def test_own_metadata_never_refuses_an_upload(pairs: dict[str, str]) -> None:
    kept, _ = own_metadata(pairs)
    assert labels.metadata(kept) == kept


@pytest.mark.parametrize("name", ["metadata", "metadata-duraton", "metadata.promt", "Metadata-Mode"])
def test_own_names_are_never_mistaken_for_misspelt_options(name: str) -> None:
    assert upload_request({name: "x"}, DEFAULTS) == upload_request({}, DEFAULTS)


GIVEN = {"sku": "S-1", "metadata-mode": "red", "mtime": "1.5", "prompt": "It turns."}


@pytest.mark.parametrize("broken", [False, True])
def test_a_job_keeps_the_uploads_own_metadata(world: Any, take: Any, png: bytes, broken: bool) -> None:
    take(world.upload("uploads/x.png", b"%PDF-1.7" if broken else png, **GIVEN))
    job = the_job(world)
    assert (job.state, job.metadata) == (State.REJECTED if broken else State.QUEUED, {"sku": "S-1", "mode": "red"})
    assert [told["metadata"] for told in world.notified()] == ([job.metadata] if broken else [])


def test_a_refused_option_does_not_lose_the_metadata(world: Any, take: Any, png: bytes) -> None:
    take(world.upload("uploads/x.png", png, sku="S-1", duraton="5"))
    assert the_job(world).state is State.REJECTED
    assert world.notified()[0]["metadata"] == {"sku": "S-1", "duraton": "5"}


def test_metadata_that_does_not_fit_is_noted_and_the_video_is_made(world: Any, take: Any, png: bytes) -> None:
    take(world.upload("uploads/x.png", png, sku="S-1", description="x" * 257))
    job = the_job(world)
    assert (job.state, job.metadata) == (State.QUEUED, {"sku": "S-1"})
    assert job.notes[0].startswith("aspect_ratio is")
    assert job.notes[1].startswith("Not kept as metadata: description. There is room for 20 pairs")
