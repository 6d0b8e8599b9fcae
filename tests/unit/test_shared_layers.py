"""The local stack unpacks a layer once for all workers, as on AWS they share /opt."""

import io
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from local import ministack_server


def archive(path: Path, text: str) -> Path:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as written:
        written.writestr("python/a.py", text)
    path.write_bytes(packed.getvalue())
    return path


def test_a_layer_is_unpacked_once_and_code_for_each_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = SimpleNamespace(zipfile=zipfile)
    ministack_server.share_layers(runtime, tmp_path / "layers")
    unpacked: list[str] = []
    unpack = zipfile.ZipFile.extractall

    def seen(self: zipfile.ZipFile, path: Path, *rest: object) -> None:
        unpacked.append(Path(path).name)
        unpack(self, path)

    monkeypatch.setattr(zipfile.ZipFile, "extractall", seen)
    for worker, text in (("one", "same"), ("two", "same"), ("three", "other")):
        home = tmp_path / worker
        for name in ("layer_0", "code"):
            (home / name).mkdir(parents=True)
            with runtime.zipfile.ZipFile(archive(home / f"{name}.zip", text)) as opened:
                opened.extractall(home / name)
            assert (home / name / "python/a.py").read_text() == text
    assert unpacked.count("code") == 3
    assert len(unpacked) == 5
    assert (tmp_path / "one/layer_0").resolve() == (tmp_path / "two/layer_0").resolve()
    assert runtime.zipfile.BadZipFile is zipfile.BadZipFile
