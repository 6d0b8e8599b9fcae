"""Takes out of a built layer what no function runs: most of botocore's data, and what libraries bring for others.

botocore describes four hundred services, with their documentation. Finding and reading all that costs a cold
start more than anything else, so the layer keeps the services that seedance/aws/clients.py names, of these the
operations whose names occur in the package's source, and no prose.

    python trim.py FOLDER          (the folder that Lambda puts on Python's path)
"""

import gzip
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

UNUSED = (
    "bin",
    "anyio",  # httpx needs it for asynchronous clients only
    "anyio-*.dist-info",
    "aws_lambda_powertools/event_handler",
    "pydantic/v1",
    "pydantic/mypy.py",
    "pydantic/_hypothesis_plugin.py",
    "botocore/data/*/*/examples-1.json*",
    "botocore/cacert.pem",  # certifi is there
    "dateutil/zoneinfo",
)

BOTOCORES_OWN = {"head_bucket", "create_bucket"}
"""What botocore needs by itself: S3's client asks for the region of a bucket that is elsewhere, and finds the address
of a form for an upload (generate_presigned_post) as if it were to create the bucket."""


def main() -> None:
    site = Path(sys.argv[1])
    for pattern in UNUSED:
        for path in site.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    services = set(re.findall(r'_later\("(\w+)"\)', (site / "seedance/aws/clients.py").read_text()))
    words = {word for file in (site / "seedance").rglob("*.py") for word in re.findall(r"\w+", file.read_text())}
    _trim_data(site / "botocore" / "data", services, words | BOTOCORES_OWN)


def _trim_data(data: Path, services: set[str], words: set[str]) -> None:
    """Keep the latest API of these services with the operations in ``words``, and their entries among the endpoints."""
    prefixes = set()
    for folder in [path for path in data.iterdir() if path.is_dir()]:
        if folder.name not in services:
            shutil.rmtree(folder)
            continue
        *old, latest = sorted(folder.iterdir())
        for path in old:
            shutil.rmtree(path)
        for path in latest.glob("*.json.gz"):
            _write(path.with_suffix(""), _without_prose(json.loads(gzip.decompress(path.read_bytes()))))
            path.unlink()
        api = json.loads((latest / "service-2.json").read_bytes())
        prefixes.add(api["metadata"]["endpointPrefix"])
        _write(latest / "service-2.json", _with_operations(api, words))
    endpoints = json.loads((data / "endpoints.json").read_bytes())
    for partition in endpoints["partitions"]:
        partition["services"] = {name: value for name, value in partition["services"].items() if name in prefixes}
    _write(data / "endpoints.json", endpoints)


def _with_operations(api: dict[str, Any], words: set[str]) -> dict[str, Any]:
    """A service's description with the operations in ``words`` (``get_item``), and the shapes that these need."""
    operations = {name: value for name, value in api["operations"].items() if _spelt(name) in words}
    shapes: dict[str, Any] = {}
    open_ = [operations]
    while open_:
        for name in _named(open_.pop()) - set(shapes):
            shapes[name] = api["shapes"][name]
            open_.append(shapes[name])
    return {**api, "operations": operations, "shapes": shapes}


def _spelt(operation: str) -> str:
    """``GetItem`` as ``get_item``: as botocore's clients have it, for the operations that we call."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).lower()


def _named(value: Any) -> set[str]:
    """The shapes that a part of a description refers to."""
    if isinstance(value, dict):
        own = {value["shape"]} if isinstance(value.get("shape"), str) else set[str]()
        return own.union(*map(_named, value.values()))
    return set[str]().union(*map(_named, value)) if isinstance(value, list) else set()


def _without_prose(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: "" if name == "documentation" and isinstance(inner, str) else _without_prose(inner)
            for name, inner in value.items()
        }
    return [_without_prose(inner) for inner in value] if isinstance(value, list) else value


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, separators=(",", ":")))


if __name__ == "__main__":
    main()
