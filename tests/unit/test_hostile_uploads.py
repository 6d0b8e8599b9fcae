"""Hostile messages in the queue, keys and metadata of uploads: no message stops another, and each upload gets a job.

A message that no service of AWS sends (by hand, or garbled) comes back and ends as a dead letter.
"""

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import quote_plus

import aws_limits
import pytest
from empty_table import TABLE, create_table
from footage import small_png
from hostile_values import DEEP, TEXTS, VALUES, WRONG_TYPES, nested
from hypothesis import given
from hypothesis import strategies as st
from invoking import CONTEXT, as_from_lambda, load
from moto import mock_aws
from seedance.aws.job_table import JobTable
from seedance.bounds import LONGEST_MESSAGE
from seedance.errors import InvalidRequest
from seedance.intake import Intake
from seedance.jobs.job import Job, State
from seedance.jobs.requests import Defaults, upload_request
from seedance.jobs.store import JobStore
from seedance.media.buckets import Media

pytestmark = pytest.mark.hostile(kind="input", risk=("5xx", "lost", "paid twice"))

UPLOADS, VIDEOS = "example-uploads", "example-videos"
DEFAULTS = Defaults("seedance-1.0-pro-fast", "The camera moves slowly.", "v2")
KNOWN = "up-0123456789abcdef0123456789abcdef"


class Submitting:
    """The function, on moto, with the step that would buy replaced: it only notes the jobs."""

    def __init__(self, app: ModuleType, clients: dict[str, Any]) -> None:
        self._app = app
        self.s3 = clients["s3"]
        self.made = 0
        """Jobs that were written."""
        self.store = JobStore(JobTable(TABLE, clients["dynamodb"]))
        self.jobs: list[Job] = []
        self.batches: list[Any] = []
        one = SimpleNamespace(advance=lambda job, turn=None: self.jobs.append(job))
        many = SimpleNamespace(start=lambda upload: self.batches.append(upload) or "batch-1")
        at: Any = Intake(self.store, Media(VIDEOS, clients["s3"]), many, one, DEFAULTS, UPLOADS)
        app.intake = lambda: at  # type: ignore[attr-defined]

    def deliver(self, *bodies: Any) -> list[int]:
        """Deliver messages in one event. Returns the positions of those that come back."""
        records = [{"messageId": str(number), "body": body} for number, body in enumerate(bodies)]
        answer = as_from_lambda(self._app.handler({"Records": records}, CONTEXT))
        return [int(failed["itemIdentifier"]) for failed in answer["batchItemFailures"]]


@pytest.fixture(scope="module")
def submitting(clients: dict[str, Any], template: dict[str, Any], root: Path) -> Iterator[Submitting]:
    app = load(root, "submit")
    with mock_aws(), aws_limits.enforced():
        where = {"CreateBucketConfiguration": {"LocationConstraint": clients["s3"].meta.region_name}}
        clients["s3"].create_bucket(Bucket=UPLOADS, **where)
        create_table(clients, template)
        made = Submitting(app, clients)

        def count(model: Any, **_: Any) -> None:
            made.made += model.name == "PutItem"

        clients["dynamodb"].meta.events.register("provide-client-params", count, unique_id="count")
        yield made
        clients["dynamodb"].meta.events.unregister("provide-client-params", unique_id="count")


@pytest.fixture(autouse=True)
def forget(submitting: Submitting) -> None:
    submitting.jobs.clear()
    submitting.batches.clear()


def notice(key: Any = "uploads/a.png", **changes: Any) -> dict[str, Any]:
    """A record of an S3 notification."""
    thing = {"key": key, "size": 5, "sequencer": "0066", **changes}
    s3 = {"bucket": {"name": UPLOADS}, "object": thing}
    return {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": s3}


def changed(path: str, value: Any) -> dict[str, Any]:
    """A notification in which one value is another."""
    message: dict[str, Any] = {"Records": [notice()]}
    at: Any = message
    *steps, last = path.split(".")
    for step in steps:
        at = at[int(step)] if step.isdigit() else at[step]
    at[int(last) if last.isdigit() else last] = value
    return message


# messages -------------------------------------------------------------------------------------------------------------

GARBAGE: dict[str, Any] = {
    "empty": "",
    "no JSON": "x",
    "NUL": "\x00",
    "a half": "\ud800",
    "deep": "[" * DEEP,
    "whole deep": nested(DEEP),
    "deep and whole": nested(500),
    "null": "null",
    "a number": "5",
    "a text": '"job_id"',
    "a list": '["job_id"]',
    "no records": "{}",
    "records of others": json.dumps({"Records": [{"eventSource": "aws:ses", "eventName": "x"}]}),
    "not even text": None,
    "a list of messages": [],
    **{f"job {kind}": json.dumps({"job_id": value}) for kind, value in WRONG_TYPES.items()},
    **{f"job {kind}": json.dumps({"job_id": text}) for kind, text in TEXTS.items()},
    **{
        f"records {kind}": json.dumps({"Records": value})
        for kind, value in WRONG_TYPES.items()
        if value not in ([], {}, "")
    },
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_comes_back_and_stops_no_other_message(submitting: Submitting, name: str) -> None:
    before = submitting.made
    good = json.dumps({"Records": [notice(f"uploads/{quote_plus(name)}.png")]})
    assert submitting.deliver(GARBAGE[name], good, GARBAGE[name]) == [0, 2]
    assert [job.state for job in submitting.jobs] == [State.REJECTED]  # the good one, which is not in the bucket
    assert submitting.made == before + 1


@pytest.mark.parametrize("kind", WRONG_TYPES)
@pytest.mark.parametrize(
    "path",
    [
        *("Records.0", "Records.0.eventSource", "Records.0.eventName", "Records.0.s3", "Records.0.s3.bucket"),
        *("Records.0.s3.bucket.name", "Records.0.s3.object", "Records.0.s3.object.key", "Records.0.s3.object.size"),
        *("Records.0.s3.object.sequencer", "Records.0.s3.object.versionId"),
    ],
)
def test_a_notification_with_a_hostile_value_buys_nothing(submitting: Submitting, path: str, kind: str) -> None:
    back = submitting.deliver(json.dumps(changed(path, WRONG_TYPES[kind])))
    assert back in ([], [0])
    for job in submitting.jobs:  # nothing is in the bucket
        stored = submitting.store.get(job.job_id)
        assert stored is not None
        assert (job.state, stored.state) == (State.REJECTED, State.REJECTED)


@pytest.mark.parametrize("kind", WRONG_TYPES)
def test_a_turn_may_be_anything(submitting: Submitting, kind: str) -> None:
    submitting.store.create(
        Job(job_id=KNOWN, state=State.HELD, source="api", name="a", folder="api", model="m", transport="v2")
    )
    assert submitting.deliver(json.dumps({"job_id": KNOWN, "turn": WRONG_TYPES[kind]})) == []
    assert [job.job_id for job in submitting.jobs] == [KNOWN]


# keys -----------------------------------------------------------------------------------------------------------------

KEYS = {
    **TEXTS,
    "dots": "a/../b.png",
    "a dot": "./a.png",
    "only slashes": "////",
    "1016 letters": "x" * 1016,
    "1017 letters": "x" * 1017,
    "wide letters": "é" * 508,
    "a percent sign": "100%.png",
    "a plus sign": "a+b c.png",
    "a lower surrogate in UTF-8": "%ED%B2%80",
    "a folder of ours": "batches/a.csv",
    "a colon": "a:b|c<d>e*.png",
    "a back slash": "a\\..\\b.png",
    "Windows' reserved name": "CON",
    "a wide slash": "a\uff0fb\u2215c",
    "a zero width joiner": "a\u200db",
}


@pytest.mark.parametrize("kind", KEYS)
def test_a_hostile_key_gets_a_job_that_can_be_stored_or_is_no_key(submitting: Submitting, kind: str) -> None:
    key = "uploads/" + KEYS[kind]
    possible = len(key.encode(errors="replace")) <= 1024 and key.isprintable() and "\ud800" not in key
    if possible:
        submitting.s3.put_object(Bucket=UPLOADS, Key=key, Body=small_png())
    record = notice(quote_plus(key.encode(errors="surrogatepass"), safe="/"))
    if submitting.deliver(json.dumps({"Records": [record]})):
        assert len(key.encode(errors="replace")) > 1024
        assert submitting.jobs == []
        return
    (job,) = submitting.jobs
    stored = submitting.store.get(job.job_id)
    assert stored is not None
    assert stored.folder
    assert stored.name
    assert len(stored.video_key.encode()) <= 1024
    dots = {".", ".."} & set(key.split("/"))
    assert stored.state is (State.RECEIVED if possible and not dots else State.REJECTED)
    if stored.error:
        assert len(stored.error["message"]) <= LONGEST_MESSAGE


@pytest.mark.parametrize(
    "key", ["%", "%%%", "%zz", "%u0041", "%00", "+", "", "%ff%fe", "%ed%a0%80", "\ud800", "\udfff.png"]
)
def test_a_key_with_a_bad_encoding_buys_nothing(submitting: Submitting, key: str) -> None:
    submitting.deliver(json.dumps({"Records": [notice("uploads/bad" + key), notice(key)]}))
    assert all(job.state is State.REJECTED for job in submitting.jobs)


@pytest.mark.parametrize("kind", KEYS)
def test_a_hostile_key_of_a_manifest_starts_one_batch_or_none(submitting: Submitting, kind: str) -> None:
    key = f"batches/{KEYS[kind]}.csv"
    submitting.deliver(json.dumps({"Records": [notice(quote_plus(key.encode(errors="replace"), safe="/"))]}))
    assert len(submitting.batches) == (len(key.encode(errors="replace")) <= 1024)


# metadata -------------------------------------------------------------------------------------------------------------

WORDS = [
    "=?utf-7?q?+2AA-?=",
    "=?utf-7?q?a+2AA-b?=",
    "=?unicode_escape?q?=5Cud800?=",
    "=?unicode_escape?q?=5C?=",
    "=?raw_unicode_escape?q?=5Cudfff?=",
    "=?utf-16?b?AAA=?=",
    "=?utf-16?b?ANg=?=",
    "=?utf-16-le?b?AA==?=",
    "=?utf-32?b?AAAA?=",
    "=?zlib?b?eJxjAAAAAQAB?=",
    "=?bz2?b?QlpoOQ==?=",
    "=?hex?q?0000?=",
    "=?base64?q?AAAA?=",
    "=?rot13?q?cebzcg?=",
    "=?uu?q?x?=",
    "=?quopri?q?x?=",
    "=?idna?q?xn--?=",
    "=?idna?q?xn--99999999999?=",
    "=?punycode?q?99999999999999999999?=",
    "=?undefined?q?x?=",
    "=?mbcs?q?x?=",
    "=?oem?q?x?=",
    "=?unknown-8bit?q?=ff?=",
    "=?x?q?x?=",
    "=??q?x?=",
    "=?utf-8??x?=",
    "=?utf-8?q??=",
    "=?utf-8?b??=",
    "=?utf-8?x?a?=",
    "=?utf-8?b?!!!?=",
    "=?utf-8?b?a?=",
    "=?utf-8?b?aa?=",
    "=?utf-8?q?=ZZ?=",
    "=?utf-8?q?=?=",
    "=?utf-8?q?=00?=",
    "=?utf-8?q?=1B[2J?=",
    "=?utf-8?q?=ED=A0=80?=",
    "=?utf-8?q?=C0=AF?=",
    "=?utf-8?q?=FF?=",
    "=?utf-8*EN?q?x?=",
    "=?utf-8?q?a?= =?utf-16?b?ANg=?=",
    "=?utf-8?q?=3D=3Futf-8=3Fq=3Fa=3F=3D?=",
    "=?utf-8?q?" + "=F0=9F=91=9F" * 150 + "?=",
    "=?iso-2022-jp?b?GyRC?=",
    "=?hz?q?~{?=",
    "=?gb18030?b?gQ==?=",
    "=?utf-8-sig?q?=EF=BB=BF?=",
    "=?cp65001?q?x?=",
    "=?../../etc/passwd?q?x?=",
    "=?os?q?x?=",
    "=?" + "a" * 1500 + "?q?x?=",
    "=?=?=?=?=?",
    "?=" * 500,
    "=?" * 500,
]
ASCII = [text for text in TEXTS.values() if text.isascii() and len(text) < 2000]
NAMES = ["prompt", "model", "transport", "duration", "seed", "camera-fixed", "reference-images", "image-url"]
METADATA = [
    *WORDS,
    *ASCII,
    *(text for text in VALUES.values() if len(text) < 2000 and text.isascii()),
    *(f"=?utf-8?b?{b64encode(text.encode(errors='replace')).decode()}?=" for text in TEXTS.values() if len(text) < 100),
]


@pytest.mark.parametrize("value", range(len(METADATA)))
@pytest.mark.parametrize("name", NAMES)
def test_hostile_metadata_is_an_option_or_refused_by_its_name(name: str, value: int) -> None:
    metadata = (
        {name: METADATA[value]} if name != "reference-images" else {name: METADATA[value], "model": "seedance-2.0-mini"}
    )
    try:
        request = upload_request(metadata, DEFAULTS)
    except InvalidRequest as refusal:
        assert refusal.field.replace("_", "-") == name
        assert len(str(refusal)) <= LONGEST_MESSAGE
    else:
        json.dumps(request.parameters, ensure_ascii=False, allow_nan=False).encode()


@pytest.mark.parametrize("kind", TEXTS)
def test_a_hostile_name_of_metadata_is_ignored_or_refused(kind: str) -> None:
    try:
        assert upload_request({TEXTS[kind]: "x"}, DEFAULTS).parameters["prompt"] == DEFAULTS.prompt
    except InvalidRequest as refusal:
        assert len(str(refusal)) <= 500


@pytest.mark.parametrize("value", range(len(METADATA)))
def test_an_upload_with_hostile_metadata_gets_one_job(submitting: Submitting, value: int) -> None:
    text = METADATA[value].strip()
    if not text.isprintable() or len(text) > 2000:  # S3 takes no others
        text = "=?utf-8?q?x?="
    key = f"uploads/metadata-{value}.png"
    for name in ("prompt", "model"):
        submitting.s3.put_object(Bucket=UPLOADS, Key=key, Body=small_png(), Metadata={name: text})
        assert submitting.deliver(json.dumps({"Records": [notice(key, sequencer=f"{name}-{value}")]})) == []
    assert len(submitting.jobs) == 2
    for job in submitting.jobs:
        stored = submitting.store.get(job.job_id)
        assert stored is not None
        assert stored.state in (State.RECEIVED, State.REJECTED)
        json.dumps(stored.to_record(), ensure_ascii=False, allow_nan=False).encode()


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=60), st.sampled_from(NAMES))
def test_any_encoded_word_is_an_option_or_refused(text: str, name: str) -> None:
    for form in ("=?{}?=", "=?utf-8?q?{}?=", "=?utf-8?b?{}?=", "=?{}?q?x?=", "=?{}", "{}?="):
        try:
            upload_request({name: form.format(text)}, DEFAULTS)
        except InvalidRequest as refusal:
            str(refusal).encode()
