"""Local files in bulk: many images dropped at once, a folder as a batch, a whole batch downloaded."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import UPLOADS, Typed
from footage import small_png
from seedance.errors import InvalidRequest
from seedance.jobs.job import Job, State

from cli import actions, images, options, spending
from cli.target import CommandError, Target


@pytest.fixture
def shop(tmp_path: Path, png: bytes) -> Path:
    """A folder with images, and what else is in such folders."""
    folder = tmp_path / "shop"
    for name in ("red.png", "summer/hat.png", "summer/größe.png", ".hidden/no.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png)
    (folder / "notes.txt").write_text("buy more")
    (folder / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 60)
    return folder


def stored(world: Any, prefix: str) -> list[str]:
    listed = world.aws["s3"].list_objects_v2(Bucket=UPLOADS, Prefix=prefix)
    return sorted(item["Key"] for item in listed.get("Contents", []))


# what is there ----------------------------------------------------------------------------------------------


def test_an_images_type_is_detected_from_its_bytes(tmp_path: Path, png: bytes) -> None:
    (tmp_path / "misnamed.txt").write_bytes(png)
    assert images.look(tmp_path / "misnamed.txt").media_type == "image/png"


def test_the_sample_is_an_image_that_the_stack_accepts(root: Path) -> None:
    sample = images.look(root / "local" / "sample" / "product.jpg")
    assert sample.media_type == "image/jpeg"
    assert sample.size < 200_000


def test_a_file_that_the_stack_would_reject_is_refused(tmp_path: Path, png: bytes) -> None:
    (tmp_path / "page.png").write_text("<html>" * 20)
    (tmp_path / "empty.png").touch()
    (tmp_path / "half.png").write_bytes(png[: len(png) // 2])
    with (tmp_path / "huge.png").open("wb") as huge:
        huge.write(png)
        huge.truncate(31 * 2**20)
    for name, says in (
        ("page.png", "is not an image by its content"),
        ("empty.png", "is empty"),
        ("half.png", "is cut off"),
        ("none.png", "no such file"),
        ("huge.png", "at most 30 MB are allowed"),
        (".", "is a directory"),
    ):
        with pytest.raises(InvalidRequest, match=says):
            images.look(tmp_path / name)


def test_a_folder_gives_its_images_with_their_paths_and_says_what_it_leaves_out(shop: Path) -> None:
    found, left_out = images.find([str(shop)])
    assert [one.name for one in found] == ["shop/red.png", "shop/summer/größe.png", "shop/summer/hat.png"]
    assert [reason.rpartition("/")[2].split()[0] for reason in left_out] == ["notes.txt", "phone.heic"]
    assert "is in HEIC format; convert it" in left_out[1]


def test_a_damaged_image_in_a_folder_is_an_error(shop: Path, png: bytes) -> None:
    (shop / "half.png").write_bytes(png[: len(png) // 2])
    with pytest.raises(InvalidRequest, match=r"half\.png is cut off"):
        images.find([str(shop)])


def test_files_folders_and_globs_may_be_mixed_and_nothing_is_uploaded_twice(shop: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(shop)
    found, _ = images.find(["red.png", "summer", "**/*.png", "r*.png"])
    assert sorted(one.name for one in found) == ["red.png", "summer/größe.png", "summer/hat.png"]
    assert {one.name for one in images.find(["."])[0]} == {f"shop/{name}" for name in (
        "red.png", "summer/größe.png", "summer/hat.png"
    )}  # fmt: skip


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("", "the argument is empty"),
        ("*.jpg", "no images there"),
        ("none.png", "no such file"),
        ("notes.txt", "is not an image"),
        ("docs", "no images"),
    ],
)
def test_a_mistake_is_named(shop: Path, monkeypatch: Any, given: str, says: str) -> None:
    (shop / "docs").mkdir()
    monkeypatch.chdir(shop)
    with pytest.raises(InvalidRequest, match=says):
        images.find([given])


# drop -------------------------------------------------------------------------------------------------------


def test_every_image_of_a_folder_is_uploaded_with_the_options(
    typed: Typed, world: Any, moto_stack: Target, shop: Path
) -> None:
    result = typed("drop", shop, "--prompt", "It turns", "--metadata", "SKU=S-1", "--json")
    assert result.exit_code == 0, result.output
    keys = ["uploads/shop/red.png", "uploads/shop/summer/größe.png", "uploads/shop/summer/hat.png"]
    assert stored(world, "uploads/") == sorted(keys)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert len({line["job_id"] for line in lines}) == 3
    assert all(line["image"].endswith(".png") for line in lines)
    assert world.aws["s3"].head_object(Bucket=UPLOADS, Key=keys[0])["Metadata"] == {
        "prompt": "It turns",
        "metadata": '{"SKU":"S-1"}',
    }
    assert "left out: " in result.stderr


@pytest.mark.parametrize(
    ("settings", "options", "says"),
    [
        ({}, ["--set", "duration=4"], "must be 5 or 10, not 4"),
        ({"DefaultModel": "seedance-1.0-pro-fast"}, ["--set", "audio=true"], "has no such parameter"),
        ({"DefaultModel": "seedance-2.0-mini"}, ["--set", "camera_fixed=true"], "has no such parameter"),
        ({"DefaultModel": "seedance-2.0-mini"}, ["--transport", "v1"], "must be v2"),
    ],
)
def test_images_are_checked_against_the_model_that_the_stack_will_use(
    *, typed: Typed, world: Any, moto_stack: Target, shop: Path, settings: dict[str, str], options: list[str], says: str
) -> None:
    moto_stack.__dict__["_settings"] = settings
    result = typed("drop", shop / "red.png", *options)
    assert (result.exit_code, says in result.stderr) == (1, True)
    assert stored(world, "") == []


def test_an_image_whose_shape_the_stack_refuses_is_not_uploaded(
    typed: Typed, world: Any, moto_stack: Target, shop: Path
) -> None:
    (shop / "tiny.png").write_bytes(small_png(299, 400))
    result = typed("drop", shop)
    assert (result.exit_code, "tiny.png is 299 x 400 pixels" in result.stderr) == (1, True)
    assert stored(world, "") == []
    moto_stack.__dict__["_settings"] = {"AllowUnusualImages": "yes"}
    assert typed("drop", shop).exit_code == 0


def test_with_one_bad_image_none_is_uploaded(
    typed: Typed, world: Any, moto_stack: Target, shop: Path, png: bytes
) -> None:
    (shop / "zz.png").write_bytes(png[: len(png) // 2])
    result = typed("drop", shop)
    assert (result.exit_code, "zz.png is cut off" in result.stderr) == (1, True)
    assert stored(world, "") == []


def test_images_that_were_uploaded_before_an_error_are_named(
    typed: Typed, world: Any, moto_stack: Target, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "AT_ONCE", 1)
    real = actions.drop

    def drop(moto_stack: Target, image: Any, wish: Any) -> str:
        if "hat" in image.name:
            raise CommandError("the network is gone")
        return real(moto_stack, image, wish)

    monkeypatch.setattr(actions, "drop", drop)
    result = typed("drop", shop)
    assert result.exit_code == 1
    assert "2 of 3 images were uploaded, and their videos are made: up-" in result.stderr
    assert "the network is gone" in result.stderr


def test_a_wait_for_many_fails_if_one_has_no_video(
    *,
    typed: Typed,
    world: Any,
    moto_stack: Target,
    shop: Path,
    make_job: Callable[..., Job],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    states = iter([State.COMPLETED, State.FAILED, State.COMPLETED])

    def drop(_: Target, image: Any, __: Any) -> str:
        error = {"code": "X", "message": f"{image.name} was blocked"}
        world.put(make_job(next(states), job_id=f"up-{image.size}-{image.path.stem}", cost_usd=0.25, error=error))
        return f"up-{image.size}-{image.path.stem}"

    monkeypatch.setattr(images, "AT_ONCE", 1)
    monkeypatch.setattr(actions, "drop", drop)
    result = typed("drop", shop, "--wait")
    assert result.exit_code == 1
    assert "is FAILED: shop/summer/größe.png was blocked" in result.stderr
    assert "1 of 3 images have no video" in result.stderr
    assert "cost $0.75" in result.stdout


# the price --------------------------------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The questions that were asked; the answer is yes."""
    questions: list[str] = []
    monkeypatch.setattr(spending.sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(spending.typer, "confirm", lambda text, **_: questions.append(text))
    yield questions


@pytest.mark.parametrize(
    ("usd", "yes", "max_usd", "asks"),
    [(10.0, False, None, 0), (10.01, False, None, 1), (99.0, True, None, 0), (99.0, False, 100.0, 0)],
)
def test_a_price_is_agreed_to(asked: list[str], usd: float, yes: bool, max_usd: float | None, asks: int) -> None:
    spending.agree("12 videos", usd, yes=yes, max_usd=max_usd)
    assert len(asked) == asks
    assert all(f"${usd:.2f}" in question for question in asked)


def test_above_the_maximum_nothing_is_bought_whatever_else_is_said(asked: list[str]) -> None:
    for yes in (True, False):
        with pytest.raises(CommandError, match=r"about \$5\.01, more than --max-usd 5\.00"):
            spending.agree("12 videos", 5.01, yes=yes, max_usd=5.0)
    assert asked == []


def test_without_a_terminal_a_high_price_is_refused(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spending.sys.stdin, "isatty", lambda: False)
    with pytest.raises(CommandError, match="use --yes, or --max-usd"):
        spending.agree("12 videos", 10.01, yes=False, max_usd=None)


def test_a_program_is_not_asked(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options.out, "quiet", True)
    with pytest.raises(CommandError, match="use --yes, or --max-usd"):
        spending.agree("12 videos", 10.01, yes=False, max_usd=None)


def test_many_images_are_priced_before_the_first_is_uploaded(
    typed: Typed, world: Any, moto_stack: Target, shop: Path
) -> None:
    result = typed("drop", shop, "--max-usd", "0.70")  # 3 of $0.25
    assert (result.exit_code, "3 videos would cost about $0.75" in result.stderr) == (1, True)
    assert stored(world, "") == []
    assert typed("drop", shop / "red.png", "--max-usd", "0.20").exit_code == 1
    assert typed("drop", shop, "--max-usd", "0.75").exit_code == 0


# batches of local images ------------------------------------------------------------------------------------


def test_a_folder_of_images_is_a_batch(typed: Typed, world: Any, moto_stack: Target, shop: Path) -> None:
    options = ("--model", "seedance-pro", "--set", "duration=10", "--metadata", "SKU=S-1")
    result = typed("batch", shop, "--prompt", "It turns", *options)
    assert result.exit_code == 0, result.output
    (manifest,) = stored(world, "batches/")
    assert manifest == "batches/shop.jsonl"
    body = world.aws["s3"].get_object(Bucket=UPLOADS, Key=manifest)["Body"].read().decode()
    rows = [json.loads(line) for line in body.splitlines()]
    assert [row["image"] for row in rows] == ["red.png", "summer/größe.png", "summer/hat.png"]
    assert {(row["prompt"], row["model"], row["parameters"]["duration"]) for row in rows} == {
        ("It turns", "seedance-pro", "10")
    }
    assert [row["metadata"] for row in rows] == [{"SKU": "S-1"}] * 3
    folder = world.sheets.hints(manifest, None).image_folder
    assert stored(world, "images/") == sorted(folder + row["image"] for row in rows)
    assert "3 images beside the manifest" in result.stdout


@pytest.fixture
def manifest(shop: Path) -> Path:
    (shop / "spring.csv").write_text("image,prompt\nred.png,x\nsummer/hat.png,x\nimages/elsewhere.png,x\n,x\n")
    return shop / "spring.csv"


def test_images_beside_a_manifest_are_uploaded_and_the_manifest_is_not_changed(
    typed: Typed, world: Any, moto_stack: Target, manifest: Path
) -> None:
    result = typed("batch", manifest, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["images_to_upload"], told["valid"], told["estimate_usd"]) == (2, 4, 1.0)
    assert "1 row with an image that is not beside the manifest" in " ".join(told["notes"])
    stored_manifest = world.aws["s3"].get_object(Bucket=UPLOADS, Key="batches/spring.csv")["Body"].read()
    assert stored_manifest == manifest.read_bytes()
    folder = world.sheets.hints("batches/spring.csv", None).image_folder
    assert folder.startswith("images/spring-")
    assert stored(world, "images/") == sorted([f"{folder}red.png", f"{folder}summer/hat.png"])
    for name in ("red.png", "summer/hat.png"):
        facts = world.media.find_image(UPLOADS, name, folder=folder).facts
        assert facts["key"] == folder + name


def test_the_same_images_are_uploaded_once_and_changed_ones_elsewhere(
    typed: Typed, world: Any, moto_stack: Target, manifest: Path, png: bytes
) -> None:
    typed("batch", manifest)
    first = stored(world, "images/")
    uploads = len(world.called("PutObject"))
    typed("batch", manifest)
    assert stored(world, "images/") == first
    assert len(world.called("PutObject")) == uploads + 1  # the manifest
    (manifest.parent / "red.png").write_bytes(png + b"\0")
    typed("batch", manifest)
    assert len(stored(world, "images/")) == 2 * len(first)


def test_a_folder_with_one_manifest_is_that_manifest(
    typed: Typed, world: Any, moto_stack: Target, manifest: Path
) -> None:
    assert typed("batch", manifest.parent).exit_code == 0
    assert stored(world, "batches/") == ["batches/spring.csv"]
    (manifest.parent / "autumn.csv").write_text("prompt\nx\n")
    result = typed("batch", manifest.parent)
    assert (result.exit_code, "several manifests; name one: autumn.csv, spring.csv" in result.stderr) == (1, True)


def test_options_for_a_folder_are_refused_for_a_manifest(typed: Typed, moto_stack: Target, manifest: Path) -> None:
    for option in (("--prompt", "x"), ("--metadata", "sku=S-1")):
        result = typed("batch", manifest, *option)
        assert (result.exit_code, "are for a folder of images; use columns" in result.stderr) == (1, True)


def test_a_bad_image_beside_the_manifest_makes_its_row_invalid(
    typed: Typed, world: Any, moto_stack: Target, manifest: Path, png: bytes
) -> None:
    (manifest.parent / "red.png").write_bytes(png[: len(png) // 2])
    result = typed("batch", manifest, "--tolerate", "30", "--dry-run", "--json")
    told = json.loads(result.stdout)
    assert (told["valid"], told["invalid"], told["images_to_upload"]) == (3, 1, 1)
    assert told["invalid_rows"][0]["row"] == 1
    assert "red.png is cut off" in told["invalid_rows"][0]["error"]


def test_a_row_names_no_image_outside_the_manifests_folder(
    *, typed: Typed, world: Any, moto_stack: Target, manifest: Path, tmp_path: Path, png: bytes
) -> None:
    (tmp_path / "secret.png").write_bytes(png)
    manifest.write_text(f"image,prompt\n../secret.png,x\n{tmp_path}/secret.png,x\nred.png,x\n")
    told = json.loads(typed("batch", manifest, "--tolerate", "60", "--dry-run", "--json").stdout)
    assert told["images_to_upload"] == 1
    assert told["invalid_rows"][0]["row"] == 1


def test_a_dear_batch_needs_a_yes(typed: Typed, world: Any, moto_stack: Target, manifest: Path) -> None:
    manifest.write_text("prompt\n" + "x\n" * 50)
    for refused in ([], ["--max-usd", "12"], ["--json"]):
        result = typed("batch", manifest, *refused)
        assert (result.exit_code, "50 videos would cost about $12.50" in result.stderr) == (1, True)
    assert stored(world, "") == []
    assert typed("batch", manifest, "--max-usd", "12.50").exit_code == 0
