"""What `seedance batch` is given: a manifest, or a folder. And the local images that its rows name."""

import hashlib
import json
import posixpath
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from seedance.aws.fields import cut
from seedance.batches import manifest
from seedance.batches.manifest import BadRow, Row
from seedance.errors import InvalidRequest
from seedance.jobs import requests
from seedance.jobs.defaults import Defaults
from seedance.jobs.job import batch_id

from cli import images, progress
from cli.images import Local
from cli.requests import Wish, header_text, utf8_name
from cli.target import CommandError, Target

IMAGES_PREFIX = "images/"
"""Under it, an image starts no job of its own."""

_READ_BYTES = 64 * 1024
_LONGEST_STEM = 100


@dataclass
class Source:
    """A manifest on this machine: its name, its file or its content, and the folder in which its images are."""

    name: str
    folder: Path
    file: Path | None = None
    content: bytes = b""
    pictures: dict[str, Local] = field(default_factory=dict)
    """The images beside the manifest, by the text that names them in its rows. Filled by ``rows``."""
    elsewhere: int = 0
    """How many rows name an image that is not there, so that the stack looks for it in the bucket."""

    def chunks(self) -> Iterator[bytes]:
        """The manifest's bytes."""
        if self.file is None:
            yield self.content
            return
        with self.file.open("rb") as opened:
            while chunk := opened.read(_READ_BYTES):
                yield chunk

    def rows(self, defaults: Defaults, image_column: str | None, *, any_shape: bool) -> Iterator[Row | BadRow]:
        """The manifest's rows. One whose image is beside the manifest and not usable is an invalid row.

        ``any_shape``: see Target. Raises InvalidRequest if the manifest as a whole can't be used.
        """
        bad: dict[str, str] = {}
        for row in manifest.read(self.chunks(), self.name, defaults, image_column):
            key = row.request.image_key if isinstance(row, Row) else None
            if key and key not in self.pictures and key not in bad:
                try:
                    if path := self._beside(key):
                        self.pictures[key] = images.check_shape(images.look(path, key), any_shape=any_shape)
                except InvalidRequest as refused:
                    bad[key] = refused.message
            if key in bad:
                yield BadRow(row.number, row.line, "image", bad[key], row.columns, row.notes)
                continue
            self.elsewhere += bool(key and key not in self.pictures)
            yield row

    def _beside(self, key: str) -> Path | None:
        """The file beside the manifest that a row names. Its accents may be written in either Unicode form."""
        if key.startswith("/"):
            return None
        forms = (key, unicodedata.normalize("NFC", key), unicodedata.normalize("NFD", key))
        return next((path for form in forms if (path := self.folder / form).is_file()), None)


def open_source(given: str, wish: Wish) -> Source:
    """The manifest of a file or a folder. Raises InvalidRequest.

    A folder has one manifest in it, or images: then there is a row for each, and ``wish`` applies to all of them.
    """
    if not given:  # see images
        raise InvalidRequest("file", "has no name: the argument is empty")
    path = Path(given)
    if not path.is_dir():
        if wish != Wish():
            raise InvalidRequest(
                "file", "--prompt, --model, --set, --transport and --metadata are for a folder of images; use columns"
            )
        if not path.exists():
            raise FileNotFoundError(2, "No such file or directory", given)
        return Source(path.name, path.parent, path)
    there = [file for file in sorted(path.iterdir()) if file.is_file() and _is_manifest(file.name)]
    if len(there) > 1:
        raise InvalidRequest(
            "folder", f"{given} has several manifests; name one: {', '.join(file.name for file in there)}"
        )
    if there:
        return open_source(str(there[0]), wish)
    name = cut(path.resolve().name or "images", _LONGEST_STEM)
    return Source(f"{name}.jsonl", path, content=_rows_for(given, wish))


def _rows_for(folder: str, wish: Wish) -> bytes:
    """JSON lines with a row for each image in a folder."""
    found, _ = images.find([folder])
    lines = [{"image": local.name.partition("/")[2], **wish.body()} for local in found]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()


def _is_manifest(name: str) -> bool:
    return requests.is_manifest(requests.BATCH_PREFIX + name)


def check_name(source: Source) -> None:
    """Raise InvalidRequest if the stack would not take a file of this name for a manifest."""
    if not _is_manifest(utf8_name(source.name)):
        raise InvalidRequest(
            "file", f"{source.name} must end in .csv or .jsonl, and must not be a results or report file"
        )


def upload_images(target: Target, source: Source) -> str:
    """Upload the images beside the manifest. Returns their folder in the bucket, "" if there are none.

    Its name has a digest of all of them, so that an interrupted upload can be resumed, and no image is overwritten that
    an earlier batch still needs.
    """
    if not source.pictures:
        return ""
    pictures = sorted(source.pictures.items())
    digest = hashlib.sha256()
    with progress.working("reading the images"):
        for name, local in pictures:
            with local.path.open("rb") as file:
                digest.update(f"{len(name)}:{name}:{hashlib.file_digest(file, 'sha256').hexdigest()}".encode())
    stem = cut(posixpath.splitext(source.name)[0], _LONGEST_STEM)
    folder = f"{IMAGES_PREFIX}{stem}-{digest.hexdigest()[:12]}/"
    bucket, s3 = target.output("UploadBucketName"), target.client("s3")

    def upload(picture: tuple[str, Local]) -> None:
        name, local = picture
        if _size_in(s3, bucket, folder + name) == local.size:
            return
        with local.path.open("rb") as body:
            s3.put_object(Bucket=bucket, Key=folder + name, Body=body, ContentType=local.media_type)

    images.at_once(pictures, upload, lambda picture: picture[1].size, "uploading the images")
    return folder


def _size_in(s3: Any, bucket: str, key: str) -> int | None:
    try:
        return int(s3.head_object(Bucket=bucket, Key=key)["ContentLength"])
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("404", "403", "NoSuchKey"):  # 403: without the right to list keys
            raise
        return None


def send(target: Target, source: Source, image_column: str | None = None, image_folder: str = "") -> str:
    """Upload a manifest under ``batches/`` and return the batch's id."""
    bucket, key = target.output("UploadBucketName"), requests.BATCH_PREFIX + source.name
    hints = {requests.IMAGE_COLUMN_METADATA: image_column, requests.IMAGE_FOLDER_METADATA: image_folder}
    about = {name: header_text(value) for name, value in hints.items() if value}
    s3 = target.client("s3")
    with progress.working(f"uploading {source.name}"):
        if source.file is None:
            answer = s3.put_object(Bucket=bucket, Key=key, Body=source.content, Metadata=about)
        else:
            with source.file.open("rb") as body:
                answer = s3.put_object(Bucket=bucket, Key=key, Body=body, Metadata=about)
    if not answer.get("VersionId"):
        raise CommandError(
            f"{source.name} was uploaded, but the bucket is not versioned, so its batch's id is not known"
        )
    return batch_id(bucket, key, answer["VersionId"])
