"""A batch's files: read and written in pieces, whole or not at all."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from seedance.batches import files
from seedance.errors import InvalidRequest

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
def test_a_file_of_any_length_is_written_as_it_is(world: Any, monkeypatch: pytest.MonkeyPatch, parts: int) -> None:
    megabytes = 5 * 1024 * 1024  # what S3 wants of all parts but the last
    monkeypatch.setattr(files, "PART_BYTES", megabytes)
    lines = [b"a" * 1024 * 1024] * (5 * (parts - 1)) + [b"end\n"]
    write(world, lines)
    assert stored(world, "batches/x.csv") == b"".join(lines)
    assert len(world.called("UploadPart")) == (parts if parts > 1 else 0)
    assert uploads_left(world) == []


def test_the_kind_of_a_file_is_named(world: Any) -> None:
    write(world, [b"a,b\n"])
    write(world, [b"{}\n"], "plans/x.jsonl")
    kinds = [call["ContentType"] for call in world.called("PutObject")]
    assert kinds == ["text/csv; charset=utf-8", "application/x-ndjson"]


def test_a_file_that_nothing_is_written_to_does_not_come_about(world: Any) -> None:
    write(world, [])
    assert world.called("PutObject") == []


@pytest.mark.parametrize("size", [10, 6 * 1024 * 1024])
def test_after_an_exception_nothing_is_there(world: Any, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(files, "PART_BYTES", 5 * 1024 * 1024)
    with pytest.raises(KeyError), world.sheets.write("batches/x.csv") as sheet:
        sheet.write(b"x" * size)
        raise KeyError
    with pytest.raises(ClientError):
        stored(world, "batches/x.csv")
    assert uploads_left(world) == []


def test_an_upload_that_can_not_be_completed_is_aborted(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PART_BYTES", 10)  # too small for S3, which says so at the end
    with pytest.raises(ClientError, match="EntityTooSmall"):
        write(world, [b"x" * 20, b"y" * 20])
    assert uploads_left(world) == []


def test_a_manifest_is_the_version_that_was_uploaded(world: Any) -> None:
    put = [world.aws["s3"].put_object(Bucket=UPLOADS, Key="batches/m.csv", Body=body) for body in (b"old", b"new")]
    assert [b"".join(world.sheets.manifest("batches/m.csv", one["VersionId"])) for one in put] == [b"old", b"new"]
    assert b"".join(world.sheets.manifest("batches/m.csv", None)) == b"new"


def test_a_manifest_that_is_gone_is_the_uploaders_doing_and_other_trouble_is_not(world: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"batches/none\.csv is not in the bucket"):
        next(world.sheets.manifest("batches/none.csv", None))
    world.sheets.bucket = "no-such-bucket"
    with pytest.raises(ClientError):
        next(world.sheets.manifest("batches/none.csv", None))


def test_rows_are_those_between_two_bytes(world: Any) -> None:
    rows = [{"row": row, "columns": {"sku": "größe"}, "error": "x"} for row in (1, 2, 3)]
    lines = [json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows]
    write(world, lines, "plans/x.jsonl")
    first, second = len(lines[0]), len(lines[0] + lines[1])
    assert [row["row"] for row in world.sheets.rows("plans/x.jsonl", 0, second)] == [1, 2]
    assert list(world.sheets.rows("plans/x.jsonl", first, second)) == [rows[1]]
    assert list(world.sheets.rows("plans/x.jsonl", first, first)) == []


def test_a_link_leads_to_the_file(world: Any) -> None:
    link = world.sheets.link("batches/a b.csv")
    assert (link["bucket"], link["key"]) == (UPLOADS, "batches/a b.csv")
    assert "X-Amz-Signature" in link["url"]
