"""Pictures of the console, into docs/console: `make screenshots`.

A stack of its own makes videos at the provider's real speed, so that the pictures have real prices and times;
the wall is filled up with copies of their records. Takes about four minutes.
"""

import io
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import httpx
from playwright.sync_api import Browser, Page, expect, sync_playwright

from local import aws
from local import stack as local_stack
from local.stack import Options, Stack
from tests.browser import ARGUMENTS, environment, executable
from tests.console_page import Colours, Visitor, visit
from tests.copied_jobs import copies, record
from tests.foreign_s3 import ForeignS3, foreign_s3

SAMPLE = Path(__file__).parents[1] / "local/sample/product.jpg"
FOLDER = Path(__file__).parents[1] / "docs/console"
MOST_BYTES = 250_000
DESK, PHONE = (1280, 800), (360, 740)
MADE = 240_000
"""Milliseconds until a video is made."""

TINTS = {"Amber": (0, 0), "Azure": (1, 1), "Rose": (1, 0), "Moss": (0, 1)}
"""Products: which of the picture's two colour planes are turned round."""

PROMPTS = {
    "Amber": ("seedance-1.0-pro-fast", "The bottle turns slowly, soft studio light"),
    "Azure": ("seedance-1.5-pro", "Light moves over the glass, the camera stays still"),
    "Rose": ("seedance-pro", "A slow push in on the label"),
    "Moss": ("seedance-1.0-pro-fast", "The camera circles the bottle"),
}
FAILED: dict[str, Any] = {
    "state": {"S": "FAILED"},
    "error": {
        "M": {
            "code": {"S": "PROVIDER_JOB_FAILED"},
            "message": {"S": "The provider could not make the video: the prompt was flagged by the content filter."},
        }
    },
    "video": {"NULL": True},
    "cost_usd": {"NULL": True},
}


def picture(folder: Path, name: str) -> Path:
    """The sample picture as that of another product: with its colours turned round."""
    blue, red = TINTS[name]
    path = folder / f"{name}.jpg"
    if not (blue or red):
        path.write_bytes(SAMPLE.read_bytes())
        return path
    with av.open(str(SAMPLE)) as file:
        frame = next(file.decode(video=0)).reformat(format="yuvj420p")
    for plane, turned in ((frame.planes[1], blue), (frame.planes[2], red)):
        if turned:
            plane.update(bytes(255 - value for value in bytes(plane)))
    with av.open(str(path), "w", format="mjpeg") as file:
        stream = file.add_stream("mjpeg", rate=1)
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuvj420p"
        stream.options = {"qscale": "2"}
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def fewer_colours(png: bytes) -> bytes:
    """The picture with 256 colours, chosen for it: a third of the bytes."""
    with av.open(io.BytesIO(png)) as file:
        frame = next(file.decode(video=0)).reformat(format="rgb24")
    once = Fraction(1)
    frame.pts, frame.time_base = 0, once
    graph = av.filter.Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=once)
    split, sink = graph.add("split"), graph.add("buffersink")
    chosen, used = graph.add("palettegen", "stats_mode=full"), graph.add("paletteuse", "dither=sierra2_4a")
    source.link_to(split)
    split.link_to(chosen, 0, 0)
    split.link_to(used, 1, 0)
    chosen.link_to(used, 0, 1)
    used.link_to(sink)
    graph.configure()
    graph.push(frame)
    graph.push(None)
    writer: Any = av.CodecContext.create("png", "w")
    writer.width, writer.height, writer.pix_fmt, writer.time_base = frame.width, frame.height, "pal8", once
    packets = [*writer.encode(graph.pull()), *writer.encode(None)]
    return b"".join(bytes(packet) for packet in packets)


@contextmanager
def real_time_stack(home: Path) -> Iterator[Stack]:
    """A stack whose stand-in takes as long as the provider."""
    budget = {"DailyBudgetUsd": "25"}
    options = Options(port=0, provider="sandbox", time_scale=1, home=home, parameters=budget, hurried=False)
    try:
        stack, _ = local_stack.up(options, lambda _: None)
        yield stack
    finally:
        local_stack.down(home)


class Photographer:
    """Takes the pictures."""

    def __init__(self, browser: Browser, stack: Stack, s3: ForeignS3, folder: Path) -> None:
        self.browser, self.stack, self.s3, self.folder = browser, stack, s3, folder
        folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def at(self, size: tuple[int, int] = DESK, colours: Colours = "light", view: str = "") -> Iterator[Page]:
        """The console on a screen of that size, open at a view."""
        width, height = size
        with visit(self.browser, self.s3, colours=colours, width=width, height=height) as visitor:
            page = self._open(visitor)
            if view:
                page.evaluate("(view) => { location.hash = view; }", view)
            yield page

    def _open(self, visitor: Visitor) -> Page:
        page = visitor.open(self.stack)
        expect(page.locator(".price")).to_contain_text("About", timeout=20_000)
        page.wait_for_load_state("networkidle")
        return page

    def both(self, page: Page, name: str) -> None:
        """Two pictures: light, and dark."""
        self.shoot(page, name)
        page.emulate_media(color_scheme="dark")
        self.shoot(page, f"{name}-dark")
        page.emulate_media(color_scheme="light")

    def shoot(self, page: Page, name: str) -> None:
        """One picture."""
        page.wait_for_timeout(1200)
        page.mouse.move(0, 0)
        data = page.screenshot(animations="disabled")
        if len(data) > MOST_BYTES:
            data = fewer_colours(data)
        if len(data) > MOST_BYTES:
            raise SystemExit(f"{name}.png has {len(data)} bytes; at most {MOST_BYTES} are allowed")
        (self.folder / f"{name}.png").write_bytes(data)
        print(f"{name}.png  {len(data) // 1000} KB", flush=True)


class Shop:
    """The products, their pictures, and their videos."""

    def __init__(self, stack: Stack, pictures: Path) -> None:
        self.stack = stack
        self.pictures = {name: picture(pictures, name) for name in TINTS}
        self.api = httpx.Client(
            base_url=stack.outputs["ApiUrl"], headers={"x-api-key": stack.api_key}, trust_env=False, timeout=30
        )

    def order(self, name: str, prompt: str = "") -> str:
        """Request a product's video through the API; its job's id."""
        key = f"images/{name.lower()}.jpg"
        aws.client(self.stack.access, "s3").upload_file(
            str(self.pictures[name]), self.stack.outputs["UploadBucketName"], key
        )
        model, usual = PROMPTS[name]
        body = {"model": model, "prompt": prompt or usual, "name": f"{name} eau de parfum", "image_key": key}
        answer = self.api.post("/videos", json=body).raise_for_status()
        return str(answer.json()["job_id"])

    def ended(self, job_id: str) -> None:
        """Wait for the end of a job."""
        deadline = time.monotonic() + MADE / 1000
        while self.api.get(f"/videos/{job_id}").json()["state"] not in ("COMPLETED", "FAILED"):
            if time.monotonic() > deadline:
                raise SystemExit(f"{job_id} has not ended")
            time.sleep(1)

    def fill(self, job_ids: list[str]) -> None:
        """Two hundred jobs, some of them without a video."""
        items = [record(self.stack, job_id) for job_id in job_ids]
        for number in range(1, 201):
            changed = FAILED if number % 29 == 5 else {}
            item = items[number % len(items)]
            title = item["name"]["S"]
            copies(self.stack, item, range(number, number + 1), lambda one, title=title: f"{title} {one}", **changed)


def first_visit(camera: Photographer, shop: Shop) -> None:
    """Sign-in, the empty wall, and the first video, from its picture until it is made."""
    with visit(camera.browser, camera.s3, width=DESK[0], height=DESK[1]) as visitor:
        page = visitor.open(camera.stack, signed_in=False)
        expect(page.get_by_label("API key")).to_be_visible(timeout=20_000)
        camera.shoot(page, "sign-in")
    with camera.at(PHONE, "dark") as page:
        camera.shoot(page, "empty-phone-dark")
    with camera.at() as page:
        camera.shoot(page, "empty")
        page.locator("#choose-pictures").set_input_files(str(shop.pictures["Amber"]))
        expect(page.get_by_text("Uploaded")).to_be_visible()
        page.get_by_label("Prompt", exact=True).fill(PROMPTS["Amber"][1])
        camera.shoot(page, "form")
        page.locator(".composer button[type=submit]").click()
        expect(page.locator(".progress-line")).to_contain_text("usually", timeout=MADE)
        page.wait_for_timeout(20_000)
        camera.shoot(page, "one")


def full_wall(camera: Photographer, shop: Shop) -> None:
    """The wall with two hundred jobs, two of them in progress; one video; a comparison.

    Light and dark are the same page in other colours, so that each video is ordered once.
    """
    with camera.at(DESK) as page, camera.at(PHONE) as phone:
        page.locator("#choose-pictures").set_input_files([str(shop.pictures[name]) for name in ("Rose", "Azure")])
        page.get_by_label("Prompt", exact=True).fill("Petals fall around the bottle")
        page.locator(".composer button[type=submit]").click()
        expect(page.locator(".progress-line", has_text="usually")).to_have_count(2, timeout=MADE)
        expect(page.locator("li.card canvas").nth(5)).to_be_visible(timeout=20_000)
        expect(phone.locator("li.card canvas").nth(1)).to_be_visible(timeout=20_000)
        page.wait_for_timeout(9000)
        camera.both(page, "wall")
        camera.both(phone, "phone")
    with camera.at(DESK) as page:
        page.locator("li.card:has(.good) .card-link").first.click()
        expect(page.locator("dialog .timeline li").first).to_be_visible()
        camera.both(page, "video")
    with camera.at(PHONE) as page:
        page.locator("li.card:has(.good) .card-link").first.click()
        expect(page.locator("dialog .timeline li").first).to_be_visible()
        camera.shoot(page, "video-phone")
    with camera.at() as page:
        for box in page.locator(".pick:not([hidden]) input").all()[:3]:
            box.check()
        page.get_by_role("button", name="Compare 3").click()
        expect(page.locator("dialog video")).to_have_count(3)
        page.get_by_role("slider").fill("400")
        camera.shoot(page, "compare")


def batch(camera: Photographer, folder: Path) -> None:
    """A batch's dry run."""
    rows = ["image,prompt,model,duration,sku"]
    rows += [
        f"images/{name.lower()}.jpg,{prompt.replace(',', ' and')},{model},5,{name[:2].upper()}-{number}"
        for number in range(6)
        for name, (model, prompt) in PROMPTS.items()
    ]
    rows += [
        "images/amber.jpg,The bottle turns,seedance-1.0-pro-fast,7,AM-7",
        "images/lost.jpg,The bottle turns,,5,LO-1",
    ]
    path = folder / "spring.csv"
    path.write_text("\n".join(rows) + "\n")
    with camera.at(view="#/batches") as page:
        page.locator("#choose-table").set_input_files(str(path))
        expect(page.get_by_role("button", name="Discard the batch")).to_be_visible(timeout=MADE)
        camera.shoot(page, "batch")


def main(folder: Path) -> None:
    found = executable()
    if found is None:
        raise SystemExit("no browser: run `make browser`")
    with (
        tempfile.TemporaryDirectory() as home,
        real_time_stack(Path(home)) as stack,
        foreign_s3(stack.endpoint_url, aws.client(stack.access, "s3")) as s3,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS, env=environment(found))
        camera, shop = Photographer(browser, stack, s3, folder), Shop(stack, Path(home))
        first_visit(camera, shop)
        job_ids = [shop.order(name) for name in TINTS]
        for job_id in job_ids:
            shop.ended(job_id)
        shop.fill(job_ids)
        batch(camera, Path(home))
        full_wall(camera, shop)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
