"""A batch's files: read and written in parts, stored completely or not at all."""

import io
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError, IncompleteReadError
from botocore.response import StreamingBody
from seedance.aws import upload
from seedance.batches import files
from seedance.errors import InvalidRequest
from seedance.jobs.requests import ManifestHints

UPLOADS = "example-uploads"


def stored(world: Any, key: str) -> bytes:
    return bytes(world.aws["s3"].get_object(Bucket=UPLOADS, Key=key)["Body"].read())


def uploads_left(world: Any) -> list[Any]:
    return list(world.aws["s3"].list_multipart_uploads(Bucket=UPLOADS).get("Uploads", []))


def write(world: Any, lines: list[bytes], key: str = "batches/x.csv") -> None:
    with world.sheets.write(key) as sheet:
        for line in lines:
            sheet.write(line)
        assert sheet.size == sum(map(len, lines))


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_a_file_of_any_length_is_written_unchanged(world: Any, monkeypatch: pytest.MonkeyPatch, parts: int) -> None:
    megabytes = 5 * 1024 * 1024  # S3's minimum for all parts but the last
    monkeypatch.setattr(upload, "PART_BYTES", megabytes)
    lines = [b"a" * 1024 * 1024] * (5 * (parts - 1)) + [b"end\n"]
    write(world, lines)
    assert stored(world, "batches/x.csv") == b"".join(lines)
    assert len(world.called("UploadPart")) == (parts if parts > 1 else 0)
    assert uploads_left(world) == []


def test_a_file_has_a_content_type(world: Any) -> None:
    write(world, [b"a,b\n"])
    write(world, [b"{}\n"], "plans/x.jsonl")
    kinds = [call["ContentType"] for call in world.called("PutObject")]
    assert kinds == ["text/csv; charset=utf-8", "application/x-ndjson"]


def test_an_empty_file_is_not_created(world: Any) -> None:
    write(world, [])
    assert world.called("PutObject") == []


@pytest.mark.parametrize("size", [10, 6 * 1024 * 1024])
def test_after_an_exception_nothing_is_there(world: Any, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(upload, "PART_BYTES", 5 * 1024 * 1024)
    with pytest.raises(KeyError), world.sheets.write("batches/x.csv") as sheet:
        sheet.write(b"x" * size)
        raise KeyError
    with pytest.raises(ClientError):
        stored(world, "batches/x.csv")
    assert uploads_left(world) == []


def test_an_upload_that_cannot_be_completed_is_aborted(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "PART_BYTES", 10)  # too small for S3, which refuses at completion
    with pytest.raises(ClientError, match="EntityTooSmall"):
        write(world, [b"x" * 20, b"y" * 20])
    assert uploads_left(world) == []


def test_a_manifest_is_read_in_the_uploaded_version(world: Any) -> None:
    put = [world.aws["s3"].put_object(Bucket=UPLOADS, Key="batches/m.csv", Body=body) for body in (b"old", b"new")]
    assert [b"".join(world.sheets.manifest("batches/m.csv", one["VersionId"])) for one in put] == [b"old", b"new"]
    assert b"".join(world.sheets.manifest("batches/m.csv", None)) == b"new"


def test_a_missing_manifest_is_refused_but_other_errors_are_ours(world: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"batches/none\.csv is not in the bucket"):
        next(world.sheets.manifest("batches/none.csv", None))
    world.sheets.bucket = "no-such-bucket"
    with pytest.raises(ClientError):
        next(world.sheets.manifest("batches/none.csv", None))


def test_a_manifests_metadata_names_the_column_and_the_folder_of_its_images(world: Any) -> None:
    versions = [
        world.aws["s3"].put_object(Bucket=UPLOADS, Key="batches/m.csv", Body=b"x", Metadata=metadata)["VersionId"]
        for metadata in (
            {"image-column": " Photo ", "image-folder": "images/a/"},
            {"sku": "1"},
            {"image-column": " ", "image-folder": "=?utf-8?b?aW1hZ2VzL8O8Lw==?="},
        )
    ]
    found = [world.sheets.hints("batches/m.csv", version) for version in versions]
    assert found == [ManifestHints("Photo", "images/a/"), ManifestHints(), ManifestHints(None, "images/ü/")]
    assert world.sheets.hints("batches/m.csv", None) == found[-1]
    assert world.sheets.hints("batches/none.csv", None) == ManifestHints()


@pytest.mark.parametrize("folder", ["images", "/images/", "images/../plans/"])
def test_a_folder_of_images_that_is_none_is_refused(world: Any, folder: str) -> None:
    where = {"Bucket": UPLOADS, "Key": "batches/m.csv", "Metadata": {"image-folder": folder}}
    world.aws["s3"].put_object(**where, Body=b"x")
    with pytest.raises(InvalidRequest, match=r"image-folder|'\.' or '\.\.'"):
        world.sheets.hints("batches/m.csv", None)


def test_an_error_of_s3_is_not_mistaken_for_missing_metadata(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def head(code: str) -> Any:
        def raise_it(**_: Any) -> Any:
            raise ClientError({"Error": {"Code": code}}, "HeadObject")

        return raise_it

    monkeypatch.setattr(world.sheets._client, "head_object", head("403"))
    assert world.sheets.hints("batches/m.csv", None) == ManifestHints()  # reading the manifest fails and says why
    monkeypatch.setattr(world.sheets._client, "head_object", head("503"))
    with pytest.raises(ClientError):
        world.sheets.hints("batches/m.csv", None)


def test_rows_are_read_between_two_byte_offsets(world: Any) -> None:
    rows = [{"row": row, "columns": {"sku": "größe"}, "error": "x"} for row in (1, 2, 3)]
    lines = [json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows]
    write(world, lines, "plans/x.jsonl")
    first, second = len(lines[0]), len(lines[0] + lines[1])
    assert [row["row"] for row in world.sheets.rows("plans/x.jsonl", 0, second)] == [1, 2]
    assert list(world.sheets.rows("plans/x.jsonl", first, second)) == [rows[1]]
    assert list(world.sheets.rows("plans/x.jsonl", first, first)) == []


def test_a_link_downloads_the_file(world: Any) -> None:
    link = world.sheets.link("batches/a b.csv")
    assert (link["bucket"], link["key"]) == (UPLOADS, "batches/a b.csv")
    assert "X-Amz-Signature" in link["url"]


def test_a_manifest_is_read_completely_before_its_first_row_is_used(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = b"image,prompt\n" * 200_000
    world.aws["s3"].put_object(Bucket=UPLOADS, Key="batches/x.csv", Body=body)
    opened: list[Any] = []
    get = world.aws["s3"].get_object

    def kept(**where: Any) -> Any:
        found = get(**where)
        opened.append(found["Body"])
        return found

    monkeypatch.setattr(world.aws["s3"], "get_object", kept)
    monkeypatch.setattr(files, "HELD_BYTES", 100_000)  # the rest of it goes to a file
    chunks = world.sheets.manifest("batches/x.csv", None)
    first = next(chunks)
    assert len(opened) == 1
    assert opened[0]._raw_stream.closed
    assert first + b"".join(chunks) == body


def test_a_manifest_that_is_too_large_is_not_read(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world.aws["s3"].put_object(Bucket=UPLOADS, Key="batches/x.csv", Body=b"x" * 11)
    monkeypatch.setattr(files, "MAX_BYTES", 10)
    with pytest.raises(InvalidRequest, match="is larger than"):
        next(world.sheets.manifest("batches/x.csv", None))


def test_a_manifest_whose_download_breaks_off_is_not_used(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world.aws["s3"].put_object(Bucket=UPLOADS, Key="batches/x.csv", Body=b"a,b\n1,2\n")
    get = world.aws["s3"].get_object

    def cut(**where: Any) -> Any:
        found = get(**where)
        return {**found, "Body": StreamingBody(io.BytesIO(found["Body"].read()[:4]), found["ContentLength"])}

    monkeypatch.setattr(world.aws["s3"], "get_object", cut)
    with pytest.raises(IncompleteReadError):
        next(world.sheets.manifest("batches/x.csv", None))
