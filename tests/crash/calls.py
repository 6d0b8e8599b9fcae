"""Flows through all functions that make every call to AWS that they can make, for infrastructure/calls.json.

``make calls`` plays them. The scenarios of the crash matrix come first; the flows below add the batches, the decisions
of people, and what goes wrong in the middle of an upload.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import calls_to_aws
import shortcut
from calls_to_aws import Seen
from scenarios import SCENARIOS, Scenario, blocking, meets, uploaded
from seedance.jobs.job import batch_id, batch_job_id
from stage import RECEIVER, Stage, stage
from table_stream import STREAM, number_of
from wire import Call, How, Killed
from world import REGION, UPLOADS, World, png, s3_event

PART_BYTES = 4096
"""The size of an upload's parts in these flows, to make everything an upload of many parts."""

Flow = Callable[[World], object]


def ask(world: World, function: str, **question: Any) -> Any:
    """Invoke a function as a person or a state machine does, however it ends."""
    try:
        return world.invoke(function, question)
    except (Killed, Exception) as error:  # noqa: BLE001 - what was called is recorded, and nothing else is of interest
        return error


def call_api(world: World, method: str, resource: str, body: Any = None, **path: str) -> Any:
    event = {
        "httpMethod": method,
        "path": resource.format(**path),
        "resource": resource,
        "pathParameters": path,
        "headers": {"content-type": "application/json"},
        "requestContext": {"stage": "v1", "identity": {"apiKeyId": "key"}},
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }
    return ask(world, "api", **event)


def asked_with_an_image(world: World) -> None:
    """An API call with an image, its video's links, forms, and a call that names an image that does not exist."""
    world.put("images/shoe.png", png())
    body = {"prompt": "It turns.", "image_key": "images/shoe.png", "parameters": {"resolution": "480p"}}
    call_api(world, "POST", "/videos", body)
    world.settle()
    (job,) = world.all_jobs()
    call_api(world, "GET", "/videos/{job_id}", job_id=job.job_id)
    for method in ("GET", "HEAD"):
        ask(world, "watch", httpMethod=method, pathParameters={"token": job.link_token})
    call_api(world, "DELETE", "/videos/{job_id}/link", job_id=job.job_id)
    call_api(world, "POST", "/videos/{job_id}/link", job_id=job.job_id)
    for name in ("shoe.png", "spring.csv"):
        call_api(world, "POST", "/uploads", {"name": name})
    call_api(world, "POST", "/videos", {**body, "image_key": "images/none.png"})


def asked_with_a_posted_image(world: World) -> None:
    """An API call with an image that was uploaded with a form."""
    world.put("images/posted/shoe.png", png())
    body = {"prompt": "It turns.", "image_key": "images/posted/shoe.png", "parameters": {"resolution": "480p"}}
    call_api(world, "POST", "/videos", body)
    world.settle()


def looked_at(world: World) -> None:
    """The API's calls that buy nothing, and a job of an earlier release that gets into the list."""
    uploaded()(world)
    world.settle()
    call_api(world, "GET", "/videos")
    call_api(world, "POST", "/estimates", {"model": "seedance-pro"})
    call_api(world, "GET", "/budget")
    call_api(world, "POST", "/pause", {"reason": "prices are being checked"})
    call_api(world, "POST", "/resume")
    (job,) = world.all_jobs()
    key = {"job_id": {"S": job.job_id}}
    world.client("dynamodb").update_item(
        TableName="jobs", Key=key, UpdateExpression="REMOVE #month", ExpressionAttributeNames={"#month": "month"}
    )
    world.pass_time(61)  # every index has caught up
    ask(world, "repair", ask="index")
    assert [one.month for one in world.all_jobs()] == [job.month]


def found_by_a_retry(world: World) -> None:
    """A job of an earlier release that expired, and whose video was made after all."""
    uploaded()(world)
    world.settle()
    (job,) = world.all_jobs()
    table = world.client("dynamodb")
    table.delete_item(TableName="jobs", Key={"job_id": {"S": f"request#{job.request_id}"}})
    table.update_item(
        TableName="jobs",
        Key={"job_id": {"S": job.job_id}},
        UpdateExpression="SET #state = :expired REMOVE result_url, video",
        ExpressionAttributeNames={"#state": "state"},
        ExpressionAttributeValues={":expired": {"S": "EXPIRED"}},
    )
    call_api(world, "POST", "/videos/{job_id}/retry", {"pay": False}, job_id=job.job_id)
    call_api(world, "GET", "/videos/{job_id}/timeline", job_id=job.job_id)
    world.settle()


def cancelled_after_a_resubmit(world: World) -> None:
    """A person has a lost submit sent again, which keeps its reservation, and then cancels it."""
    job_id = str(meets("submit", "reset-before-accept", uploaded())(world))
    world.happen()
    ask(world, "repair", ask="resolve", job_id=job_id, resubmit=True)
    call_api(world, "POST", "/videos/{job_id}/cancel", job_id=job_id)
    world.settle()
    other = world.ask("other")
    ask(world, "repair", ask="cancel", job_id=other)
    world.settle()


def without_a_version(world: World) -> None:
    """An upload whose event has no version."""
    body = png()
    world.put("uploads/a.png", body, {"resolution": "480p"})
    world.send(s3_event("uploads/a.png", None, len(body)))
    world.settle()


def missing_image(world: World) -> None:
    """Uploads whose object is gone when submit and generate read it."""
    key = world.upload()
    world.client("s3").delete_object(
        Bucket=UPLOADS, Key="uploads/shoe.png", VersionId=_version(world, "uploads/shoe.png")
    )
    world.settle()
    assert key


def _version(world: World, key: str) -> str:
    (found,) = world.client("s3").list_object_versions(Bucket=UPLOADS, Prefix=key)["Versions"]
    return str(found["VersionId"])


def touched(world: World) -> None:
    """An upload and a manifest that are copied onto themselves, and an object that is still empty when looked at again.

    The first copy's content is compared, because an upload in parts has another ETag than its copy.
    """
    s3 = world.client("s3")
    begun = s3.create_multipart_upload(Bucket=UPLOADS, Key="uploads/a.png")["UploadId"]
    where = {"Bucket": UPLOADS, "Key": "uploads/a.png", "UploadId": begun}
    tag = s3.upload_part(**where, PartNumber=1, Body=png())["ETag"]
    s3.complete_multipart_upload(**where, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]})
    world.put("batches/a.csv", b"image,prompt\n,It turns\n")
    for key in ("uploads/a.png", "batches/a.csv"):
        source = {"Bucket": UPLOADS, "Key": key}
        copy = s3.copy_object(**source, CopySource=source, Metadata={"mtime": "1"}, MetadataDirective="REPLACE")
        world.send(s3_event(key, copy["VersionId"], 1, name="ObjectCreated:Copy"))
    world.send(s3_event("uploads/b.png", world.put("uploads/b.png", b""), 0))
    world.send(s3_event("uploads/c.png", "gone", 0))
    world.settle()
    assert [job.state for job in world.all_jobs()] == ["REJECTED"]


def missing_before_it_is_sent(world: World) -> None:
    """The image is checked, and gone when its bytes are to be sent."""
    blocking()(world)
    world.happen()  # submit starts the execution
    world.collect()
    world.client("s3").delete_object(
        Bucket=UPLOADS, Key="uploads/shoe.png", VersionId=_version(world, "uploads/shoe.png")
    )
    world.settle()


def end_is_told_late(function: str) -> Flow:
    """No notification could be sent, and submit or fail is invoked again."""

    def flow(world: World) -> None:
        world.wire.down |= {("finalize", "sns.Publish")}
        job_id = str(uploaded()(world))
        while world.happen():
            pass
        world.wire.down.clear()
        if function == "submit":
            world.send({"job_id": job_id})
        else:
            ask(world, "fail", job_id=job_id, status="FAILED", error={"code": "X", "message": "why"})
        world.settle()

    return flow


def part_lost(function: str, number: int, begin: Flow) -> Flow:
    """A part of an upload is lost, so the upload is aborted."""

    def flow(world: World) -> None:
        world.wire.strike(Call(function, "s3.UploadPart", number), How.LOST)
        begin(world)
        world.settle()

    return flow


def manifest(world: World) -> None:
    """A batch whose plan and report have many parts."""
    key, rows = "batches/bad.csv", "images/none.png,It turns\n" * 300
    version = world.put(key, ("image,prompt\n" + rows).encode())
    ask(world, "plan", batch_id="ba-3", bucket=UPLOADS, key=key, version_id=version)


def batch(world: World) -> None:
    """A batch with an image, without one, and with a missing one, from its manifest to its results."""
    world.put("images/a.png", png())
    rows = "images/a.png,It turns\n" * 5 + ",It turns\n" * 300 + "images/none.png,It turns\n"
    key = "batches/spring.csv"
    version = world.put(key, ("image,prompt\n" + rows).encode())
    event = {"batch_id": batch_id(UPLOADS, key, version), "bucket": UPLOADS, "key": key, "version_id": version}
    world.invoke("submit", _message(key, version))
    planned = ask(world, "plan", **event)
    names = ("batch_id", "key", "plan_key")
    chunk = planned["chunks"][0]
    ask(world, "enqueue", **{name: planned[name] for name in names}, chunk=chunk)  # as an execution of release 0.1.0
    ask(world, "enqueue", **{name: planned[name] for name in names}, chunk=chunk, next=0)
    states = world.client("stepfunctions")
    (running,) = states.list_executions(stateMachineArn=world.batch_machine)["executions"]
    states.stop_execution(executionArn=running["executionArn"])
    ask(world, "repair", ask="restart", batch_id=event["batch_id"])
    ask(world, "collect", **planned)
    far_ahead = {**planned, "status": "RUNNING", "began_at": 0.0, "fed_at": 0.0, "progressed_at": 0.0}
    ask(world, "collect", **far_ahead)
    made = sum(call.verb == "collect" and call.name == "dynamodb.BatchGetItem" for call in world.wire.calls)
    world.wire.strike(Call("collect", "dynamodb.BatchGetItem", made + 4 + 4), How.LOST)
    ask(world, "collect", **far_ahead)
    ask(world, "collect", **event, exception={"Error": "x"})
    # Its last line can't be read, when parts of the plan are written already.
    refused = world.put("batches/bad.csv", ("image,prompt\n" + rows).encode() + b',"' + b"x" * 200_000)
    ask(world, "plan", **{**event, "batch_id": "ba-2", "key": "batches/bad.csv", "version_id": refused})
    shortcut.empty(REGION)  # the jobs themselves are of no interest here


def planned(world: World) -> None:
    """A batch that the API plans, approves, lists and cancels, and one that it plans from a missing manifest."""
    key, states = "staged/spring.csv", world.client("stepfunctions")
    world.put(key, b"prompt\n" + b"It turns\n" * 9 + b"NULL\n")
    call_api(world, "POST", "/batches", {"manifest_key": "staged/none.csv"})
    batch = json.loads(call_api(world, "POST", "/batches", {"manifest_key": key})["body"])["batch_id"]

    def given(name: str) -> dict[str, Any]:
        runs = states.list_executions(stateMachineArn=world.batch_machine)["executions"]
        (run,) = (one for one in runs if one["name"] == name)
        return dict(json.loads(states.describe_execution(executionArn=run["executionArn"])["input"]))

    assert ask(world, "plan", **given(batch))["status"] == "UNAPPROVED"
    for method, action in (("GET", ""), ("POST", "/approve")):
        call_api(world, method, f"/batches/{{batch_id}}{action}", batch_id=batch)
    state = given(f"{batch}-approved")
    chunk = {name: state[name] for name in ("batch_id", "key", "plan_key")} | {"chunk": state["chunks"][0], "next": 0}
    while isinstance(ask(world, "enqueue", **chunk), Exception):
        pass  # the queue rejected some messages; its task is retried
    call_api(world, "GET", "/batches/{batch_id}", batch_id=batch)
    call_api(world, "POST", "/batches/{batch_id}/cancel", batch_id=batch)
    assert ask(world, "enqueue", **chunk)["next"] == 10
    late = {"job_id": {"S": batch_job_id(batch, 9)}}  # as if it had become a job at the moment of the cancellation
    world.client("dynamodb").update_item(
        TableName="jobs",
        Key=late,
        UpdateExpression="SET #state = :state REMOVE notified_at",
        ExpressionAttributeNames={"#state": "state"},
        ExpressionAttributeValues={":state": {"S": "RECEIVED"}},
    )
    far_ahead = {**state, "status": "RUNNING", "began_at": 0.0, "fed_at": 0.0, "progressed_at": 0.0}
    assert ask(world, "collect", **far_ahead)["status"] == "BATCH_CANCELLED"
    call_api(world, "GET", "/batches/{batch_id}", batch_id=batch)
    world.pass_time(61)  # every index has caught up
    assert len(json.loads(call_api(world, "GET", "/batches")["body"])["batches"]) == 1
    shortcut.empty(REGION)  # the jobs themselves are of no interest here


def _message(key: str, version: str) -> dict[str, Any]:
    found = {"key": key, "size": 1, "sequencer": "1", "versionId": version}
    body = {
        "Records": [
            {
                "eventSource": "aws:s3",
                "eventName": "ObjectCreated:Put",
                "s3": {"bucket": {"name": UPLOADS}, "object": found},
            }
        ]
    }
    record = {
        "messageId": "m",
        "receiptHandle": "r",
        "body": json.dumps(body),
        "eventSource": "aws:sqs",
        "attributes": {},
    }
    return {"Records": [record]}


def decided(world: World) -> None:
    """What people decide about jobs: pause, resume, adopt, retry, resolve. And what the doctor asks."""
    job_id = uploaded()(world)
    ask(world, "repair", ask="pause", reason="a person stopped them")
    world.settle()
    ask(world, "repair", ask="resume")
    world.settle()
    (job,) = world.all_jobs()
    ask(world, "repair", ask="retry", job_id=job_id, pay=False)
    ask(world, "repair", ask="history", model=job.model, since=world.now() - 86_400, until=world.now(), page=1)
    ask(world, "repair", ask="unowned", model=job.model, since=0.0)
    ask(world, "repair", ask="release")
    for what in ("release", "balance", "link"):
        ask(world, "repair", ask="examine", what=what)
    ask(world, "repair", ask="examine", what="request", request_id=job.request_id)


def decided_after_a_failure(world: World) -> None:
    """A failed job is bought again, fails again, and is given up; a dead letter is put back."""
    job_id = meets("job", "fail", uploaded(), times=2)(world)
    for _ in range(3):
        world.happen()
    ask(world, "repair", ask="go on")
    world.settle()
    ask(world, "repair", ask="retry", job_id=job_id, pay=True)
    world.settle()
    world.client("sqs").send_message(QueueUrl=f"{world.queue}-dead", MessageBody=json.dumps({"job_id": job_id}))
    ask(world, "repair", ask="redrive")


def decided_about_a_lost_submit(world: World) -> None:
    """A lost submit is adopted by a person; a request that no job owns gets a job."""
    world.sandbox.configure(history_bodies="hidden")
    job_id = meets("submit", "reset-after-accept", uploaded())(world)
    world.settle()
    world.settle()
    (one,) = world.sandbox.state.jobs.values()
    ask(world, "repair", ask="adopt", job_id=job_id, request_id=one.request_id)
    ask(world, "repair", ask="go on")
    world.settle()
    other = meets("submit", "reset-before-accept", uploaded())(world)
    world.settle()
    world.settle()
    ask(world, "repair", ask="resolve", job_id=other, give_up=True)


def unheard(world: World) -> None:
    """Webhooks fail, then their receiver is gone; a person puts them back, and what could not be announced."""
    assert world.receiver
    world.receiver.will(500)
    uploaded()(world)
    world.settle()
    world.receiver.will(410)
    world.ask("another")
    world.settle()
    numbers = [number_of(place) for place in (0, len(world.adversary.stream) - 1)]
    where = {"shardId": "shardId-00000001414576573621-f55eea83", "streamArn": STREAM}
    letter = {**where, "startSequenceNumber": str(numbers[0]), "endSequenceNumber": str(numbers[1])}
    body = json.dumps({"DDBStreamBatchInfo": letter})
    world.client("sqs").send_message(QueueUrl=world._url("unannounced"), MessageBody=body)
    ask(world, "announce", ask="redrive")
    world.settle()


def of_nobody(world: World) -> None:
    """A request at the provider that no job owns."""
    uploaded()(world)
    world.settle()
    (job,) = world.all_jobs()
    for key in (job.job_id, f"request#{job.request_id}"):
        world.client("dynamodb").delete_item(TableName="jobs", Key={"job_id": {"S": key}})
    ask(world, "repair", ask="take over", model=job.model, request_id=job.request_id)
    world.settle()


def _scenario(flow: Flow, **environment: str) -> Scenario:
    return Scenario(flow.__name__, flow, environment=environment, part_bytes=PART_BYTES)


FLOWS = (
    *SCENARIOS,
    Scenario("v1, image by asset upload", blocking(), environment={"IMAGE_DELIVERY": "upload"}),
    _scenario(asked_with_an_image),
    _scenario(asked_with_an_image, IMAGE_DELIVERY="upload"),
    _scenario(asked_with_a_posted_image),
    _scenario(looked_at),
    _scenario(found_by_a_retry),
    _scenario(cancelled_after_a_resubmit),
    _scenario(without_a_version),
    _scenario(missing_image),
    _scenario(touched),
    _scenario(missing_before_it_is_sent, IMAGE_DELIVERY="upload"),
    *(Scenario(f"told late by {one}", end_is_told_late(one)) for one in ("submit", "fail")),
    *(
        Scenario(f"a part lost by {function}", part_lost(function, number, begin), part_bytes=PART_BYTES)
        for function, number, begin in (
            ("finalize", 2, uploaded()),
            ("generate", 2, blocking()),
            ("plan", 8, manifest),
        )
    ),
    _scenario(batch, DAILY_BUDGET_USD="10"),
    _scenario(planned, DAILY_BUDGET_USD="10"),
    _scenario(decided),
    _scenario(decided_after_a_failure),
    _scenario(decided_about_a_lost_submit),
    _scenario(of_nobody),
    _scenario(unheard, WEBHOOK_URL=RECEIVER),
)


def record(servers: Stage) -> set[Seen]:
    """The calls of all flows."""
    servers.seen.clear()
    for flow in FLOWS:
        flow.play(servers)
    return set(servers.seen)


if __name__ == "__main__":
    with stage() as servers:
        found = record(servers)
    calls_to_aws.write(found)
    print(f"{len(found)} calls: {calls_to_aws.COMMITTED}")
