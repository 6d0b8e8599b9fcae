"""Plan: every row is checked before anything is bought, and the planned jobs are written to a file."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from seedance import plan as module
from seedance.jobs import requests
from seedance.jobs.job import batch_id
from seedance.plan import Plan

UPLOADS = "example-uploads"
MANIFESTS = Path(__file__).parent / "manifests"
HEADER = "image,prompt,model,sku\n"
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(world: Any, plan: Plan) -> Run:
    """Upload a manifest and plan it."""

    def upload_and_plan(
        text: str | bytes,
        key: str = "batches/spring.csv",
        metadata: dict[str, str] | None = None,
        **changes: Any,
    ) -> dict[str, Any]:
        body = text.encode() if isinstance(text, str) else text
        stored = world.aws["s3"].put_object(Bucket=UPLOADS, Key=key, Body=body, Metadata=metadata or {})
        version = stored["VersionId"]
        batch = batch_id(UPLOADS, key, version)
        return replace(plan, **changes)({"batch_id": batch, "bucket": UPLOADS, "key": key, "version_id": version})

    return upload_and_plan


def read(world: Any, key: str) -> str:
    return str(world.aws["s3"].get_object(Bucket=UPLOADS, Key=key)["Body"].read().decode())


def planned(world: Any, state: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in read(world, state["plan_key"]).splitlines()]


def report(world: Any, key: str) -> list[list[str]]:
    text = read(world, key)
    assert text.startswith("\ufeff")  # so that Excel reads it as UTF-8
    return list(csv.reader(io.StringIO(text[1:], newline="")))


def keys(world: Any) -> list[str]:
    return [item["Key"] for item in world.aws["s3"].list_objects_v2(Bucket=UPLOADS).get("Contents", [])]


def test_a_plan_has_a_line_for_every_row(world: Any, run: Run, png: bytes) -> None:
    image = world.upload("images/a.png", png)["Records"][0]["s3"]["object"]
    state = run(HEADER + "images/a.png,It turns,,S-1\n,A lake,seedance-pro,S-2\n" + ",a,,\n" * 8)
    assert planned(world, state)[:2] == [
        {
            "row": 1,
            "columns": {"sku": "S-1"},
            "model": "seedance-1.0-pro-fast",
            "transport": "v2",
            "parameters": {
                "prompt": "It turns",
                "aspect_ratio": "4:3",
                "duration": 5,
                "resolution": "720p",
                "camera_fixed": False,
                "skip_moderation": False,
            },
            "notes": ["aspect_ratio is 4:3, the nearest to the image of 400 x 300 pixels."],
            "metadata": {"sku": "S-1"},
            "image": world.media.look_at(UPLOADS, "images/a.png", image["versionId"]).facts,
        },
        {
            "row": 2,
            "columns": {"sku": "S-2"},
            "model": "seedance-pro",
            "transport": "v2",
            "parameters": {
                "prompt": "A lake",
                "aspect_ratio": "16:9",
                "duration": 5,
                "resolution": "720p",
                "camera_fixed": False,
            },
            "notes": [],
            "metadata": {"sku": "S-2"},
            "image": None,
        },
    ]
    assert (state["status"], state["rows"], state["rejected"], state["report_key"]) == ("PLANNED", 10, 0, None)
    assert (state["estimate_usd"], state["columns"]) == (pytest.approx(0.2516 + 8 * 0.25 + 0.35), ["sku"])
    assert state["wait_seconds"] == 50  # the average of nine times 49 s and once 62 s
    assert json.loads(json.dumps(state)) == state
    assert world.called("Publish") == []


def test_the_estimate_follows_the_bills(world: Any, run: Run) -> None:
    parameters = {"duration": 5, "resolution": "720p", "aspect_ratio": "16:9"}
    world.store.bills.learn("seedance-1.0-pro-fast", parameters, 0.31)
    assert run(HEADER + ",a,,\n" * 9 + ",a,seedance-pro,\n")["estimate_usd"] == pytest.approx(9 * 0.31 + 0.35)


def test_a_manifest_may_name_any_key_of_the_bucket(world: Any, run: Run, png: bytes) -> None:
    """ImageKeyPrefixes restricts callers of the API; whoever uploads a manifest already has access to the bucket."""
    for key in ("uploads/a.png", "a.png", "catalogue/2026/a.png"):
        world.upload(key, png)
    state = run(HEADER + "uploads/a.png,x,,\na.png,x,,\ncatalogue/2026/a.png,x,,\n")
    assert (state["status"], state["rows"], state["rejected"]) == ("PLANNED", 3, 0)


def test_tolerated_bad_rows_are_reported_and_the_others_planned(world: Any, run: Run) -> None:
    state = run(HEADER + ",x,,\n" * 8 + ",=HYPERLINK(1),sora,S-9\nimages/none.png,x,,S-10\n")
    assert (state["status"], state["rows"], state["rejected"]) == ("PLANNED", 10, 2)
    head, first, second = report(world, state["report_key"])
    assert head == ["row", "line", "field", "error"]
    assert (first[:3], second[:3]) == (["9", "10", "model"], ["10", "11", "image"])
    assert "'sora' does not exist" in first[3]
    assert "images/none.png is not in the bucket" in second[3]
    *_, ninth, tenth = planned(world, state)
    assert ninth["columns"] == {"sku": "S-9"}
    assert ninth["error"].startswith("model: 'sora' does not exist")
    assert tenth["error"].startswith("image: images/none.png is not")
    assert "parameters" not in ninth


def test_an_invalid_image_makes_a_row_bad(world: Any, run: Run) -> None:
    world.aws["s3"].put_object(Bucket=UPLOADS, Key="images/notes.jpg", Body=b"prose")
    state = run(HEADER + "images/notes.jpg,x,,\n" + ",x,,\n" * 4)
    assert "is not an image by its content" in report(world, state["report_key"])[1][3]


def test_the_same_image_is_checked_once(world: Any, run: Run, png: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOKS_AT_ONCE", 1)
    world.upload("images/a.png", png)
    run(HEADER + "images/a.png,x,,\n" * 20)
    assert len([call for call in world.called("GetObject") if call["Key"] == "images/a.png"]) == 1


def test_other_errors_than_a_missing_image_do_not_make_a_row_bad(world: Any, run: Run, plan: Plan) -> None:
    def forbidden(*_: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetObject")

    world.media.look_at = forbidden
    with pytest.raises(ClientError, match="AccessDenied"):
        run(HEADER + "images/a.png,x,,\n")
    assert [key for key in keys(world) if key != "batches/spring.csv"] == []


def test_chunks_cover_every_row_and_byte_once(world: Any, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_ROWS", 4)
    state = run(HEADER + ",x,,\n" * 10)
    chunks = state["chunks"]
    assert [(first, last) for _, _, first, last in chunks] == [(1, 4), (5, 8), (9, 10)]
    assert [chunk[0] for chunk in chunks] == [0, *(chunk[1] for chunk in chunks[:-1])]
    assert chunks[-1][1] == state["plan_bytes"] == len(read(world, state["plan_key"]).encode())
    for begins, ends, first, last in chunks:
        rows = [row["row"] for row in world.sheets.rows(state["plan_key"], begins, ends)]
        assert rows == list(range(first, last + 1))


def test_a_chunk_has_a_maximum_size_in_bytes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", 5000)
    state = run(HEADER + f",{'x' * 2000},,\n" * 7)
    assert [(first, last) for _, _, first, last in state["chunks"]] == [(1, 3), (4, 6), (7, 7)]


def test_a_hundred_thousand_rows_fit_into_256_kb_of_state() -> None:
    longest = [[500_000_000, 500_000_000, 100_000, 100_000]] * (100_000 // module.CHUNK_ROWS)
    assert len(json.dumps(longest)) < 128 * 1024


@pytest.mark.parametrize("tolerated", [0.0, 19.0])
def test_too_many_bad_rows_buy_nothing_and_are_notified(world: Any, run: Run, tolerated: float) -> None:
    state = run(HEADER + ",x,,\n" * 8 + ",,,S\n" * 2, tolerated_percent=tolerated)
    assert state["status"] == "REFUSED"
    assert "chunks" not in state
    (message,) = world.notified()
    assert (message["status"], message["rows"], message["rejected"]) == ("BATCH_REFUSED", 10, 2)
    assert "2 of 10 rows are invalid (20.0%)" in message["error"]["message"]
    assert "Nothing was bought" in message["error"]["message"]
    assert len(report(world, message["rejected_report"]["key"])) == 3
    assert world.counted() == {"BatchesRefused": 1}


def test_an_unreadable_file_is_reported_with_the_errors_found_before(world: Any, run: Run) -> None:
    run((HEADER + ',,,S\n,"never closed,,\n').encode())
    (message,) = world.notified()
    assert "line 3: opens a quote that is not closed" in message["error"]["message"]
    assert [line[:3] for line in report(world, message["rejected_report"]["key"])] == [
        ["row", "line", "field"],
        ["1", "2", "prompt"],
        ["", "", "line 3"],
    ]
    assert not [key for key in keys(world) if key.startswith("plans/")]


def test_a_manifest_that_takes_too_long_is_refused_with_a_clear_message(
    world: Any, run: Run, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK_ROWS", 2)
    look = world.media.look_at

    def slow(*where: Any) -> Any:
        world.clock.now += module.LONGEST_SECONDS / 3
        return look(*where)

    world.media.look_at = slow
    for number in range(8):
        world.upload(f"images/{number}.png", png)
    state = run(HEADER + "".join(f"images/{number}.png,x,,\n" for number in range(8)))
    assert state["status"] == "REFUSED"
    assert "line 6: was not reached in the time allowed for checking images" in world.notified()[0]["error"]["message"]


def test_a_deleted_manifest_is_refused(world: Any, plan: Plan) -> None:
    event = {"batch_id": "batch-0123abcd", "bucket": UPLOADS, "key": "batches/gone.csv", "version_id": None}
    assert plan(event)["status"] == "REFUSED"
    assert "is not in the bucket" in world.notified()[0]["error"]["message"]


def test_planning_again_writes_the_same_files(world: Any, plan: Plan) -> None:
    version = world.aws["s3"].put_object(Bucket=UPLOADS, Key="batches/m.csv", Body=b"prompt\nx\n\n")["VersionId"]
    event = {"batch_id": "batch-0123abcd", "bucket": UPLOADS, "key": "batches/m.csv", "version_id": version}
    first = plan(event)
    text = read(world, first["plan_key"])
    assert plan(event) == first
    assert read(world, first["plan_key"]) == text


def test_plans_and_reports_trigger_no_upload_event(world: Any, run: Run) -> None:
    run(HEADER + ",x,,\n" * 9 + ",,,S\n")
    written = [key for key in keys(world) if key != "batches/spring.csv"]
    assert len(written) == 2
    assert not [key for key in written if key.startswith("uploads/") or requests.is_manifest(key)]


def test_an_image_is_found_however_its_accents_are_written(world: Any, run: Run, png: bytes) -> None:
    world.upload("images/cafe\u0301.jpg", png)
    world.upload("images/red.jpg", png)
    state = run((MANIFESTS / "nfc-key.csv").read_bytes())
    assert (state["status"], state["rows"], state["rejected"]) == ("PLANNED", 5, 0)
    assert planned(world, state)[0]["image"]["key"] == "images/cafe\u0301.jpg"


def test_a_shops_export_buys_nothing_until_it_is_clear_which_column_is_the_image(world: Any, run: Run) -> None:
    text = (MANIFESTS / "shopify-columns.csv").read_bytes()
    assert run(text)["status"] == "REFUSED"
    (message,) = world.notified()
    assert "line 1: Column 'Image Src' holds image addresses. Rename it to image_url." in message["error"]["message"]
    assert "Nothing was bought" in message["error"]["message"]
    assert not [key for key in keys(world) if key.startswith("plans/")]


@pytest.mark.parametrize("named", ["Image Src", "=?utf-8?b?SW1hZ2UgU3Jj?="])
def test_a_manifests_metadata_may_name_the_image_column(world: Any, run: Run, named: str) -> None:
    text = (MANIFESTS / "shopify-columns.csv").read_bytes()
    state = run(text, metadata={"image-column": named})
    assert [row["parameters"]["image_url"] for row in planned(world, state)] == [
        "https://cdn.example.com/shoe.jpg",
        "https://cdn.example.com/hat.jpg",
    ]
    assert state["columns"] == ["Handle", "Title"]


def test_images_are_looked_for_in_the_manifests_folder_first(world: Any, run: Run, png: bytes) -> None:
    for key in ("images/spring-1/red.png", "red.png", "images/hat.png", "images/spring-1/cafe\u0301.png"):
        world.upload(key, png)
    rows = "image,prompt\nred.png,x\nimages/hat.png,x\ncaf\u00e9.png,x\n"
    state = run(rows, metadata={"image-folder": "images/spring-1/"})
    assert [row["image"]["key"] for row in planned(world, state)] == [
        "images/spring-1/red.png",
        "images/hat.png",
        "images/spring-1/cafe\u0301.png",
    ]


def test_an_image_that_is_in_neither_place_is_named_as_in_the_row(world: Any, run: Run) -> None:
    assert run("image,prompt\nno.png,x\n", metadata={"image-folder": "images/a/"})["status"] == "REFUSED"
    (report,) = [key for key in keys(world) if key.endswith(".rejected.csv")]
    text = world.aws["s3"].get_object(Bucket="example-uploads", Key=report)["Body"].read().decode()
    assert "no.png is not in the bucket" in text
    assert "images/a" not in text


def test_an_image_column_that_is_not_there_buys_nothing(world: Any, run: Run) -> None:
    assert run("prompt,img\nx,\n", metadata={"image-column": "photo"})["status"] == "REFUSED"
    assert "image_column: there is no column 'photo'" in world.notified()[0]["error"]["message"]


def test_notes_about_the_rows_are_in_the_state_and_in_a_refusals_summary(world: Any, run: Run, png: bytes) -> None:
    world.upload("images/a.png", png)
    rows = "image,prompt,duration,sku\nimages/a.png,x,5.0,1\n,y,5,2\n"
    notes = [
        "1 of 2 rows has no image (row 2); columns passed through: sku.",
        "duration: 5.0 is read as 5.",
    ]
    assert run(rows)["notes"] == notes
    run(rows + ",,,\n,,7,3\n" * 2, key="batches/bad.csv")
    assert world.notified()[0]["notes"] == [notes[0].replace("1 of 2", "1 of 4"), notes[1]]
