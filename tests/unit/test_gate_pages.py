"""The gate and the pages that it serves: the console works, strangers only open it, and no uploaded page runs."""

from typing import Any

import pytest
from gated import API, MAIL, OURS, STRANGER, URL, Ask, Emulator, asking

from local import aws

PAGE = "/_aws/execute-api/d4000456/v1/"
LINK = f"/_aws/execute-api/d4000456/w/{'0a' * 16}"
OWN = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty", "Referer": URL}
SENT = {**OWN, "Origin": URL}
OPENED = {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


@pytest.fixture
def emulator() -> Emulator:
    return Emulator()


@pytest.fixture
def ask(emulator: Emulator) -> Ask:
    return asking(emulator)


def s3() -> Any:
    return aws.client.__wrapped__(aws.Access(URL, OURS), "s3")


@pytest.mark.parametrize("headers", [OPENED, MAIL, {}])
@pytest.mark.parametrize("path", [PAGE, LINK])
def test_the_console_and_a_lasting_link_are_opened_from_anywhere(ask: Ask, path: str, headers: dict[str, str]) -> None:
    assert ask("GET", path, headers=headers).status_code == 200


@pytest.mark.hostile(kind="stranger")
@pytest.mark.parametrize("path", [PAGE, LINK])
@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", STRANGER),
        ("GET", {**MAIL, "Sec-Fetch-Dest": "iframe"}),
        ("GET", {**MAIL, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"}),
        ("GET", {**MAIL, "Sec-Fetch-Site": "same-site", "Sec-Fetch-Dest": "embed"}),
        ("GET", {**MAIL, "Host": "rebound.example:4566"}),
        ("POST", MAIL),
        ("OPTIONS", STRANGER),
    ],
)
def test_a_page_that_opens_them_neither_reads_nor_embeds_them(
    emulator: Emulator, ask: Ask, path: str, method: str, headers: dict[str, str]
) -> None:
    assert ask(method, path, headers=headers).status_code == 403
    assert emulator.reached == []


@pytest.mark.hostile(kind="stranger")
@pytest.mark.parametrize(
    "path", [API, f"{PAGE}web/app.js", f"{PAGE}openapi.json", f"{PAGE}/", f"{PAGE}%2e", f"x{PAGE}"]
)
def test_nothing_else_of_the_api_is_opened_from_another_page(ask: Ask, path: str) -> None:
    assert ask("GET", path if path[0] == "/" else f"/{path}", headers=MAIL).status_code == 403


def test_the_consoles_own_page_loads_its_files_and_calls_the_api(emulator: Emulator, ask: Ask) -> None:
    script = {**OWN, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"}
    assert ask("GET", f"{PAGE}web/app.js", headers=script).status_code == 200
    assert ask("GET", API, headers={**OWN, "x-api-key": "k"}).status_code == 200
    assert ask("POST", API, headers={**SENT, "x-api-key": "k"}, json={}).status_code == 200
    assert len(emulator.reached) == 3


def test_the_consoles_own_page_posts_signed_forms_and_no_others(emulator: Emulator, ask: Ask) -> None:
    form = s3().generate_presigned_post("uploads", "images/posted/a.png")
    path = form["url"].removeprefix(URL)
    file = {"file": ("a.png", b"picture")}
    assert ask("POST", path, data=form["fields"], files=file, headers=SENT).status_code == 200
    changed = {**form["fields"], "x-amz-signature": "0" * 64}
    assert ask("POST", path, data=changed, files=file, headers=SENT).status_code == 403
    assert ask("POST", path, data=form["fields"], files=file, headers={**SENT, "Origin": "null"}).status_code == 403
    assert len(emulator.reached) == 1


@pytest.mark.hostile(kind="stranger")
def test_scripts_of_an_object_behind_a_link_do_not_run(ask: Ask) -> None:
    """It would have the origin of the console, and so its key."""
    link = s3().generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "page.html"})
    assert ask("GET", link, headers=MAIL).headers["content-security-policy"] == "script-src 'none'; object-src 'none'"
    assert "content-security-policy" not in ask("GET", API).headers
