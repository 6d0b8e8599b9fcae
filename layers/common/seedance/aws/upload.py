"""Writes an S3 object whose length is not known in advance."""

import base64
import zlib
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

PART_BYTES = 6 * 1024 * 1024
"""Size of an upload part. S3 requires at least 5 MiB for all but the last. Two parts are in memory at a time."""


class Upload:
    """An object being written, as a context manager: in one request if it is short, else in parts of PART_BYTES.

    A part is uploaded while the next is being written, so that a download and the upload are busy at the same time. If
    the context ends with an exception, or nothing was written, no object is created. ``about``: further parameters of
    the object, such as ContentType.
    """

    def __init__(self, client: "S3Client", bucket: str, key: str, **about: Any) -> None:
        self.size = 0
        """Bytes written so far."""
        self._client = client
        self._about: Any = {"Bucket": bucket, "Key": key, **about}
        self._where: Any = {"Bucket": bucket, "Key": key}
        self._held = bytearray()
        self._lane = ThreadPoolExecutor(max_workers=1)
        self._sending: list[Future[CompletedPartTypeDef]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        try:
            if kind is None:
                self._finish()
        except BaseException:
            self._abort()
            raise
        finally:
            self._lane.shutdown()
        if kind is not None:
            self._abort()

    def write(self, data: bytes | memoryview) -> None:
        """Append to the object. Raises what botocore raised for an earlier part."""
        view = memoryview(data)
        self.size += len(view)
        while view:
            # A full part is sent only when more follows, so that an error at the very end comes before the last part.
            if len(self._held) == PART_BYTES:
                self._send()
            step = min(PART_BYTES - len(self._held), len(view))
            self._held += view[:step]
            view = view[step:]

    def _send(self) -> None:
        if not self._sending:
            answer = self._client.create_multipart_upload(**self._about, ChecksumAlgorithm="CRC32")
            self._where["UploadId"] = answer["UploadId"]
        else:
            self._sending[-1].result()  # at most one part is on its way
        body, self._held = self._held, bytearray()
        self._sending.append(self._lane.submit(self._part, len(self._sending) + 1, body))

    def _part(self, number: int, body: bytearray) -> "CompletedPartTypeDef":
        checksum = _crc32(body)
        answer = self._client.upload_part(**self._where, PartNumber=number, Body=bytes(body), ChecksumCRC32=checksum)
        # S3 requires the checksums again when the upload is completed.
        return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumCRC32": checksum}

    def _finish(self) -> None:
        if not self._sending:
            if self._held:
                self._client.put_object(**self._about, Body=bytes(self._held), ChecksumCRC32=_crc32(self._held))
            return
        self._send()
        parts = [part.result() for part in self._sending]
        self._client.complete_multipart_upload(**self._where, MultipartUpload={"Parts": parts})

    def _abort(self) -> None:
        # The parts of an unfinished upload are billed until it is aborted.
        self._lane.shutdown()
        if "UploadId" in self._where:
            self._client.abort_multipart_upload(**self._where)


def _crc32(body: bytearray) -> str:
    """A body's checksum in S3's format. botocore would send it after the body, which it then sends in small chunks."""
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
