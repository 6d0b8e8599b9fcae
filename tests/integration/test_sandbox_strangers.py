"""No web page can call the stand-in: neither the provider's API, nor the control API, nor files."""

import httpx
import pytest

from local.sandbox import Sandbox
from local.sandbox.server import main

pytestmark = pytest.mark.hostile(kind="stranger")

PATHS = [
    ("POST", "/_sandbox/faults"),
    ("POST", "/_sandbox/reset"),
    ("GET", "/_sandbox/calls"),
    ("DELETE", "/_sandbox/faults"),
    ("POST", "/v2/seedance-2.0-mini"),
    ("GET", "/v1/get-user-credits"),
    ("POST", "/upload-asset"),
    ("GET", "/inference-request/request-history"),
    ("GET", "/media/x.mp4"),
    ("GET", "/nothing"),
]
PAGES = [
    ({"Origin": "http://evil.example"}, "pages of another origin"),
    ({"Origin": "null"}, "pages of another origin"),
    ({"Host": "evil.example"}, "is not this server"),
    ({"Sec-Fetch-Site": "cross-site"}, "pages of another site"),
    ({"Sec-Fetch-Site": "same-site"}, "pages of another site"),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize("page", PAGES)
def test_a_web_page_is_refused(
    sandbox: Sandbox, api: httpx.Client, method: str, path: str, page: tuple[dict[str, str], str]
) -> None:
    headers, says = page
    sandbox.fault("submit", "http-502")
    # A POST that a page can send without a preflight: a form with JSON in it.
    body = '{"on": "submit", "kind": "http-500"}'
    answer = api.request(method, path, content=body, headers={"Content-Type": "text/plain", **headers})
    assert answer.status_code == 403
    assert says in answer.json()["error"]
    assert [fault["kind"] for fault in sandbox.control.get("/_sandbox/faults").json()["faults"]] == ["http-502"]
    assert sandbox.calls() == []


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_no_web_page_gets_permission_to_call(api: httpx.Client, method: str, path: str) -> None:
    answer = api.options(path, headers={"Origin": str(api.base_url), "Access-Control-Request-Method": method})
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "", "example.com"])  # noqa: S104 - refused
def test_it_listens_only_on_this_machine(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--host", host, "--port", "0"])
    assert "other machines could reach it" in capsys.readouterr().err
