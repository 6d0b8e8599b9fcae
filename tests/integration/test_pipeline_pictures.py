"""Pictures and metadata as people and programs have them, from the upload to the video or the refusal."""

import io
import json
import struct
from typing import Any

import av
import pytest
from pictures import DRAWN, picture, turned
from pipeline import UPLOADS, Change, Pipeline, app, png, s3_event
from seedance.jobs import catalogue
from seedance.jobs.job import Job, State, upload_job_id

pytestmark = [pytest.mark.hostile(kind="image"), pytest.mark.sampled(4)]

BASELINE = (DRAWN / "baseline.jpg").read_bytes()
PROGRESSIVE = (DRAWN / "progressive.jpg").read_bytes()
ADAPTIVE = ("seedance-1.5-pro", "seedance-2.0-fast", "seedance-2.0-mini")


def tiff(*entries: tuple[int, int]) -> bytes:
    """A TIFF with these tags in its first directory, and half of its strips."""
    fields = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + fields + bytes(4) + bytes(50_000)


PASS = {
    "a baseline JPEG": BASELINE,
    "a baseline JPEG without its end marker": BASELINE[:-2],
    "a baseline JPEG with half of its end marker": BASELINE[:-1],
    "a JPEG with restart markers, without its end marker": (DRAWN / "restarts.jpg").read_bytes()[:-2],
    "a progressive JPEG": PROGRESSIVE,
    "a progressive JPEG without its end marker": PROGRESSIVE[:-2],
    "a grey JPEG": (DRAWN / "grey.jpg").read_bytes(),
    "a CMYK JPEG": (DRAWN / "cmyk.jpg").read_bytes(),
    "a JPEG with a video behind": BASELINE + b"\0\0\0\x18ftypmp42" + bytes(100_000),
    "a PNG": picture(),
    "a PNG without its end": picture()[:-12],
    "a PNG of 16 bits": picture(pixels="rgb48be"),
    "a grey PNG": picture(pixels="gray"),
    "an animated PNG": picture(codec="apng", frames=2),
    "a WebP": picture(codec="libwebp"),
    "a lossless WebP": picture(codec="libwebp", pixels="bgra", lossless="1"),
}
REFUSED = {
    "a HEIC that is named .jpg": (b"\0\0\0\x20ftypheic\0\0\0\0heicmif1MiHEmiaf" + bytes(4000), "is in HEIC format"),
    "an AVIF": (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1" + bytes(4000), "is in AVIF format"),
    "a DNG whose first directory is a thumbnail": (tiff((0xFE, 1), (0xC612, 1025)), "is in DNG (camera RAW) format"),
    "a TIFF of which half is missing": (tiff((0x100, 800), (0x101, 600)), "is in TIFF format; convert it"),
    "half of a baseline JPEG": (BASELINE[: len(BASELINE) // 2], "is cut off"),
    "half of a JPEG, filled up with zeros": (BASELINE[: len(BASELINE) // 2] + bytes(9999), "is cut off"),
    "half of a progressive JPEG": (PROGRESSIVE[: len(PROGRESSIVE) // 2], "is cut off"),
    "most of a JPEG with restart markers": ((DRAWN / "restarts.jpg").read_bytes()[:-99], "is cut off"),
    "half of a PNG": (picture()[: len(picture()) // 2], "is cut off"),
    "half of a WebP": (picture(codec="libwebp")[:-40], "is cut off"),
    "an icon": (picture(size=(64, 64)), "is 64 x 64 pixels; each side must have at least 300"),
    "a dot": (picture(size=(10, 10)), "is 10 x 10 pixels; each side must have at least 300"),
    "a banner": (picture(size=(1500, 300)), "the width may be 0.4 to 2.5 times the height. Crop it or add a margin"),
    "a line": (picture(size=(8000, 100)), "is 8000 x 100 pixels; each side must have at least 300"),
    "a banner that lies on its side": (turned(picture(size=(300, 1200), codec="mjpeg"), 6), "is 1200 x 300 pixels"),
}


def body_of(pipeline: Pipeline) -> dict[str, Any]:
    (job,) = pipeline.sandbox.state.jobs.values()
    return job.body


def made(pipeline: Pipeline, job_id: str) -> Job:
    """Run a job to its video."""
    pipeline.run(job_id)
    return pipeline.check(job_id, State.COMPLETED)


def size_of(video: bytes) -> tuple[int, int]:
    with av.open(io.BytesIO(video)) as container:
        return container.streams.video[0].width, container.streams.video[0].height


@pytest.mark.parametrize("case", PASS)
def test_a_picture_that_decoders_open_becomes_a_video(pipeline: Pipeline, case: str) -> None:
    made(pipeline, pipeline.upload(f"uploads/{case}.jpg", PASS[case], resolution="480p"))


@pytest.mark.parametrize("case", REFUSED)
def test_any_other_picture_is_refused_before_it_is_paid(pipeline: Pipeline, case: str) -> None:
    body, says = REFUSED[case]
    job_id = pipeline.upload(f"uploads/{case}.jpg", body, resolution="480p")
    pipeline.run(job_id)
    pipeline.check(job_id, State.REJECTED, accepted=0, says=says)


@pytest.mark.parametrize("case", ["an icon", "a banner"])
def test_a_stack_may_leave_unusual_pictures_to_the_provider(pipeline: Pipeline, set_up: Change, case: str) -> None:
    set_up(allow_unusual_images="yes")
    job_id = pipeline.upload("uploads/a.png", REFUSED[case][0])
    pipeline.run(job_id)
    pipeline.check(job_id, State.FAILED, says="pixels")
    assert pipeline.sandbox.summary()["billed_usd"] == 0


@pytest.mark.parametrize("slug", catalogue.MODELS)
@pytest.mark.parametrize("way", ["upload", "call"])
def test_the_video_has_the_shape_of_its_picture(pipeline: Pipeline, slug: str, way: str) -> None:
    image = picture(size=(480, 640))
    if way == "upload":
        job_id = pipeline.upload("uploads/tall.png", image, model=slug, resolution="480p")
    else:
        pipeline.put("images/tall.png", image)
        job_id = pipeline.order(model=slug, image_key="images/tall.png", parameters={"resolution": "480p"})
    job = made(pipeline, job_id)
    ratio = "adaptive" if slug in ADAPTIVE else "3:4"
    assert job.parameters["aspect_ratio"] == body_of(pipeline)["aspect_ratio"] == ratio
    (note,) = job.notes
    assert note.startswith(f"aspect_ratio is {ratio}, ")
    assert pipeline.told[0]["notes"] == pipeline.call("GET", f"/videos/{job_id}")[1]["notes"] == [note]
    assert size_of(pipeline.read(job.video_key)) == (480, 640)


@pytest.mark.parametrize("slug", ["seedance-1.0-pro-fast", "seedance-1.5-pro"])
@pytest.mark.parametrize(("orientation", "tall"), [(1, False), (3, False), (6, True), (8, True)])
def test_a_turned_picture_is_read_as_it_is_shown(
    *, pipeline: Pipeline, slug: str, orientation: int, tall: bool
) -> None:
    image = turned(picture(size=(640, 480), codec="mjpeg"), orientation)
    job = made(pipeline, pipeline.upload("uploads/a.jpg", image, model=slug, resolution="480p"))
    assert job.image is not None
    assert (job.image["width"], job.image["height"], job.image.get("shown")) == (640, 480, "480x640" if tall else None)
    assert size_of(pipeline.read(job.video_key)) == ((480, 640) if tall else (640, 480))
    if slug not in ADAPTIVE:
        assert body_of(pipeline)["aspect_ratio"] == ("3:4" if tall else "4:3")


@pytest.mark.parametrize("slug", catalogue.MODELS)
def test_a_ratio_that_was_asked_for_is_sent(pipeline: Pipeline, slug: str) -> None:
    job_id = pipeline.upload("uploads/a.png", picture(size=(480, 640)), model=slug, aspect_ratio="16:9")
    job = made(pipeline, job_id)
    assert (body_of(pipeline)["aspect_ratio"], job.notes) == ("16:9", [])


@pytest.mark.parametrize("slug", catalogue.MODELS)
def test_text_alone_keeps_the_default(pipeline: Pipeline, slug: str) -> None:
    job = made(pipeline, pipeline.order(model=slug, parameters={"resolution": "480p"}))
    assert (body_of(pipeline)["aspect_ratio"], job.notes) == ("16:9", [])


def test_a_very_large_picture_is_made_with_a_note(pipeline: Pipeline) -> None:
    image = picture(size=(6100, 4000), pixels="gray")
    job_id = pipeline.upload("uploads/large.png", image, aspect_ratio="4:3", resolution="480p")
    job = made(pipeline, job_id)
    assert job.notes == ["The image is 6100 x 4000 pixels; above 6000 a side it may be scaled down."]


def test_an_empty_model_in_the_metadata_is_the_default_and_a_refusal_is_reported(pipeline: Pipeline) -> None:
    job_id = pipeline.upload(model="", duration="7")
    pipeline.run(job_id)
    job = pipeline.check(job_id, State.REJECTED, accepted=0, says="duration: must be 5 or 10")
    assert job.model == pipeline.told[0]["attributes"]["model"] == "seedance-1.0-pro-fast"


def test_metadata_of_a_photo_tool_changes_nothing(pipeline: Pipeline) -> None:
    metadata = {"make": "Apple", "model": "iPhone 14 Pro", "xresolution": "72", "resolutionunit": "2"}
    job = made(pipeline, pipeline.upload(**metadata, first_name="Ada", resolution="480p"))
    assert (job.model, job.parameters["resolution"]) == ("seedance-1.0-pro-fast", "480p")


def test_the_prefix_marks_an_option_as_ours(pipeline: Pipeline) -> None:
    metadata = {"model": "iPhone 14 Pro", "video_model": "seedance-1.5-pro", "video_resolution": "480p"}
    assert made(pipeline, pipeline.upload(**metadata)).model == "seedance-1.5-pro"


def copy(pipeline: Pipeline, key: str, *, source: str | None = None, **metadata: str) -> str:
    """Copy an object, by default onto itself, and return the id of the job that this would be."""
    answer = pipeline.client("s3").copy_object(
        Bucket=UPLOADS,
        Key=key,
        CopySource={"Bucket": UPLOADS, "Key": source or key},
        Metadata=metadata,
        MetadataDirective="REPLACE",
    )
    pipeline.send(s3_event(key, answer["VersionId"], len(png()), name="ObjectCreated:Copy"))
    return upload_job_id(UPLOADS, key, answer["VersionId"])


def known(pipeline: Pipeline) -> set[str]:
    items = pipeline.client("dynamodb").scan(TableName="jobs", FilterExpression="attribute_exists(entered)")["Items"]
    return {item["job_id"]["S"] for item in items}


def test_a_touch_buys_nothing_and_a_changed_option_does(pipeline: Pipeline) -> None:
    first = pipeline.upload("uploads/a.png", resolution="480p", mtime="1")
    made(pipeline, first)
    for moment in "23":
        copy(pipeline, "uploads/a.png", resolution="480p", mtime=moment)
        pipeline.deliver()
    assert known(pipeline) == {first}
    second = copy(pipeline, "uploads/a.png", resolution="480p", mtime="4", duration="10")
    assert pipeline.run(second).state is State.COMPLETED
    third = copy(pipeline, "uploads/b.png", source="uploads/a.png", resolution="480p")  # a rename
    assert pipeline.run(third).state is State.COMPLETED
    assert known(pipeline) == {first, second, third}
    assert pipeline.sandbox.summary()["accepted"] == 3


def test_a_copy_that_is_uploaded_after_all_is_one_order(pipeline: Pipeline) -> None:
    """s3cmd copies a picture that is in the bucket already, and uploads it if it can't copy the ACL."""
    first = pipeline.upload("uploads/a.png", resolution="480p")
    made(pipeline, first)
    copy(pipeline, "uploads/b.png", source="uploads/a.png", resolution="480p")
    second = pipeline.upload("uploads/b.png", resolution="480p")
    assert pipeline.run(second).state is State.COMPLETED
    assert known(pipeline) == {first, second}
    assert pipeline.sandbox.summary()["accepted"] == 2


def test_an_empty_object_that_gets_its_content_is_one_order(pipeline: Pipeline) -> None:
    """s3fs and others create a file, and write it when it is closed."""
    pipeline.upload("uploads/a.png", b"")
    pipeline.deliver()
    job_id = pipeline.upload("uploads/a.png", resolution="480p")
    made(pipeline, job_id)
    assert known(pipeline) == {job_id}


@pytest.mark.parametrize("key", [".DS_Store", "._a.png", "Thumbs.db", "spring/desktop.ini", "spring_$folder$"])
def test_a_file_of_an_operating_system_is_ignored(pipeline: Pipeline, key: str) -> None:
    pipeline.upload(f"uploads/{key}", b"\0\5\x16\7")
    assert pipeline.deliver() == 0
    assert known(pipeline) == set()
    assert pipeline.notifications() == []


def test_a_batchs_rows_have_the_shapes_of_their_pictures(pipeline: Pipeline) -> None:
    """Plan, by itself: its lines are what the jobs are made from."""
    pipeline.put("images/tall.png", picture(size=(480, 640)))
    pipeline.put("images/small.png", picture(size=(100, 100)))
    rows = ["image,prompt,model,ratio", "images/tall.png,x,,", "images/tall.png,x,seedance-1.5-pro,"]
    rows += ["images/tall.png,x,,1:1", ",x,,", "images/small.png,x,,"]
    version = pipeline.put("batches/a.csv", "\n".join(rows).encode())
    event = {"batch_id": "batch-1", "bucket": UPLOADS, "key": "batches/a.csv", "version_id": version}
    planned = app("plan").handler(event, None)
    body = pipeline.client("s3").get_object(Bucket=UPLOADS, Key=planned["plan_key"])["Body"].read()
    *lines, refused = map(json.loads, body.splitlines())
    assert [line["parameters"]["aspect_ratio"] for line in lines] == ["3:4", "adaptive", "1:1", "16:9"]
    assert [len(line["notes"]) for line in lines] == [1, 1, 0, 0]
    assert "images/small.png is 100 x 100 pixels" in refused["error"]
