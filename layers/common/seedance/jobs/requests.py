"""Turns an S3 event record or an API body into a validated request for a video. Pure."""

import hashlib
import json
import posixpath
import re
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from email.errors import MessageError
from email.header import decode_header, make_header
from typing import Any
from urllib.parse import unquote_plus

from seedance import bounds
from seedance.aws.fields import OBJECT_KEY_BYTES, cut
from seedance.errors import InvalidRequest
from seedance.jobs import catalogue, labels, shapes
from seedance.jobs.defaults import Defaults
from seedance.jobs.job import ParameterValues
from seedance.jobs.prefixes import STAGED, readable

UPLOAD_PREFIX = "uploads/"
BATCH_PREFIX = "batches/"
RESULTS_ENDING = ".results.csv"
REJECTED_ENDING = ".rejected.csv"
IMAGE_COLUMN_METADATA = "image-column"
"""The user metadata of a manifest that names the column of the image, if its name is none of ours."""
IMAGE_FOLDER_METADATA = "image-folder"
"""The user metadata of a manifest that names the folder in the bucket in which its images are looked for first."""

_OPTION_METADATA = frozenset({"model", "transport"})
OWN_METADATA = "metadata"
"""A caller's own pairs, in an upload's metadata or a manifest: all as a JSON object, or each as ``metadata.NAME``."""
_OWN = re.compile(r"metadata[-.](?=.)")
_FILE_METADATA = frozenset(
    {"mtime", "atime", "ctime", "btime", "mode", "uid", "gid", "xattr", "md5chksum", "tier"}  # rclone, s3fs
    | {"s3cmd-attrs", "user-agent"}
    | {"file-owner", "file-group", "file-permissions", "file-acl", "file-mtime", "file-atime"}  # DataSync, File Gateway
)
"""What programs write about the file that they copied, among it names of accounts on somebody's computer. A caller who
means one of these names puts ``metadata-`` before it."""
_FOREIGN_METADATA = frozenset(
    {"mode"}  # file permissions, written by rclone and s3fs; not a misspelled "model"
    | {"xresolution", "yresolution"}  # EXIF fields; not a misspelled "resolution"
)
_OURS = re.compile(r"video[-_](?=.)")
"""The prefix that marks an upload's metadata as meant for us."""
_RATIO_NAMES = {"aspect_ratio"} | {name for name, known in catalogue.COMMON_NAMES.items() if known == "aspect_ratio"}
BODY_FIELDS = ("model", "prompt", "parameters", "image", "image_key", "transport", "name", "metadata")
"""The fields of the body of ``POST /videos`` and ``POST /estimates``."""

_LEFT_BEHIND = re.compile(
    r"\.ds_store|\._.*|\.localized|icon\r|\.volumeicon\.icns|\.apdisk|thumbs\.db|ehthumbs(_vista)?\.db|desktop\.ini"
    r"|\.directory|\.(git)?keep|\.nfs[0-9a-f]+|\.fuse_hidden.*|.*_\$folder\$|~\$.*|\.~lock\..*#",
    re.IGNORECASE | re.DOTALL,
)
"""Names of files that operating systems, office programs and Hadoop leave beside other files."""
_KEPT_BESIDE = re.compile(
    r"__macosx|\.appledouble|\.spotlight-v100|\.trashes|\.fseventsd|\.temporaryitems|\.documentrevisions-v100"
    r"|\$recycle\.bin|system volume information|\.trash-\d+|\.thumbnails|@eadir|#recycle",
    re.IGNORECASE,
)
"""Names of folders in which operating systems and network drives keep thumbnails, indexes and deleted files."""
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True)
class ManifestHints:
    """What a manifest's metadata says about its images: their column and their folder, both optional."""

    image_column: str | None = None
    image_folder: str = ""
    """A prefix of keys, with a slash at its end."""


@dataclass(frozen=True)
class Upload:
    """An uploaded object, as described by the S3 event."""

    bucket: str
    key: str
    version_id: str | None
    sequencer: str
    size: int
    copied: bool = False
    """Whether S3 made it by copying an object, which may be the same one: that is how its metadata is changed."""

    @property
    def version(self) -> str:
        """Distinguishes this upload from earlier ones under the same key."""
        return self.version_id or self.sequencer

    @property
    def is_folder_marker(self) -> bool:
        """Whether it is an empty object that consoles create to show a folder. It is not a request for a video."""
        return self.key.endswith("/") and self.size == 0

    @property
    def is_left_behind(self) -> bool:
        """Whether it is a file that a program put beside the images, such as ``.DS_Store``."""
        *folders, name = self.key.split("/")
        return bool(_LEFT_BEHIND.fullmatch(name) or any(map(_KEPT_BESIDE.fullmatch, folders)))


@dataclass(frozen=True)
class Request:
    """A validated request: everything that a submit needs except the image's link."""

    model: catalogue.Model
    transport: str
    parameters: ParameterValues
    has_image: bool
    """Whether there is a first image, in the bucket or at an address."""
    ratio_given: bool
    """Whether the aspect ratio was asked for, and is not a default."""
    image_key: str | None = None
    name: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)


def uploads_in(message: dict[str, Any]) -> list[Upload]:
    """The uploads in an S3 notification. The ``s3:TestEvent`` of a new configuration has none.

    Keys are form-encoded: ``red+shoe%2B1.jpg`` is "red shoe+1.jpg". Raises KeyError, ValueError or TypeError if it is
    not an S3 notification.
    """
    if message.get("Event") == "s3:TestEvent":
        return []
    if any(record["eventSource"] != "aws:s3" for record in message["Records"]):
        raise ValueError("the message has records that are not from S3")
    return [
        Upload(
            bucket=record["s3"]["bucket"]["name"],
            key=_object_key(unquote_plus(record["s3"]["object"]["key"])),
            version_id=_version(record["s3"]["object"].get("versionId")),
            sequencer=record["s3"]["object"].get("sequencer", ""),
            size=int(record["s3"]["object"].get("size", 0)),
            copied=record["eventName"] == "ObjectCreated:Copy",
        )
        for record in message["Records"]
        if record["eventName"].startswith("ObjectCreated:")
    ]


def _object_key(key: str) -> str:
    if not 0 < len(key.encode(errors="replace")) <= OBJECT_KEY_BYTES or bounds.HALF.search(key):
        raise ValueError(f"S3 has no object with the key {bounds.shown(key)!r}")
    return key


def _version(version_id: str | None) -> str | None:
    # S3 uses "null" for an object from before versioning was enabled.
    return None if version_id in (None, "", "null") else version_id


def is_manifest(key: str) -> bool:
    """Whether an object is a manifest: under ``batches/``, with its extension, and not a file that we wrote there."""
    name = key.lower()
    ours = name.endswith((RESULTS_ENDING, REJECTED_ENDING))
    return name.startswith(BATCH_PREFIX) and name.endswith((".csv", ".jsonl")) and not ours


def check_staged(key: str) -> str:
    """The key, if it may be a manifest for ``POST /batches``. Raises InvalidRequest otherwise."""
    words = f"a key that begins with {STAGED} and ends in .csv or .jsonl, of at most {OBJECT_KEY_BYTES} bytes"
    right = key.startswith(STAGED) and key.lower().endswith((".csv", ".jsonl")) and not bounds.HALF.search(key)
    if not right or len(key.encode()) > OBJECT_KEY_BYTES:
        raise InvalidRequest("manifest_key", f"must be {words}", allowed=words)
    return key


def batch_path(key: str) -> str:
    """A manifest's key as if it were under ``batches/``, where the results of all batches are.

    It is without what ``POST /uploads`` has added to it: videos and results are named after the file.
    """
    return BATCH_PREFIX + readable(key).removeprefix(STAGED) if key.startswith(STAGED) else key


def check_key(key: str) -> str:
    """The key, if a link to it works. Raises InvalidRequest otherwise.

    S3 allows ``.`` and ``..`` between slashes, but every HTTP client resolves them before sending the request, so the
    provider would request another object.
    """
    if {".", ".."} & set(key.split("/")):
        why = "has '.' or '..' between slashes, so no link to it works; rename it"
        raise InvalidRequest("image", f"{bounds.shown(key)} {why}")
    return key


def check_image_key(key: str, prefixes: tuple[str, ...]) -> str:
    """The key, if API callers may use it: it must begin with one of ``prefixes``. Raises InvalidRequest otherwise."""
    if not key.startswith(prefixes):
        of = "one of " if len(prefixes) > 1 else ""
        why = f"must begin with {of}{', '.join(prefixes)}"
        raise InvalidRequest("image_key", why, allowed=f"a key that begins with {of}{', '.join(prefixes)}")
    return key


def upload_name(key: str) -> tuple[str, str]:
    """Folder and download name of an upload's video: its path under ``uploads/`` without the extension."""
    path = key.removeprefix(UPLOAD_PREFIX)
    # A key is text, not a path: "a/../b" and "//" are valid in S3, but other software would misread them.
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    folder, _ = posixpath.splitext("/".join(parts))
    # The video's key is longer than the upload's: it adds "videos/", the job's id and an extension.
    folder = cut(_CONTROL.sub("_", folder), OBJECT_KEY_BYTES - 100).rstrip("/") or "image"
    return folder, posixpath.basename(folder)


def call_name(image_key: str | None, prompt: object) -> str | None:
    """The name of an API call's video if it gives none: its image's, or else the beginning of its prompt.

    None if nothing is left of it that can be a name.
    """
    if image_key is not None:
        name = labels.derived_name(upload_name(readable(image_key))[1])
        if name is not None:
            return name
    return labels.derived_name(prompt) if isinstance(prompt, str) else None


def upload_request(metadata: dict[str, str], defaults: Defaults) -> Request:
    """A request from an upload's user metadata (names as S3 returns them, without ``x-amz-meta-``).

    A name that is no option changes nothing here: it is the caller's own (see ``own_metadata``) or another program's.
    A name one letter off an option is refused, because ignoring it would make and bill the wrong video. With the prefix
    ``video-`` a name is certainly meant for us, so an unknown one is refused too. Raises InvalidRequest.
    """
    metadata = _without_camera(metadata)
    given: dict[str, object] = {}
    options: dict[str, str] = {}
    known = catalogue.known_names() | _OPTION_METADATA
    for raw_name, raw_value in metadata.items():
        name, ours = _option_name(raw_name)
        if _is_own(raw_name):
            continue
        if name in known:
            target = options if name in _OPTION_METADATA else given
            if name in target:
                raise InvalidRequest(raw_name, f"is given twice, under two names of {name}")
            target[name] = _metadata_text(name, raw_value)
        elif name in _FOREIGN_METADATA:
            continue
        elif close := [option for option in sorted(known) if _is_one_off(name, option)]:
            raise InvalidRequest(raw_name, f"is not an option (did you mean {close[0]}?)")
        elif ours:
            raise InvalidRequest(raw_name, f"is not an option; available: {', '.join(sorted(known))}")
    given.setdefault("prompt", defaults.prompt)
    return _request(options.get("model"), options.get("transport"), given, defaults, has_image=True)


def own_metadata(metadata: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """The caller's own pairs in an upload's user metadata, and the names of those that a job can't keep.

    Every name that is no option is the caller's own, except those that programs write about the file. Never raises: a
    picture is not refused because of its metadata.
    """
    known = catalogue.known_names() | _OPTION_METADATA
    exact: list[tuple[str, object]] = []
    others: list[tuple[str, object]] = []
    for raw_name, raw_value in sorted(_without_camera(metadata).items()):
        lower = raw_name.lower()
        name, ours = _option_name(raw_name)
        try:
            value: str | None = _metadata_text(name, raw_value)
        except InvalidRequest:
            value = None
        pairs = own_pairs(value) if lower == OWN_METADATA and value else None
        if pairs is not None:
            exact += pairs.items()
        elif (own := _OWN.match(lower)) is not None:
            exact.append((lower[own.end() :], value))
        elif not (name in known or ours or lower in _FILE_METADATA):
            others.append((lower, value))
    return labels.fitting([*exact, *others])


def own_pairs(text: str) -> dict[str, str] | None:
    """The pairs of a JSON object of texts and numbers. None if it is something else."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        found = bounds.read_json(text, finite=True)
    except ValueError:
        return None
    return {name: _pair_text(value) for name, value in found.items()}


def _pair_text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _is_own(name: str) -> bool:
    return name.lower() == OWN_METADATA or _OWN.match(name.lower()) is not None


def _option_name(name: str) -> tuple[str, bool]:
    """An option's name as ours are written, and whether it has the prefix that marks it as ours."""
    lower = name.lower()
    return lower.removeprefix("video-").removeprefix("video_").replace("-", "_"), _OURS.match(lower) is not None


def _is_one_off(name: str, option: str) -> bool:
    """Whether one letter is missing, too many, wrong or swapped with its neighbour."""
    same = len(posixpath.commonprefix([name, option]))
    rest, wanted = name[same:], option[same:]
    return (
        rest[1:] == wanted  # too many
        or rest == wanted[1:]  # missing
        or rest[1:] == wanted[1:]  # wrong
        or (rest[1::-1] == wanted[:2] and rest[2:] == wanted[2:])  # swapped
    )


def asked_model(metadata: dict[str, str]) -> str | None:
    """The model in an upload's metadata, even if it is invalid. None if there is none."""
    named = (value.strip() for name, value in _without_camera(metadata).items() if _option_name(name)[0] == "model")
    return next(filter(None, named), None)


def _without_camera(metadata: dict[str, str]) -> dict[str, str]:
    """The metadata without the camera's ``model``, which EXIF tools write together with its ``make``.

    Beside ``video-model`` it is the camera's too.
    """
    names = {name.lower(): name for name in metadata}
    beside = {"make", "video-model", "video_model"} & set(names)
    model = metadata[names["model"]].strip().lower() if beside and "model" in names else ""
    if not model or get_close_matches(model, catalogue.MODELS, n=1):
        return metadata
    return {name: value for name, value in metadata.items() if name != names["model"]}


def manifest_hints(metadata: dict[str, str]) -> ManifestHints:
    """What a manifest's user metadata says about its images. Raises InvalidRequest."""
    given = {name.lower(): value for name, value in metadata.items()}
    column, folder = (
        _metadata_text(name, given.get(name, "")).strip() for name in (IMAGE_COLUMN_METADATA, IMAGE_FOLDER_METADATA)
    )
    if folder and (not folder.endswith("/") or folder.startswith("/")):
        raise InvalidRequest(IMAGE_FOLDER_METADATA, "must be a folder such as images/spring/, with a slash at its end")
    return ManifestHints(column or None, check_key(folder) if folder else "")


def _metadata_text(name: str, value: str) -> str:
    """A metadata value as it was entered. S3 returns non-ASCII text as RFC 2047 words."""
    try:
        text = str(make_header(decode_header(value))) if "=?" in value else value
    except (MessageError, LookupError, ValueError):
        raise InvalidRequest(name, "could not be decoded; encode it as UTF-8 (RFC 2047)") from None
    if bounds.HALF.search(text):  # some encodings, such as UTF-7, allow it
        raise InvalidRequest(name, catalogue.HALVES)
    if _CONTROL.search(text):
        raise InvalidRequest(name, "has control characters in it; plain text is allowed")
    return text


def api_request(body: str | None, defaults: Defaults, *, prompt_needed: bool = True) -> Request:
    """A request from the body of ``POST /videos``. Raises InvalidRequest.

    Without ``prompt_needed``, the stack's default prompt is used if there is none: for an estimate.
    """
    fields = _json_object(body)
    for name in fields:
        if name not in BODY_FIELDS:
            raise InvalidRequest(name, _unknown_field(name), allowed=BODY_FIELDS)
    given = fields.get("parameters")
    if given is None:
        given = {}
    if not isinstance(given, dict):
        raise InvalidRequest("parameters", "must be a JSON object")
    given = dict(given)
    for name in ("prompt", "image"):
        if fields.get(name) is not None:
            if name in given:
                raise InvalidRequest(name, "is given twice, at the top level and under parameters")
            given[name] = fields[name]
    if not prompt_needed and given.get("prompt") is None:
        given["prompt"] = defaults.prompt
    for name in ("model", "transport", "image_key"):
        if fields.get(name) is not None and not isinstance(fields[name], str):
            raise InvalidRequest(name, f"must be text, not {type(fields[name]).__name__}")
    if isinstance(given.get("prompt"), str) and _CONTROL.search(given["prompt"]):
        raise InvalidRequest("prompt", "has control characters in it; plain text is allowed")
    image_key = fields.get("image_key") or None
    if image_key is not None and (bounds.HALF.search(image_key) or len(image_key.encode()) > OBJECT_KEY_BYTES):
        raise InvalidRequest("image_key", "must be UTF-8 of at most 1024 bytes, S3's limit for keys")
    request = _request(fields.get("model"), fields.get("transport"), given, defaults, has_image=image_key is not None)
    own_name, metadata = labels.name(fields.get("name")), labels.metadata(fields.get("metadata"))
    return replace(request, image_key=image_key, name=own_name, metadata=metadata)


def _json_object(body: str | None) -> dict[str, Any]:
    wanted = 'must be a JSON object, such as {"prompt": "a red shoe turns"}'
    if not body:
        raise InvalidRequest("body", f"{wanted}, but it is empty")
    try:
        fields = bounds.read_json(body)
    except ValueError as error:
        raise InvalidRequest("body", f"{wanted}, but it {error}") from None
    if not isinstance(fields, dict):
        raise InvalidRequest("body", wanted)
    return fields


def _unknown_field(name: str) -> str:
    if name in catalogue.known_names():
        return "is a parameter of a model; put it under parameters"
    hint = catalogue.nearest(name, BODY_FIELDS)
    return f"is not a field of this request{hint}; allowed: {', '.join(BODY_FIELDS)}"


def _request(
    slug: str | None, transport: str | None, given: dict[str, object], defaults: Defaults, *, has_image: bool
) -> Request:
    if "\ufffd" in str(given.get("prompt")):
        raise InvalidRequest("prompt", "has lost characters (U+FFFD), because the text was not UTF-8; correct it")
    model = catalogue.find(slug or defaults.model)
    if transport is None:
        # The stack's default is a preference. A model without it uses the one that it has.
        transport = defaults.transport if defaults.transport in model.transports else model.transports[0]
    if transport not in model.transports:
        why = f"must be {' or '.join(model.transports)} for {model.slug}, not {bounds.shown(transport)!r}"
        raise InvalidRequest("transport", why, allowed=model.transports)
    asked = any(value not in (None, "") and name in _RATIO_NAMES for name, value in given.items())
    parameters = catalogue.validate(model, given, has_image=has_image)
    has_image = has_image or model.parameters.first_image in parameters
    if has_image and not asked:
        # The nearest ratio is not known before the image is looked at (see shapes.shaped).
        parameters["aspect_ratio"] = shapes.ratio_for(model, None) or parameters["aspect_ratio"]
    return Request(model, transport, parameters, has_image, asked)


def fingerprint(body: str | None) -> str:
    """A digest that is equal for two API bodies with the same request. Field order and white space do not matter."""
    canonical = json.dumps(_json_object(body), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def check_idempotency_key(key: str) -> str:
    """The key, if it is valid. Raises InvalidRequest otherwise."""
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidRequest("Idempotency-Key", "must be 1 to 255 visible ASCII characters without spaces")
    return key
