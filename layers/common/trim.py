"""Takes out of a built layer what no function runs: most of botocore's data, and what libraries bring for others.

botocore describes four hundred services, with their documentation. Finding and reading all that costs a cold
start more than anything else, so the layer keeps the services that seedance/aws.py names, without the prose.

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
    "aws_lambda_powertools/event_handler/openapi/swagger_ui",
    "pydantic/v1",
    "pydantic/mypy.py",
    "pydantic/_hypothesis_plugin.py",
    "botocore/data/*/*/examples-1.json*",
    "botocore/cacert.pem",  # certifi is there
    "dateutil/zoneinfo",
)


def main() -> None:
    site = Path(sys.argv[1])
    for pattern in UNUSED:
        for path in site.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    _trim_data(
        site / "botocore" / "data", set(re.findall(r'_later\("(\w+)"\)', (site / "seedance/aws.py").read_text()))
    )


def _trim_data(data: Path, services: set[str]) -> None:
    """Keep the latest API of these services, and of the list of all endpoints their entries."""
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
        prefixes.add(json.loads((latest / "service-2.json").read_bytes())["metadata"]["endpointPrefix"])
    endpoints = json.loads((data / "endpoints.json").read_bytes())
    for partition in endpoints["partitions"]:
        partition["services"] = {name: value for name, value in partition["services"].items() if name in prefixes}
    _write(data / "endpoints.json", endpoints)


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
