"""What the AWS CLI, rclone and s3cmd do to the upload bucket: a picture becomes one video, however often they run."""

import os
import shutil
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from deployed import PATIENCE_SECONDS, SAMPLE, Deployed

from local import aws

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.hostile(kind="program"),
    pytest.mark.sampled(3),
    pytest.mark.timeout(900),
]

COMMANDS: dict[str, dict[str, list[str]]] = {
    "aws": {
        "sync": ["aws", "s3", "sync"],
        "put": ["aws", "s3", "cp"],
        "put in parts": ["aws", "s3", "cp"],
        "move": ["aws", "s3", "mv"],
    },
    "rclone": {
        "sync": ["rclone", "sync"],
        "put": ["rclone", "copyto"],
        "put in parts": ["rclone", "copyto", "--s3-upload-cutoff=5M", "--s3-chunk-size=5M"],
        "move": ["rclone", "moveto"],
        "touch": ["rclone", "touch"],
    },
    "s3cmd": {
        "sync": ["s3cmd", "sync"],
        "put": ["s3cmd", "put"],
        "put in parts": ["s3cmd", "put", "--multipart-chunk-size-mb=5"],
        # Otherwise it also copies the ACL, which fails in a bucket without ACLs, after the object was copied.
        "move": ["s3cmd", "mv", "--acl-private"],
        "modify": ["s3cmd", "modify", "--acl-private"],
    },
}
NAMES = ("red shoe.jpg", "Übergröße/grün & blau.jpg", "a+b=c, 50% (1).jpg", "靴.jpg")
LEFT_BEHIND = (".DS_Store", "._red shoe.jpg", "Thumbs.db", "Übergröße/desktop.ini")


@dataclass(frozen=True)
class Program:
    """A program that copies files into buckets."""

    name: str
    deployed: Deployed
    environment: dict[str, str]

    def __call__(self, command: str, *arguments: str | Path) -> None:
        """Run a command. Fails with what the program wrote."""
        done = subprocess.run(  # noqa: S603 - our own commands
            [*COMMANDS[self.name][command], *map(str, arguments)],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def at(self, key: str) -> str:
        """How the program writes a key in the upload bucket."""
        return ("stack:" if self.name == "rclone" else "s3://") + f"{self.deployed.output('UploadBucketName')}/{key}"

    # results ----------------------------------------------------------------------------------------------------

    def versions(self, prefix: str) -> dict[str, list[str]]:
        """The versions of each object, the latest first."""
        pages = (
            self.deployed.client("s3")
            .get_paginator("list_object_versions")
            .paginate(Bucket=self.deployed.output("UploadBucketName"), Prefix=prefix)
        )
        found: dict[str, list[str]] = {}
        for page in pages:
            for each in page.get("Versions", []):
                found.setdefault(each["Key"], []).append(each["VersionId"])
        return found

    def jobs_of(self, key: str) -> list[str]:
        """The ids that the versions of an object have, the latest first, if they are orders."""
        return [self.deployed.job_of(key, version) for version in self.versions(key)[key]]

    def settled(self) -> set[str]:
        """All jobs, once every event has been processed: the queue has been empty for a second.

        Other tests deliver a message twice on purpose. The second comes back after the queue's visibility timeout,
        which is why conftest.py lets this module be the first one.
        """
        deadline, empty = time.monotonic() + self._visibility_timeout() + PATIENCE_SECONDS, 0
        while empty < 10:
            time.sleep(0.1)
            empty = 0 if any(self._queued()) else empty + 1
            assert time.monotonic() < deadline, self._queued()
        return set(self.deployed.states())

    def _queued(self) -> list[int]:
        """How many messages are waiting, in flight, and delayed: a copy is looked at again after a while."""
        return self._attributes(*(f"ApproximateNumberOfMessages{kind}" for kind in ("", "NotVisible", "Delayed")))

    def _visibility_timeout(self) -> int:
        return self._attributes("VisibilityTimeout")[0]

    def _attributes(self, *names: str) -> list[int]:
        queue = self.deployed.output("SubmitQueueUrl")
        facts = self.deployed.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
        return [int(facts[name]) for name in names]


@pytest.fixture(params=COMMANDS)
def program(request: pytest.FixtureRequest, deployed: Deployed, tmp_path: Path) -> Iterator[Program]:
    """Each program that is installed, with the stack's credentials and without the user's settings."""
    name = str(request.param)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if not shutil.which(name, path=path):
        pytest.skip(f"{name} is not installed; on Debian: apt-get install {name}")
    at, endpoint = deployed.stack.access.credentials, deployed.stack.endpoint_url
    home = tmp_path / "home"
    home.mkdir()
    settings = {
        **{"access_key": at.access_key_id, "secret_key": at.secret_access_key, "use_https": "False"},
        **dict.fromkeys(("host_base", "host_bucket"), endpoint.removeprefix("http://")),
    }
    (home / ".s3cfg").write_text("[default]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items()))
    remote = {
        **{"TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": endpoint, "FORCE_PATH_STYLE": "true"},
        **{"ACCESS_KEY_ID": at.access_key_id, "SECRET_ACCESS_KEY": at.secret_access_key, "REGION": aws.REGION},
    }
    environment = {"PATH": path, "HOME": str(home), "LANG": "C.UTF-8", "RCLONE_CONFIG": str(home / "rclone.conf")}
    environment |= {f"RCLONE_CONFIG_STACK_{option}": value for option, value in remote.items()}
    yield Program(name, deployed, environment | aws.environment(deployed.stack.access))


@pytest.fixture
def prefix(program: Program, request: pytest.FixtureRequest) -> str:
    """A folder of the test's own under uploads/."""
    return f"uploads/{request.node.originalname}/{program.name}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures with names as people have them, and what their computers put beside them."""
    for name in (*NAMES, *LEFT_BEHIND):
        file = tmp_path / "pictures" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(SAMPLE.read_bytes() if name in NAMES else b"not a picture")
    return tmp_path / "pictures"


def large_png(side: int = 1750) -> bytes:
    """A picture of 9 MB: it is not compressed."""
    rows = b"".join(b"\0" + bytes([line % 256]) * 3 * side for line in range(side))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows, 0)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


def test_a_second_sync_buys_nothing(program: Program, prefix: str, folder: Path) -> None:
    """The pictures are equal. s3cmd copies all but the first, can't copy their ACLs, and uploads them after all."""
    before = program.settled()
    program("sync", f"{folder}/", program.at(f"{prefix}/"))
    versions = program.versions(prefix)
    assert set(versions) == {f"{prefix}/{name}" for name in (*NAMES, *LEFT_BEHIND)}
    ordered = {program.deployed.job_of(f"{prefix}/{name}", versions[f"{prefix}/{name}"][0]) for name in NAMES}
    assert program.settled() - before == ordered
    program("sync", f"{folder}/", program.at(f"{prefix}/"))
    assert program.settled() - before == ordered
    assert [program.deployed.ended(job_id)["state"] for job_id in ordered] == ["COMPLETED"] * len(NAMES)


@pytest.mark.parametrize("program", ["rclone"], indirect=True)
@pytest.mark.slow
def test_a_file_with_a_new_time_is_no_new_order(program: Program, prefix: str, folder: Path) -> None:
    """rclone stores a file's time as metadata, and changes it by copying the object onto itself."""
    program("sync", f"{folder}/", program.at(f"{prefix}/"))
    before = program.settled()
    for name in NAMES:
        os.utime(folder / name, (1_700_000_000, 1_700_000_000))
    program("sync", f"{folder}/", program.at(f"{prefix}/"))
    program("touch", program.at(f"{prefix}/{NAMES[0]}"))
    versions = program.versions(prefix)
    assert [len(versions[f"{prefix}/{name}"]) for name in NAMES] == [3, 2, 2, 2]
    assert program.settled() == before


Change = Callable[[Program, str, str], None]


def by_cli(program: Program, key: str, option: str) -> None:
    program("put", program.at(key), program.at(key), "--metadata-directive=REPLACE", f"--metadata={option}")


def by_s3cmd(program: Program, key: str, option: str) -> None:
    name, _, value = option.partition("=")
    program("modify", f"--add-header=x-amz-meta-{name}: {value}", program.at(key))


@pytest.mark.parametrize("program", ["aws", "s3cmd"], indirect=True)
@pytest.mark.slow
def test_changed_metadata_is_an_order_only_if_it_changes_the_video(program: Program, prefix: str) -> None:
    change: Change = by_cli if program.name == "aws" else by_s3cmd
    key = f"{prefix}/shoe.jpg"
    program("put", SAMPLE, program.at(key))
    before = program.settled()
    change(program, key, "sku=4711")
    assert program.settled() == before
    change(program, key, "duration=10")
    latest, *earlier = program.jobs_of(key)
    assert program.settled() - before == {latest}
    assert len(earlier) == 2
    job = program.deployed.ended(latest)
    assert (job["state"], job["parameters"]["duration"]) == ("COMPLETED", 10)


@pytest.mark.slow
def test_an_upload_in_parts_is_one_order(program: Program, prefix: str, tmp_path: Path) -> None:
    picture, key = tmp_path / "large.png", f"{prefix}/large.png"
    picture.write_bytes(large_png())
    before = program.settled()
    program("put in parts", picture, program.at(key))
    head = program.deployed.client("s3").head_object(Bucket=program.deployed.output("UploadBucketName"), Key=key)
    assert "-2" in head["ETag"], "it was uploaded in two parts"
    (ordered,) = program.jobs_of(key)
    assert program.settled() - before == {ordered}
    assert program.deployed.ended(ordered)["state"] == "COMPLETED"
    if program.name == "aws":  # it also copies in parts, which S3 reports as an upload
        by_cli(program, key, "sku=4711")
        assert program.settled() - before == set(program.jobs_of(key))
        assert len(program.jobs_of(key)) == 2


@pytest.mark.slow
def test_a_move_within_uploads_is_a_new_order(program: Program, prefix: str) -> None:
    """A rename is a copy and a delete: nothing shows that the new object is the old one."""
    program("put", SAMPLE, program.at(f"{prefix}/old.jpg"))
    before = program.settled()
    program("move", program.at(f"{prefix}/old.jpg"), program.at(f"{prefix}/new.jpg"))
    assert program.settled() - before == set(program.jobs_of(f"{prefix}/new.jpg"))


def test_a_file_that_is_put_again_is_a_new_order(program: Program, prefix: str) -> None:
    """Except by rclone, which does not upload a file that is already there."""
    before = program.settled()
    for _ in range(2):
        program("put", SAMPLE, program.at(f"{prefix}/shoe.jpg"))
    ordered = program.jobs_of(f"{prefix}/shoe.jpg")
    assert len(ordered) == (1 if program.name == "rclone" else 2)
    assert program.settled() - before == set(ordered)
