"""The console's page and files: types, headers, what a browser has already, and names that are none."""

import json
from pathlib import Path
from typing import Any

import pytest
from hostile_values import TEXTS
from hypothesis import given
from hypothesis import strategies as st
from invoking import as_from_lambda, invoke
from seedance.console import HEADERS, PAGE, TYPES, Console

UPLOADS, VIDEOS = "https://uploads.s3.eu-central-1.amazonaws.com", "https://videos.s3.eu-central-1.amazonaws.com"
FILES = {
    PAGE: "<!doctype html>é",
    "app.js": "export {};",
    "style.css": "a {}",
    "icon.svg": "<svg/>",
    "words.json": "{}",
}
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "connect-src": f"'self' {UPLOADS} {VIDEOS}",
    "img-src": f"'self' {UPLOADS} {VIDEOS}",
    "media-src": f"{UPLOADS} {VIDEOS}",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files, beside a secret."""
    around = tmp_path_factory.mktemp("function")
    (around / "app.py").write_text("secret = 1")
    web = around / "web"
    web.mkdir()
    for name, text in FILES.items():
        (web / name).write_text(text, encoding="utf-8")
    (web / "module.py").write_text("secret = 2")
    (web / "folder.js").mkdir()
    return web


@pytest.fixture(scope="module")
def console(folder: Path) -> Console:
    return Console(folder, UPLOADS, VIDEOS)


def request(name: Any = None, method: str = "GET", **headers: str) -> dict[str, Any]:
    """What API Gateway sends for a file, or without a name for the page."""
    if name is None:
        return {"httpMethod": method, "resource": "/", "pathParameters": None, "headers": headers}
    return {"httpMethod": method, "resource": "/web/{file}", "pathParameters": {"file": name}, "headers": headers}


def policy(answer: Any) -> dict[str, str]:
    parts = answer["headers"]["Content-Security-Policy"].split("; ")
    return dict(part.split(" ", 1) for part in parts)


def test_the_page_is_served_at_the_root_with_all_headers(console: Console) -> None:
    answer = console.respond(request())
    assert (answer["statusCode"], answer["body"]) == (200, FILES[PAGE])
    assert policy(answer) == POLICY
    own = {name: answer["headers"].pop(name) for name in ("Content-Type", "ETag", "Content-Security-Policy")}
    assert own["Content-Type"] == "text/html; charset=utf-8"
    assert answer["headers"] == HEADERS
    assert HEADERS["Cache-Control"] == "no-cache"
    assert HEADERS["X-Content-Type-Options"] == "nosniff"
    assert HEADERS["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("name", FILES)
def test_a_file_has_the_type_of_its_ending(console: Console, name: str) -> None:
    answer = console.respond(request(name))
    assert (answer["statusCode"], answer["body"]) == (200, FILES[name])
    assert answer["headers"]["Content-Type"] == TYPES[Path(name).suffix]
    assert policy(answer) == POLICY


@pytest.mark.parametrize("given", [request(), request("app.js")])
def test_head_is_the_same_without_a_body(console: Console, given: dict[str, Any]) -> None:
    whole = console.respond(given)
    assert console.respond({**given, "httpMethod": "HEAD"}) == {**whole, "body": ""}


@pytest.mark.parametrize("form", ["{0}", "{1}", '"other", {0}', "*", '{1},"other"'])
def test_a_file_that_the_browser_has_is_not_sent_again(console: Console, form: str) -> None:
    first = console.respond(request("app.js"))
    tag = first["headers"]["ETag"]
    known = form.format(tag, tag.removeprefix("W/"))
    answer = console.respond(request("app.js", **{"If-None-Match": known}))
    assert answer == {"statusCode": 304, "headers": first["headers"], "body": ""}


@pytest.mark.parametrize("known", ["", '"other"', 'W/"other"', "W/", "\x00"])
def test_another_version_is_sent(console: Console, known: str) -> None:
    assert console.respond(request("app.js", **{"if-none-match": known}))["statusCode"] == 200


def test_each_content_has_its_own_tag(console: Console) -> None:
    tags = {console.respond(request(name))["headers"]["ETag"] for name in FILES}
    assert len(tags) == len(FILES)


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../app.py", "..%2fapp.py", "%2e%2e/app.py", "/etc/passwd", "./app.js", "web/app.js"),
        *("module.py", "folder.js", "APP.JS", "app.js ", "app.js\x00", "app.js/", "index", 7, None, ["app.js"]),
    ],
)
def test_no_other_name_is_a_file(console: Console, name: Any) -> None:
    given = {**request("x"), "pathParameters": {"file": name}}
    answer = console.respond(given)
    body = json.loads(answer["body"])
    assert (answer["statusCode"], body["status"], body["code"]) == (404, 404, "NOT_FOUND")
    assert answer["headers"]["Content-Type"] == "application/problem+json"
    assert answer["headers"]["Cache-Control"] == "no-store"
    assert policy(answer) == POLICY
    assert console.respond({**given, "httpMethod": "HEAD"}) == {**answer, "body": ""}


ANYTHING = st.one_of(st.text(), st.sampled_from([*TEXTS.values(), *FILES]))


@given(name=ANYTHING, known=ANYTHING, resource=st.one_of(ANYTHING, st.none(), st.integers()))
def test_whatever_is_asked_only_the_files_are_answered(folder: Path, name: str, known: str, resource: Any) -> None:
    given = {**request(name, **{"if-none-match": known}), "resource": resource}
    answer = as_from_lambda(Console(folder, UPLOADS, VIDEOS).respond(given))
    assert answer["statusCode"] in (200, 304, 404)
    assert "secret" not in answer["body"]
    if answer["statusCode"] == 200:
        assert answer["body"] in FILES.values()


@pytest.mark.parametrize("event", [{}, {"headers": []}, {"pathParameters": "x", "httpMethod": 1}])
def test_an_event_that_is_none_is_not_found(console: Console, event: dict[str, Any]) -> None:
    assert console.respond(event)["statusCode"] == 404


@pytest.mark.usefixtures("wired")
def test_the_handler_serves_the_folder_beside_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "with_name", lambda path, name: root / name)
    answer = invoke(root, "console", request())
    assert answer["body"] == (root / "web" / PAGE).read_text()
    assert policy(answer)["media-src"] == "https://example-uploads.example https://example-videos.example"
