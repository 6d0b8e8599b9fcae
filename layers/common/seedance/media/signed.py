"""Signs links to videos, which a browser plays or saves, and to their last frames."""

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

from seedance.aws import fields

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

VIDEO_TYPE = "video/mp4"


def video_link(
    client: "S3Client",
    bucket: str,
    key: str,
    name: str,
    seconds: int,
    *,
    download: bool = False,
    operation: Literal["get_object", "head_object"] = "get_object",
) -> str:
    """A signed link to a video. A browser plays it or, with ``download``, saves it as ``name``.mp4.

    The object's own disposition is attachment, so the link overrides it. A link is signed for one method: HEAD needs a
    link of its own.
    """
    kind = "attachment" if download else "inline"
    return client.generate_presigned_url(
        operation,
        Params={
            "Bucket": bucket,
            "Key": key,
            "ResponseContentType": VIDEO_TYPE,
            "ResponseContentDisposition": fields.disposition(kind, name, ".mp4"),
        },
        ExpiresIn=seconds,
    )


def frame_link(client: "S3Client", bucket: str, key: str, name: str, seconds: int) -> str:
    """A signed link to a video's last frame, which a browser shows. The object has its content type (a picture's)."""
    disposition = fields.disposition("inline", name, PurePosixPath(key).suffix)
    return client.generate_presigned_url(
        "get_object",
        Params={"Bucket": bucket, "Key": key, "ResponseContentDisposition": disposition},
        ExpiresIn=seconds,
    )
