"""What the local AWS sends is kept as it was sent, and `seedance inbox` shows it. Its schedules run in scaled time."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ministack.services import eventbridge, sns
from typer.testing import CliRunner, Result

from cli import inbox as command
from cli import main, options
from cli.main import app
from local import aws, ministack_server
from local.inbox import INBOX, KEPT, Entry, Inbox, watch

TOPIC = "arn:aws:sns:us-east-1:000000000000:videos"
MESSAGE = {"default": json.dumps({"job_id": "up-1", "status": "FAILED"}), "email": "No video: shoe\n"}
Publish = Callable[..., None]


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Inbox:
    """The inbox of the emulator's own modules, which are changed back afterwards."""
    for module, name in ((sns, "_fanout"), (eventbridge, "_put_events")):
        monkeypatch.setattr(module, name, getattr(module, name))
    monkeypatch.setattr(sns, "_deliver_to_sqs", lambda *_, **__: None)
    made = Inbox(clock=lambda: 1_763_600_000.75)
    watch(made, sns, eventbridge)
    return made


@pytest.fixture
def publish(box: Inbox, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """A topic with subscriptions, and a publish on it as a function makes it."""

    def subscription(protocol: str, endpoint: str, **attributes: str) -> dict[str, Any]:
        return {
            "arn": endpoint,
            "protocol": protocol,
            "endpoint": endpoint,
            "confirmed": True,
            "attributes": attributes,
        }

    subscriptions = [
        subscription("sqs", "arn:aws:sqs:us-east-1:000000000000:q"),
        subscription("email", "you@example.com", FilterPolicy='{"batch": [{"exists": false}]}'),
        subscription("email", "ops@example.com", FilterPolicy='{"status": [{"anything-but": ["COMPLETED"]}]}'),
    ]
    topic = {"arn": TOPIC, "subscriptions": subscriptions}
    monkeypatch.setattr(sns, "_topic_by_arn_any_scope", lambda arn: topic if arn == TOPIC else None)

    def send(**attributes: str) -> None:
        told = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
        sns.publish_internal(
            TOPIC, json.dumps(MESSAGE), "No video: shoe", message_structure="json", message_attributes=told
        )

    return send


def test_a_mail_is_kept_for_each_address_that_its_filter_lets_through(box: Inbox, publish: Publish) -> None:
    publish(status="COMPLETED")
    publish(status="FAILED", batch="batch-1")
    publish(status="FAILED")
    mails = [(entry["to"], entry["subject"], entry["body"]) for entry in box.entries() if entry["kind"] == "mail"]
    assert mails == [
        (to, "No video: shoe", "No video: shoe\n")
        for to in ("you@example.com", "ops@example.com", "you@example.com", "ops@example.com")
    ]


def test_a_notification_is_kept_as_programs_get_it(box: Inbox, publish: Publish) -> None:
    publish(status="FAILED", batch="batch-1")
    (entry,) = [entry for entry in box.entries() if entry["kind"] == "notification"]
    assert entry["body"] == {"job_id": "up-1", "status": "FAILED"}
    assert (entry["to"], entry["at"]) == (TOPIC, "2025-11-20T00:53:20.750+00:00")


def test_events_are_kept_but_not_those_of_aws_itself(box: Inbox) -> None:
    entry = {"Source": "seedance", "DetailType": "Video State Changed", "Detail": '{"state": "QUEUED"}'}
    eventbridge._put_events({"Entries": [entry, {**entry, "Source": "aws.fake"}]})
    eventbridge._put_events({"Entries": [{**entry, "Source": "aws.states"}]}, allow_aws_source=True)
    (kept,) = box.entries()
    assert (kept["kind"], kept["to"], kept["subject"]) == ("event", "default", "Video State Changed")
    assert kept["body"] == {**entry, "Detail": {"state": "QUEUED"}}


def test_only_the_newest_are_kept_and_a_file_survives_a_kill(tmp_path: Path) -> None:
    file = tmp_path / "inbox.jsonl"
    box = Inbox(file)
    for number in range(KEPT + 5):
        box.add("mail", "you", str(number), "text")
    with file.open("a") as opened:
        opened.write('{"at": "20')  # the process was killed here
    again = Inbox(file)
    subjects = [entry["subject"] for entry in again.entries()]
    assert (subjects[0], subjects[-1], len(subjects)) == ("5", str(KEPT + 4), KEPT)
    assert len(file.read_text().splitlines()) == KEPT


def test_the_emulator_returns_the_inbox_at_its_own_path(box: Inbox, publish: Publish) -> None:
    publish(status="FAILED")
    sent: list[Any] = []
    passed: list[str] = []

    async def app_of_the_emulator(scope: Any, *_: Any) -> None:
        passed.append(scope["path"])

    async def send(message: Any) -> None:
        sent.append(message)

    served = ministack_server._with_inbox(app_of_the_emulator, box)
    for path in (INBOX, "/", "/_seedance/inbox/x"):
        asyncio.run(served({"path": path}, None, send))  # type: ignore[arg-type]
    assert passed == ["/", "/_seedance/inbox/x"]
    assert json.loads(sent[1]["body"])["entries"] == box.entries()
    assert dict(sent[0]["headers"])[b"content-length"] == str(len(sent[1]["body"])).encode()


@pytest.mark.parametrize(("scale", "seconds", "tick"), [(1.0, 300, 10), (0.1, 30, 1), (0.001, 5, 1)])
def test_time_scale_also_speeds_up_reconcile(scale: float, seconds: float, tick: float, template: Any) -> None:
    events = SimpleNamespace(
        _parse_rate_seconds=eventbridge._parse_rate_seconds,
        _SCHEDULER_TICK_INTERVAL=eventbridge._SCHEDULER_TICK_INTERVAL,
    )
    ministack_server.hurry(events, scale)
    (schedule,) = template["Resources"]["ReconcileFunction"]["Properties"]["Events"].values()
    assert events._parse_rate_seconds(schedule["Properties"]["Schedule"]) == pytest.approx(seconds)
    assert events._parse_rate_seconds("cron(0 12 * * ? *)") is None
    assert pytest.approx(tick) == events._SCHEDULER_TICK_INTERVAL


# the command ------------------------------------------------------------------------------------------------

ENTRIES: list[Entry] = [
    {"at": "2026-11-30T03:00:00.000+00:00", "kind": kind, "to": to, "subject": subject, "body": body}
    for kind, to, subject, body in (
        (
            "mail",
            "you@example.com",
            "Video ready: [shoe] (8 s, $0.31)",
            f"Watch\n  https://x.example/{'y' * 300}\nJob up-1",
        ),
        ("notification", TOPIC, "", {"job_id": "up-1", "status": "COMPLETED"}),
        ("event", "default", "Video State Changed", {"Detail": {"job_id": "up-1", "state": "COMPLETED"}}),
        ("mail", "you@example.com", "No video: hat (out of time)", "Job up-2"),
    )
]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setattr(main.signal, "signal", lambda *_: None)
    monkeypatch.setattr(command, "on_this_machine", lambda _: SimpleNamespace(access=None))
    monkeypatch.setattr(aws, "inbox", lambda _: ENTRIES)
    monkeypatch.setattr(options.out, "_width", 80)
    return lambda *arguments: CliRunner().invoke(app, ["inbox", *arguments])


def test_mails_are_shown_in_full_on_80_columns(run: Any) -> None:
    said = run()
    assert said.exit_code == 0, said.output
    assert all(len(line) <= 80 for line in said.stdout.splitlines() if line.startswith(("│", "╭", "╰")))
    bare = "".join(line.strip("│").strip() for line in said.stdout.splitlines())
    assert "y" * 300 in bare
    assert "Subject:  Video ready: [shoe] (8 s, $0.31)" in said.stdout
    assert "event to default: Video State Changed" in said.stdout
    assert "notification" not in said.stdout


@pytest.mark.parametrize(
    ("options", "subjects"),
    [
        ([], [0, 2, 3]),
        (["--limit", "1"], [3]),
        (["--kind", "mail"], [0, 3]),
        (["--kind", "notification", "--kind", "event"], [1, 2]),
        (["--about", "up-1"], [0, 2]),
        (["--about", "nothing"], []),
    ],
)
def test_what_is_shown_can_be_chosen(run: Any, options: list[str], subjects: list[int]) -> None:
    lines = run(*options, "--json").stdout.splitlines()
    assert [json.loads(line) for line in lines] == [ENTRIES[number] for number in subjects]


def test_what_is_left_out_is_told(run: Any) -> None:
    assert "2 older ones are not shown; --limit 3 shows more" in run("--limit", "1").stderr
    assert run("--limit", "3").stderr == ""


def test_an_empty_inbox_says_where_mails_go(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws, "inbox", lambda _: [])
    assert "mails of finished videos go to you@example.com and are shown here" in run().stdout
