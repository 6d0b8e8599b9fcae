"""Matching lost jobs with requests in the history: our signed link decides; equal values may; people do the rest."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from seedance.jobs import catalogue
from seedance.jobs.job import Job, State
from seedance.provider import matching, payloads
from seedance.provider.matching import Fit
from seedance.provider.payloads import HistoryRow

pytestmark = pytest.mark.hostile(kind="answer")

Make = Callable[..., Job]
ID = "up-0123456789abcdef0123456789abcdef"
OTHER = "up-fedcba9876543210fedcba9876543210"
IMAGE = {"bucket": "example-uploads", "key": "uploads/röd sko.png", "version_id": "v", "content_type": "image/png"}
PATH = "uploads/r%C3%B6d%20sko.png"
HOST = "example-uploads.s3.eu-central-1.amazonaws.com"
NOW = 1_763_600_000.0
HOUR = 3600.0


@pytest.fixture
def lost(make_job: Make) -> Callable[..., Job]:
    """A job whose submit got no response; ``given`` are the requested parameters."""

    def make(given: dict[str, Any] | None = None, model: str = "seedance-pro", **changes: Any) -> Job:
        spec = catalogue.find(model)
        values = {"prompt": "A red shoe turns slowly on a white table.", **(given or {})}
        parameters = catalogue.validate(spec, values, has_image=bool(changes.get("image")))
        job = make_job(State.UNCERTAIN, job_id=ID, model=model, submitted_at=NOW, request_id=None)
        job = replace(job, image=None, parameters=catalogue.seeded(parameters, ID))
        return replace(job, **changes)

    return make


def link(job_id: str = ID, host: str = HOST, path: str = PATH) -> str:
    said = f"response-content-disposition=inline%3B%20filename%3D%22{job_id}%22"
    return f"https://{host}/{path}?{said}&response-content-type=image%2Fpng&X-Amz-Signature=0abc"


def sent(job: Job, **changes: Any) -> dict[str, Any]:
    """The body that the job sends; None omits a value."""
    image_link = (job.image.get("uploaded") or link()) if job.image else None
    body = catalogue.payload(catalogue.find(job.model), job.parameters, job_id=job.job_id, image_link=image_link)
    return {name: value for name, value in {**body, **changes}.items() if value is not None}


def row(body: Any, **fields: Any) -> HistoryRow:
    """A row of the history, as the adapter returns it."""
    said = {"request_id": "req-1", "model_status": "PENDING", "model_name": "seedance-pro", "request_body": body}
    return payloads.history_row({**said, "created_at": "2025-11-20T00:53:20Z", **fields})


# our own link -------------------------------------------------------------------------------------------------


@pytest.mark.hostile(kind="clock")
@pytest.mark.parametrize("hours", [-400 * 24, -24.5, -1, 0, 1, 24.5])
def test_our_own_link_decides_whatever_the_clocks_say(lost: Any, hours: float) -> None:
    job = lost(image=IMAGE)
    shown = replace(row(sent(job)), created_at=NOW + hours * HOUR)
    assert matching.fit(job, shown) is Fit.OURS


@pytest.mark.parametrize("notation", [dict, json.dumps, repr, lambda body: json.dumps(json.dumps(body))])
def test_our_own_link_decides_in_every_encoding(lost: Any, notation: Callable[[Any], Any]) -> None:
    job = lost(image=IMAGE)
    assert matching.fit(job, row(notation(sent(job)))) is Fit.OURS


@pytest.mark.parametrize(
    "ours",
    [
        link(host=f"s3.eu-central-1.amazonaws.com/{IMAGE['bucket']}"),
        link(host=f"127.0.0.1:4566/{IMAGE['bucket']}"),
        link().replace("0abc", "***"),
        link(path="uploads/röd%20sko.png"),
    ],
    ids=["path-style", "local", "masked", "unescaped"],
)
def test_our_own_link_decides_in_every_form(lost: Any, ours: str) -> None:
    job = lost(image=IMAGE)
    assert matching.fit(job, row(sent(job, image_url=ours))) is Fit.OURS


def test_another_jobs_link_rules_out_a_match(lost: Any) -> None:
    job = lost({"seed": 7}, image=IMAGE)
    assert matching.fit(job, row(sent(job, image_url=link(OTHER)))) is Fit.NO


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": f"like {ID}", "seed": 7},
        {"prompt": link(), "seed": 7},
        {"prompt": "a hat", "seed": 7, "image_url": f"https://shop.example/{ID}.png"},
        {"prompt": "a hat", "seed": 7, "image_url": link(host="shop.example")},
        {"prompt": "a hat", "seed": 7, "image_url": "https://shop.example/a.png", "last_frame_url": link()},
    ],
    ids=["prompt", "link in the prompt", "address", "our words on another host", "another field"],
)
def test_naming_the_job_in_another_request_is_no_match(lost: Any, body: dict[str, Any]) -> None:
    job = lost(image=IMAGE)
    assert matching.fit(job, row({**sent(job, image_url=None), **body})) is Fit.NO


@pytest.mark.parametrize(
    "shown", [None, "", "[hidden]", "***", "https://images.segmind.com/copy.png", f"https://{HOST}/{PATH}"]
)
def test_a_link_that_was_hidden_is_a_possible_match(lost: Any, shown: str | None) -> None:
    job = lost({"seed": 7}, image=IMAGE)
    assert matching.fit(job, row(sent(job, image_url=shown))) is Fit.PERHAPS
    assert matching.fit(job, row(sent(job, image_url=shown, seed=8))) is Fit.NO


# without a link of ours ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "changes"),
    [
        ({}, {}),
        ({"image_url": "https://shop.example/a.png"}, {}),
        ({}, {"image": {**IMAGE, "uploaded": "https://images.segmind.com/assets/1.png"}}),
    ],
    ids=["text", "address", "asset upload"],
)
@pytest.mark.parametrize("notation", [dict, json.dumps, repr])
def test_equal_values_match(lost: Any, given: Any, changes: Any, notation: Any) -> None:
    job = lost(given, **changes)
    assert matching.fit(job, row(notation(sent(job, fps=24)))) is Fit.ALIKE
    assert matching.fit(job, row(notation(sent(job, seed="8")))) is Fit.NO


def test_numbers_and_booleans_may_be_text(lost: Any) -> None:
    job = lost()
    as_text = {name: str(value) for name, value in sent(job).items()}
    assert matching.fit(job, row(as_text)) is Fit.ALIKE


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt", "A blue shoe turns slowly on a white table."),
        ("prompt", "A red shoe"),
        ("duration", 10),
        ("resolution", "1080p"),
        ("aspect_ratio", "9:16"),
        ("camera_fixed", True),
        ("image_url", "https://shop.example/b.png"),
        ("last_frame_url", "https://shop.example/a.png"),
    ],
)
def test_a_different_value_is_a_different_request(lost: Any, name: str, value: Any) -> None:
    job = lost({"seed": 7, "image_url": "https://shop.example/a.png"})
    assert matching.fit(job, row(sent(job, **{name: value}))) is Fit.NO


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt", None),
        ("prompt", "A red shoe turns slowly on…"),
        ("prompt", "A red shoe turns slowly on a whi"),
        ("prompt", "a red shoe turns slowly on a white table"),
        ("prompt", "A red shoe turns slowly on a white table&#46;"),
        ("prompt", "[redacted]"),
        ("prompt", ["A red shoe turns slowly on a white table."]),
        ("seed", None),
        ("seed", "seven"),
        ("duration", "5s"),
        ("camera_fixed", 0),
        ("image_url", "hidden"),
        ("image_url", "https://images.segmind.com/assets/1.png"),
        ("image_url", None),
        ("last_frame_url", "***"),
    ],
)
def test_an_inconclusive_value_is_a_possible_match(lost: Any, name: str, value: Any) -> None:
    job = lost({"seed": 7, "image_url": "https://shop.example/a.png?v=1"})
    assert matching.fit(job, row(sent(job, **{name: value}))) is Fit.PERHAPS


@pytest.mark.parametrize(
    "body", [None, "", {}, "{}", 5, [], "{'prompt': 'A red sh", '{"prompt": "A red sh', "<hidden>"]
)
def test_an_inconclusive_body_is_a_possible_match(lost: Any, body: Any) -> None:
    for job in (lost(), lost(image=IMAGE)):
        assert matching.fit(job, row(body)) is Fit.PERHAPS
        assert matching.fit(job, row(body, created_at=None)) is Fit.PERHAPS


def test_a_seed_derived_from_the_job_is_unique(lost: Any) -> None:
    job = lost()
    assert matching.fit(job, row(sent(job, prompt="A boot."))) is Fit.PERHAPS
    fixed = lost({"seed": 7})
    assert matching.fit(fixed, row(sent(fixed, prompt="A boot."))) is Fit.NO


def test_lists_of_addresses_are_compared(lost: Any) -> None:
    pictures = ["https://shop.example/1.png", "https://shop.example/2.png"]
    job = lost({"reference_images": pictures, "seed": 7}, model="seedance-2.0-mini")

    def fit(shown: Any) -> Fit:
        return matching.fit(job, row(sent(job, reference_images=shown), model_name=job.model))

    assert fit(pictures) is Fit.ALIKE
    assert fit(pictures[::-1]) is Fit.NO
    assert fit(pictures[:1]) is Fit.NO
    assert fit(["***", pictures[1]]) is Fit.PERHAPS
    assert fit(str(pictures)) is Fit.PERHAPS
    assert fit(None) is Fit.PERHAPS


@pytest.mark.hostile(kind="clock")
@pytest.mark.parametrize(("hours", "found"), [(-24.1, Fit.NO), (-23.9, Fit.ALIKE), (0, Fit.ALIKE), (40, Fit.ALIKE)])
def test_a_request_from_days_before_the_submit_does_not_match(lost: Any, hours: float, found: Fit) -> None:
    job = lost()
    assert matching.fit(job, replace(row(sent(job)), created_at=NOW + hours * HOUR)) is found


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"model_name": "seedance-pro-next"}, Fit.NO),  # the history matches parts of names
        ({"model_name": "seedance-1.5-pro"}, Fit.NO),
        ({"model_name": "Seedance 1.0 Pro"}, Fit.ALIKE),  # not in the form of a model's name: says nothing
        ({"model_name": None}, Fit.ALIKE),
        ({"request_id": None}, Fit.ALIKE),
        ({"request_id": "given-up"}, Fit.NO),
    ],
)
def test_the_other_fields_of_a_row_are_compared(lost: Any, fields: dict[str, Any], found: Fit) -> None:
    job = lost(earlier_request_ids=["given-up"])
    assert matching.fit(job, row(sent(job), **fields)) is found


@pytest.mark.parametrize("shown", [{}, {"first_frame_url": ""}, {"first_frame_url": None}])
def test_an_empty_first_image_may_be_omitted_in_the_history(lost: Any, shown: dict[str, Any]) -> None:
    job = lost(model="seedance-2.0-mini")
    body = {name: value for name, value in sent(job).items() if name != "first_frame_url"}
    assert sent(job)["first_frame_url"] == ""
    assert matching.fit(job, row({**body, **shown}, model_name=job.model)) is Fit.ALIKE
    sample = row({**body, "first_frame_url": "https://images.example/a.jpg"}, model_name=job.model)
    assert matching.fit(job, sample) is Fit.PERHAPS  # its seed is the job's own


def test_a_known_id_alone_decides(lost: Any) -> None:
    job = lost(image=IMAGE, request_id="req-1")
    assert matching.fit(job, row(None)) is Fit.OURS
    assert matching.fit(job, row(sent(job), request_id="req-2")) is Fit.NO


# rows of one request -------------------------------------------------------------------------------------------

VIDEO, FRAME = "https://images.segmind.com/v.mp4", "https://images.segmind.com/frame.png"


@pytest.mark.parametrize("outputs", [(VIDEO, FRAME), (FRAME, VIDEO)])
def test_rows_of_one_request_are_merged(lost: Any, outputs: tuple[str, ...]) -> None:
    rows = [row({"seed": 7}, generation_url=url, model_status="COMPLETED", credits_deduction=0.4) for url in outputs]
    (one,) = payloads.merged([*rows])
    assert (one.url, one.cost_usd, one.body, one.request_id) == (VIDEO, 0.4, {"seed": 7}, "req-1")


def test_two_videos_of_one_request_give_no_url() -> None:
    rows = [row({}, generation_url=url, model_status="COMPLETED") for url in (VIDEO, VIDEO.replace("v.", "w."))]
    (one,) = payloads.merged(rows)
    assert (one.url, one.status) == (None, "COMPLETED")


def test_rows_without_an_id_are_not_merged() -> None:
    assert len(payloads.merged([row({}, request_id=None), row({}, request_id=None), row({})])) == 3


def test_only_our_own_link_names_a_job(lost: Any) -> None:
    job = lost(image=IMAGE)
    assert matching.named_job(row(sent(job))) == ID
    assert matching.named_job(row({"prompt": link(), "image_url": f"https://shop.example/{ID}.png"})) is None
    assert matching.named_job(row(None)) is None
