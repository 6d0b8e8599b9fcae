"""The local files that a command is given, and work on many of them at once. All are checked before any is uploaded."""

import glob
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from seedance.errors import InvalidRequest
from seedance.media import formats, images
from seedance.media.images import Picture

from cli import progress
from cli.requests import utf8_name

AT_ONCE = 8
"""How many images are uploaded at the same time."""

_SHOWN = 5

Thing = TypeVar("Thing")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Local:
    """A local image: its file, its name in the bucket below a prefix, and its size in bytes."""

    path: Path
    name: str
    picture: Picture
    size: int

    @property
    def media_type(self) -> str:
        """Its media type."""
        return self.picture.media_type


def look(path: Path, name: str | None = None) -> Local:
    """Check an image file as the stack will, except its shape. Raises InvalidRequest if the stack would refuse it."""
    name = utf8_name(path.name if name is None else name)
    try:
        size = path.stat().st_size
        if size > formats.MAX_IMAGE_BYTES:
            limit = formats.MAX_IMAGE_BYTES // 2**20
            raise InvalidRequest("image", f"{path} has {size / 2**20:.0f} MB; at most {limit} MB are allowed")
        if not size:
            raise InvalidRequest("image", f"{path} is empty")
        with path.open("rb") as file:
            picture = images.look_through(file, size)
        if not picture.ended:
            images.check_rest(picture, path.read_bytes())
    except OSError as error:
        raise InvalidRequest("image", f"{path} can't be read: {(error.strerror or str(error)).lower()}") from error
    except ValueError as error:
        raise InvalidRequest("image", f"{path} {error}") from None
    return Local(path, name, picture, size)


def check_shape(local: Local, *, any_shape: bool) -> Local:
    """The image. Raises InvalidRequest if the stack would refuse its shape; ``any_shape``: its AllowUnusualImages."""
    try:
        if not any_shape:
            images.check_shape(local.picture)
    except ValueError as error:
        raise InvalidRequest("image", f"{local.path} {error}") from None
    return local


def find(arguments: Sequence[str]) -> tuple[list[Local], list[str]]:
    """The images that the arguments name, and the reasons for files in folders that are left out.

    A folder's images are named after the folder and their path in it. A file that is named itself must be an image; in
    a folder, and by a glob, only images count, but one that is damaged is an error. Raises InvalidRequest.
    """
    found: dict[Path, Local] = {}
    left_out: list[str] = []
    with progress.working("looking at the images"):
        for argument in arguments:
            for path, name, chosen in _files(argument):
                try:
                    local = look(path, name)
                    found.setdefault(path.resolve(), local)
                except InvalidRequest as refused:
                    if chosen or _is_image(path):
                        raise
                    left_out.append(refused.message)
    if not found:
        tried = f": {'; '.join(left_out[:_SHOWN])}" if left_out else ""
        raise InvalidRequest("image", f"{', '.join(arguments)}: no images there{tried}")
    return list(found.values()), left_out


def _files(argument: str) -> Iterator[tuple[Path, str, bool]]:
    """The files of an argument: path, name in the bucket, and whether the user named this very file."""
    if not argument:  # an unset variable of a shell, and for Path the current folder
        raise InvalidRequest("image", "has no name: the argument is empty")
    path = Path(argument)
    if path.is_dir():
        top = path.resolve().name
        for file in sorted(path.rglob("*")):
            inner = file.relative_to(path)
            if file.is_file() and not any(part.startswith(".") for part in inner.parts):
                yield file, f"{top}/{inner.as_posix()}" if top else inner.as_posix(), False
    elif path.exists() or not glob.has_magic(argument):
        yield path, path.name, True
    else:
        for one in sorted(glob.glob(argument, recursive=True)):  # noqa: PTH207 - Path.glob refuses absolute ones
            if Path(one).is_file():
                yield Path(one), Path(one).name, False


def _is_image(path: Path) -> bool:
    """Whether a file begins like an image that the stack takes. If so, something else is wrong with it."""
    try:
        with path.open("rb") as file:
            return formats.image_type(file.read(formats.HEAD_BYTES)) is not None
    except OSError:
        return False


def at_once(
    things: Sequence[Thing], work: Callable[[Thing], Made], size_of: Callable[[Thing], float], what: str
) -> list[Made]:
    """Do something with many files, some at the same time, and show progress in bytes. Returns the results in order.

    After an error nothing new is begun, and the error is raised.
    """
    total = sum(map(size_of, things))
    with progress.counting(what, total, progress.megabytes) as advance, ThreadPoolExecutor(AT_ONCE) as pool:

        def one(thing: Thing) -> Made:
            made = work(thing)
            advance(size_of(thing))
            return made

        try:
            return list(pool.map(one, things))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
