"""House rules for the console: what is served without a key, by what function, from which files."""

import gzip
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from seedance.console import PAGE, TYPES

from tests.infrastructure.reading import resolved
from tests.infrastructure.test_layer import make

MOST_GZIPPED_BYTES = 80_000
KEYLESS = ["GET /", "GET /web/{file}"]


@pytest.fixture
def web(root: Path) -> list[Path]:
    return sorted((root / "web").iterdir())


def test_keyless_are_the_console_and_the_links_and_nothing_else(
    functions: dict[str, Any], resources: dict[str, Any]
) -> None:
    """HEAD is GET without a body, so it has the same rules."""
    keyless = set()
    for name, properties in functions.items():
        for event in properties.get("Events", {}).values():
            if event["Type"] != "Api":
                continue
            of_event = event["Properties"]
            of_api = resources[of_event["RestApiId"]["Ref"]]["Properties"]
            if not of_event.get("Auth", of_api["Auth"])["ApiKeyRequired"]:
                stage = "" if of_api["StageName"] == "v1" else f"/{of_api['StageName']}"
                keyless.add((name, f"{of_event['Method'].upper().replace('HEAD', 'GET')} {stage}{of_event['Path']}"))
    assert keyless == {("watch", "GET /w/{token}"), *(("console", call) for call in KEYLESS)}


def test_what_needs_no_key_has_lower_limits_of_its_own(resources: dict[str, Any]) -> None:
    everything, *others = resources["Api"]["Properties"]["MethodSettings"]
    assert (everything["ResourcePath"], everything["HttpMethod"]) == ("/*", "*")
    limited = {(one["HttpMethod"], one["ResourcePath"]): one for one in others}
    paths = ["/", "/~1web~1{file}"]
    assert set(limited) == {(method, path) for method in ("GET", "HEAD") for path in paths}
    for one in others:
        assert 0 < one["ThrottlingRateLimit"] <= 20 < everything["ThrottlingRateLimit"]
        assert one["ThrottlingRateLimit"] < one["ThrottlingBurstLimit"] <= 200
    # One visit is within the limits: a page and all its files.
    assert limited["GET", "/~1web~1{file}"]["ThrottlingBurstLimit"] >= 5 * 30


def test_the_function_may_do_nothing(functions: dict[str, Any]) -> None:
    found = functions["console"]
    assert found["Policies"] == []
    assert "Role" not in found
    assert found["MemorySize"] < 512


def test_the_page_may_reach_the_buckets_where_links_and_forms_are_signed_for(functions: dict[str, Any]) -> None:
    """The addresses are those of test_layer.LINKS: virtual-hosted, with the region."""
    variables = functions["console"]["Environment"]["Variables"]
    for name, bucket in (("UPLOAD_ORIGIN", "UploadBucket"), ("VIDEO_ORIGIN", "VideoBucket")):
        address = f"https://${{{bucket}}}.s3.${{AWS::Region}}.${{AWS::URLSuffix}}"
        assert resolved(variables[name], ["OnAws"]) == {"Fn::Sub": address}


def test_the_console_has_no_address_but_its_own(template: dict[str, Any]) -> None:
    value = template["Outputs"]["ConsoleUrl"]["Value"]
    own, of_aws = resolved(value, ["HasDomain"])["Fn::Sub"], resolved(value, [])["Fn::Sub"]
    assert own == "https://${DomainName}/v1/"
    assert of_aws == template["Outputs"]["ApiUrl"]["Value"]["Fn::Sub"] + "/"
    assert template["Resources"]["DomainApi"]["Properties"]["BasePath"] == "v1"


def test_a_browser_may_load_every_file(web: list[Path]) -> None:
    """Files have no folders, since an address has one name after web/, and are text."""
    assert PAGE in {path.name for path in web}
    for path in web:
        assert path.suffix in TYPES, path
        assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*", path.name), path
        assert path.read_text(encoding="utf-8"), path


def test_the_page_is_light(web: list[Path]) -> None:
    assert sum(len(gzip.compress(path.read_bytes())) for path in web) <= MOST_GZIPPED_BYTES


def test_nothing_is_inline_or_from_elsewhere(web: list[Path]) -> None:
    """The policy for content would stop it in a browser. Here it is found without one."""
    for path in web:
        text = path.read_text()
        if path.suffix in (".html", ".svg"):
            assert not re.search(r"<style|\sstyle\s*=|\son\w+\s*=|javascript:", text, flags=re.IGNORECASE), path
            scripts = re.findall(r"<script\b([^>]*)>(.*?)</script>", text, flags=re.DOTALL | re.IGNORECASE)
            assert all("src=" in attributes and not content.strip() for attributes, content in scripts), path
            loaded = re.findall(r"""(?:src|href)\s*=\s*["']([^"']+)""", text)
            assert all(not re.match(r"(\w+:|/)", address) for address in loaded), (path, loaded)
        if path.suffix == ".css":
            assert not re.search(r"@import|url\(\s*['\"]?(\w+:|/)", text), path
        if path.suffix == ".js":
            imports = re.findall(r"""(?:from|import)\s*\(?\s*["']([^"']+)["']""", text)
            assert all(name.startswith("./") for name in imports), (path, imports)
            assert not re.search(
                r"\b(eval|Function)\(|\.innerHTML|\.outerHTML|insertAdjacentHTML|document\.write", text
            )


def test_the_build_packs_the_files_with_the_function(root: Path, tmp_path: Path, web: list[Path]) -> None:
    make(root, "build-ConsoleFunction", tmp_path, "host")
    assert {path.name: path.read_bytes() for path in (tmp_path / "web").iterdir()} == {
        path.name: path.read_bytes() for path in web
    }
    assert (tmp_path / "app.py").read_bytes() == (root / "functions/console/app.py").read_bytes()
    assert list((tmp_path / "__pycache__").iterdir())


def test_it_starts_without_aws_and_powertools(root: Path) -> None:
    """A visit starts several at once. The imports take 0.03 s, and Powertools as much again (2026-11-30, 2 cores)."""
    heavy = {"botocore", "aws_lambda_powertools", "pydantic", "httpx", "seedance.jobs.store"}
    code = f"import sys; sys.path[:0] = {[str(root / 'layers/common'), str(root / 'functions/console')]}; import app\n"
    code += f"print(sorted(set({sorted(heavy)}) & sys.modules.keys()))"
    said = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert said.stdout.strip() == "[]"
