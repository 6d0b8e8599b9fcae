"""The console as it is served: without a key, with its headers, under its policy, and S3 as another origin."""

import http.client
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from deployed import SAMPLE, Deployed, until
from playwright.sync_api import Browser, Page
from seedance.console import HEADERS, PAGE, TYPES
from seedance.rest.routes import ROUTES

from tests.console_page import Colours, Visitor, address, violations, visit
from tests.foreign_s3 import ForeignS3

pytestmark = pytest.mark.e2e

WEB = Path(__file__).parents[2] / "web"
FILES = sorted(path.name for path in WEB.iterdir())


def ask(deployed: Deployed, path: str, method: str = "GET", **headers: str) -> httpx.Response:
    """A call without a key; ``path`` is after the console's address."""
    answer = deployed.api.request(method, deployed.output("ConsoleUrl") + path, headers=headers)
    assert answer.status_code != 429, "too many calls for the limit of what needs no key"
    return answer


def policy(answer: httpx.Response) -> dict[str, list[str]]:
    parts = [part.split() for part in answer.headers["content-security-policy"].split(";")]
    return {name: sources for name, *sources in parts}


# without a browser -------------------------------------------------------------------------------------------------


def test_the_address_ends_in_a_slash_and_serves_the_page(deployed: Deployed) -> None:
    assert deployed.output("ConsoleUrl") == deployed.output("ApiUrl") + "/"
    assert deployed.stack.console_url == f"{deployed.output('ConsoleUrl')}#key={deployed.stack.api_key}"
    answer = ask(deployed, "")
    assert (answer.status_code, answer.content) == (200, (WEB / PAGE).read_bytes())
    assert answer.headers["content-type"] == TYPES[".html"]


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_served_with_its_type_and_all_headers(deployed: Deployed, name: str) -> None:
    answer = ask(deployed, f"web/{name}")
    assert (answer.status_code, answer.content) == (200, (WEB / name).read_bytes())
    assert answer.headers["content-type"] == TYPES[Path(name).suffix]
    assert {header: answer.headers[header] for header in HEADERS} == HEADERS


def test_the_policy_allows_the_page_its_own_files_and_the_buckets(deployed: Deployed) -> None:
    s3 = deployed.stack.endpoint_url
    assert policy(ask(deployed, "")) == {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "connect-src": ["'self'", s3],
        "img-src": ["'self'", s3],
        "media-src": [s3],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "frame-ancestors": ["'none'"],
    }


def test_the_policy_names_where_the_links_and_forms_of_the_api_lead(deployed: Deployed) -> None:
    form = deployed.call("POST", "/uploads", json={"name": "shoe.jpg"}).json()
    job = deployed.completed(deployed.order(prompt="for the policy", parameters={"resolution": "480p"}))
    found = policy(ask(deployed, ""))
    for name, url in (("connect-src", form["url"]), ("media-src", job["video"]["url"])):
        parts = urlsplit(url)
        assert f"{parts.scheme}://{parts.netloc}" in found[name]


@pytest.mark.parametrize("path", ["", f"web/{FILES[0]}", "web/none.js"])
def test_head_is_get_without_a_body(deployed: Deployed, path: str) -> None:
    get, head = ask(deployed, path), ask(deployed, path, "HEAD")
    assert (head.status_code, head.content) == (get.status_code, b"")
    own = {*map(str.lower, HEADERS), "content-type", "content-security-policy", "etag"}
    assert {name: head.headers.get(name) for name in own} == {name: get.headers.get(name) for name in own}


@pytest.mark.parametrize("path", ["", f"web/{FILES[0]}"])
def test_what_the_browser_has_is_not_sent_again(deployed: Deployed, path: str) -> None:
    first = ask(deployed, path)
    assert first.headers["cache-control"] == "no-cache"
    again = ask(deployed, path, **{"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["content-type"] == first.headers["content-type"]
    assert ask(deployed, path, **{"If-None-Match": '"old"'}).status_code == 200


def test_a_file_that_does_not_exist_is_a_problem(deployed: Deployed) -> None:
    answer = ask(deployed, "web/none.js")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json()["code"] == "NOT_FOUND"


@pytest.mark.hostile(kind="address")
@pytest.mark.parametrize(
    "path",
    [
        *("web/../app.py", "web/..%2fapp.py", "web/%2e%2e/app.py", "web/%2e%2e%2fapp.py", "web/..%5capp.py"),
        *("web/%252e%252e%252fapp.py", "web//app.py", "web/app.py", "web/./app.py", "web/%2fetc%2fpasswd", "web/"),
        *("web//etc/passwd", "web/app.py%00.js", "web/__pycache__", "app.py", "../app.py", "web/app.js/../../app.py"),
        *("web/%ff%fe.js", "web/" + "a" * 4000 + ".js", "web/index.html%0d%0aSet-Cookie:a=b", "web/*", "web/{file}"),
    ],
)
def test_no_path_leads_out_of_the_folder(deployed: Deployed, path: str) -> None:
    """Sent as they are: clients tidy up such paths."""
    parts = urlsplit(deployed.output("ConsoleUrl"))
    line = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=20)
    line.putrequest("GET", parts.path + path, skip_accept_encoding=True)
    line.endheaders()
    answer = line.getresponse()
    text = answer.read().decode(errors="replace")
    line.close()
    assert answer.status in (400, 403, 404), text[:200]
    assert "set-cookie" not in {name.lower() for name, _ in answer.getheaders()}
    assert not any(secret in text for secret in ("import ", "root:", "seedance.console"))


def test_without_a_key_there_is_nothing_else(deployed: Deployed) -> None:
    for route in ROUTES:
        method, path = route.split()
        assert deployed.call(method, path.replace("{job_id}", "api-none"), key=None).status_code == 403
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        for path in ("", f"web/{FILES[0]}"):
            assert ask(deployed, path, method).status_code in (403, 404, 405)


def test_whoever_asks_too_often_uses_up_no_call_of_the_api(deployed: Deployed) -> None:
    url = deployed.output("ConsoleUrl")
    statuses = [deployed.api.get(url).status_code for _ in range(60)]
    assert set(statuses) == {200, 429}
    assert [deployed.call("GET", "/models").status_code for _ in range(5)] == [200] * 5
    until(lambda: deployed.api.get(url).status_code == 200, "the page again", 30)
    time.sleep(4)  # for the next tests


# in a browser ------------------------------------------------------------------------------------------------------

UPLOAD = """async ([key, name, bytes]) => {
    const headers = {"x-api-key": key, "content-type": "application/json"};
    const asked = await fetch("uploads", {method: "POST", headers, body: JSON.stringify({name, bytes: bytes.length})});
    const form = await asked.json();
    const data = new FormData();
    for (const [field, value] of Object.entries(form.fields)) data.append(field, value);
    data.append("file", new Blob([new Uint8Array(bytes)], {type: form.content_type}));
    return new Promise((resolve) => {
        const request = new XMLHttpRequest();
        let told = 0;
        request.upload.onprogress = () => { told += 1; };
        request.onload = () => resolve({status: request.status, told, key: form.key});
        request.onerror = () => resolve({status: 0, told, key: form.key});
        request.open("POST", form.url);
        request.send(data);
    });
}"""
PLAY = """async (url) => {
    const video = document.createElement("video");
    video.muted = true;
    video.src = url;
    document.body.append(video);
    try { await video.play(); } catch (error) { return [error.name, video.error && video.error.message]; }
    await new Promise((resolve) => { video.ontimeupdate = () => video.currentTime > 0 && resolve(); });
    return [video.videoWidth > 0, video.currentTime > 0];
}"""
INLINE = """() => {
    const script = document.createElement("script");
    script.textContent = "window.ran = true";
    document.body.append(script);
    const styled = document.createElement("p");
    styled.setAttribute("style", "color: red");
    styled.setAttribute("onclick", "window.ran = true");
    document.body.append(styled);
    styled.click();
    return [window.ran === undefined, styled.style.color];
}"""
REACHES = "(url) => fetch(url, {mode: 'no-cors'}).then(() => true, () => false)"


@pytest.fixture
def page(deployed: Deployed, visitor: Visitor) -> Page:
    """The console, open and signed in."""
    return visitor.open(deployed.stack)


@pytest.fixture
def picture() -> list[int]:
    return list(SAMPLE.read_bytes())


def uploaded(page: Page, deployed: Deployed, picture: list[int]) -> Any:
    return page.evaluate(UPLOAD, [deployed.stack.api_key, "shoe.jpg", picture])


def test_the_page_runs_under_its_policy_without_a_complaint(deployed: Deployed, page: Page, visitor: Visitor) -> None:
    page.wait_for_load_state("networkidle")
    assert visitor.complaints == []
    assert urlsplit(page.url).netloc != urlsplit(deployed.stack.endpoint_url).netloc


def test_the_policy_stops_what_is_not_the_pages_own(deployed: Deployed, page: Page, visitor: Visitor) -> None:
    assert page.evaluate(INLINE) == [True, ""]
    assert [text for text in visitor.complaints if "Content Security Policy" in text]
    for url in ("http://127.0.0.1:1/", "http://other.example/", deployed.stack.sandbox_url):
        assert page.evaluate(REACHES, url) is False
    assert page.evaluate(REACHES, f"{address(deployed.stack)}web/{FILES[0]}") is True


def test_the_key_in_the_address_does_not_travel(deployed: Deployed, visitor: Visitor) -> None:
    sent: list[str] = []

    def keep(request: Any) -> None:
        headers = {name: value for name, value in request.all_headers().items() if name != "x-api-key"}
        sent.append(f"{request.url.partition('#')[0]} {headers}")

    visitor.context.on("request", keep)
    page = visitor.open(deployed.stack)
    page.wait_for_load_state("networkidle")
    assert page.evaluate("fetch('models').then((answer) => answer.status)") == 403
    assert len(sent) > 1
    assert not [one for one in sent if deployed.stack.api_key in one or "referer" in one]


def test_a_picture_is_posted_to_s3_under_the_buckets_own_rule(
    deployed: Deployed, page: Page, s3: ForeignS3, picture: list[int]
) -> None:
    done = uploaded(page, deployed, picture)
    assert done["status"] in (200, 204)
    assert done["told"] > 0
    bucket = deployed.output("UploadBucketName")
    posted = [(method, path) for method, path, _ in s3.asked if method != "GET"]  # the page gets videos by itself
    assert posted == [("OPTIONS", f"/{bucket}"), ("POST", f"/{bucket}")]
    stored = deployed.client("s3").get_object(Bucket=bucket, Key=done["key"])
    assert stored["Body"].read() == SAMPLE.read_bytes()


def test_without_the_rule_the_same_picture_is_not_posted(
    deployed: Deployed, page: Page, s3: ForeignS3, picture: list[int]
) -> None:
    """The tests of the console would notice: the emulator alone allows everything."""
    with s3.without_rules(deployed.output("UploadBucketName")):
        done = uploaded(page, deployed, picture)
    assert (done["status"], done["told"]) == (0, 0)
    assert [(method, status) for method, _, status in s3.asked if method != "GET"] == [("OPTIONS", 403)]
    assert uploaded(page, deployed, picture)["status"] in (200, 204)


@pytest.mark.parametrize(
    "change",
    [
        {"AllowedOrigins": ["https://console.example"]},
        {"AllowedMethods": ["PUT"]},
    ],
)
def test_a_rule_for_others_does_not_help(
    deployed: Deployed, page: Page, s3: ForeignS3, picture: list[int], change: dict[str, Any]
) -> None:
    bucket = deployed.output("UploadBucketName")
    (rule,) = s3.rules(bucket)
    with s3.without_rules(bucket):
        deployed.client("s3").put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [{**rule, **change}]})
        assert uploaded(page, deployed, picture)["status"] == 0


def test_a_video_plays_in_the_page_and_only_from_the_bucket(deployed: Deployed, page: Page, visitor: Visitor) -> None:
    job = deployed.completed(deployed.order(prompt="to play in the console", parameters={"resolution": "480p"}))
    url = job["video"]["url"]
    assert page.evaluate(PLAY, url) == [True, True]
    same = url.replace("127.0.0.1", "localhost")
    assert page.evaluate(PLAY, same)[0] == "NotSupportedError"
    assert [text for text in visitor.complaints if "media-src" in text]


@pytest.fixture(params=["light", "dark"])
def in_colours(request: pytest.FixtureRequest, browser: Browser, s3: ForeignS3) -> Iterator[Visitor]:
    colours: Colours = request.param
    with visit(browser, s3, colours=colours) as found:
        yield found


def test_axe_runs_beside_the_policy_and_finds_what_is_wrong(deployed: Deployed, in_colours: Visitor) -> None:
    """The page itself is checked with its views; here it is shown that a mistake would be found."""
    page = in_colours.open(deployed.stack)
    page.evaluate("document.body.append(document.createElement('img'))")
    assert "image-alt" in [one.partition(":")[0] for one in violations(page)]
