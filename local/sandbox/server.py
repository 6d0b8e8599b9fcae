"""The stand-in's server: the steps that all calls pass through, and its start and stop."""

import argparse
import asyncio
import contextlib
import ipaddress
import json
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from local import origin
from local.sandbox import account, answers, control, gateway, media
from local.sandbox.keys import BODY, CALL, STATE, STUDIO
from local.sandbox.state import Config, State
from local.sandbox.studio import Studio

LARGEST_BODY = 256 * 2**20  # uploads arrive as data URLs
# How long open calls may take to end at a stop. It is short, because some faults hang on purpose.
STOP_SECONDS = 0.5

_KEYED = ("/v1/", "/v2/", "/upload-asset", "/inference-request/")
_RATED = ("/v1/", "/v2/")


@web.middleware
async def passage(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse web pages, log the call, check key and rate limit, then call the route. Errors are like the provider's."""
    if why := _not_a_page(request):
        return answers.error(403, why)
    if request.path.startswith("/_sandbox/"):
        return await handler(request)
    state = request.app[STATE]
    request[BODY] = await _json_body(request)
    call = state.log(
        request.method, request.path, request.query_string, request.headers.get("x-api-key"), request[BODY]
    )
    request[CALL] = call
    answer: web.StreamResponse | None = _refusal(request, state)
    if answer is None:
        try:
            answer = await handler(request)
        except web.HTTPMethodNotAllowed:
            answer = answers.documented("405")
        except web.HTTPNotFound:
            answer = answers.documented("404", "Endpoint not found")
        except asyncio.CancelledError:
            call.status = call.status or "cut"
            raise
    call.status = call.status or answer.status
    return answer


def _not_a_page(request: web.Request) -> str | None:
    """Why a call from a web page is refused; None for other calls."""
    if request.transport is None:
        return "the caller has disconnected"
    port = request.transport.get_extra_info("sockname")[1]
    headers = [(name.lower(), value) for name, value in request.headers.items()]
    return origin.refusal(request.method, headers, port)


def _refusal(request: web.Request, state: State) -> web.Response | None:
    """The response to a call that is refused: no key, a wrong key, or too many calls."""
    if request.path.startswith(_KEYED):
        key = request.headers.get("x-api-key")
        if not key:  # a bearer token does not count as a key
            return answers.documented("401-missing")
        if not state.knows_key(key):
            return answers.documented("401")
    if request.path.startswith(_RATED):
        config = state.config
        free_at = state.rate.admit(state.clock.now(), config.rate_limit, config.rate_window)
        if free_at is not None:
            return answers.documented("429", reset_at=state.clock.wall(free_at) + config.clock_skew)
    return None


async def _json_body(request: web.Request) -> Any:
    if request.method not in (hdrs.METH_POST, hdrs.METH_PUT, hdrs.METH_PATCH):
        return None
    try:
        return json.loads(await request.read())
    except ValueError:
        return None


def application(config: Config) -> web.Application:
    """The server as an aiohttp application."""
    app = web.Application(middlewares=[passage], client_max_size=LARGEST_BODY)
    app[control.INITIAL] = config
    app[STATE] = State(config)
    app.cleanup_ctx.append(_at_work)
    app.add_routes(control.ROUTES)
    app.add_routes(
        [
            web.get("/v1/get-user-credits", account.credits_left),
            web.post("/v1/{slug}", gateway.submit_v1),
            web.get("/v2/requests/{request_id}/status", gateway.status),
            web.get("/v2/requests/{request_id}", gateway.result),
            web.post("/v2/{slug}", gateway.submit_v2),
            web.post("/upload-asset", account.upload_asset),
            web.get("/inference-request/request-history", account.history),
            web.get("/inference-request/request-history/{request_id}", account.history_row),
            web.get("/media/{name}", media.serve),
        ]
    )
    return app


async def _at_work(app: web.Application) -> AsyncIterator[None]:
    """From start to stop: the folder for files, the running jobs, and the state on disk."""
    config, state = app[control.INITIAL], app[STATE]
    with contextlib.ExitStack() as stack:
        if config.state is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sandbox-")))
        else:
            folder = config.state.with_name(config.state.name + ".media")
            folder.mkdir(parents=True, exist_ok=True)
            if config.state.exists():
                state.load(config.state)
        studio = app[STUDIO] = Studio(state, folder)
        for job in state.running.values():
            studio.begin(job)
        yield
        await studio.close()
        if config.state is not None:
            state.save(config.state)


@contextlib.asynccontextmanager
async def listening(config: Config) -> AsyncIterator[tuple[str, State]]:
    """Run the server. Yields its URL and its state once it listens."""
    app = application(config)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_SECONDS)
    await runner.setup()
    try:
        site = web.TCPSite(runner, config.host, config.port, backlog=1024)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{f'[{host}]' if ':' in host else host}:{port}", app[STATE]
    finally:
        await runner.cleanup()


def serve(config: Config, announce: Callable[[str], None] = print) -> None:
    """Run until SIGINT or SIGTERM. `announce` is called with the server's address once it listens."""
    asyncio.run(_serve(config, announce))


async def _serve(config: Config, announce: Callable[[str], None]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with listening(config) as (url, _):
        announce(url)
        await stop.wait()


def _loopback(host: str) -> str:
    # Anybody who can reach the control API can change the provider's responses.
    if host != "localhost" and not _is_loopback(host):
        raise argparse.ArgumentTypeError(f"{host} is not 127.0.0.1, ::1 or localhost: other machines could reach it")
    return host


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line. Each option is a field of `Config`."""
    usual = Config()
    parser = argparse.ArgumentParser(prog="sandbox", description="A stand-in for Segmind's Seedance API.")
    parser.add_argument("--host", default=usual.host, type=_loopback, help="a loopback address")
    parser.add_argument("--port", type=int, default=usual.port, help="0 picks a free port")
    parser.add_argument(
        "--time-scale",
        type=float,
        default=usual.time_scale,
        help="0.1 runs ten times faster than the provider",
    )
    parser.add_argument(
        "--api-key",
        action="append",
        dest="api_keys",
        help="repeatable; 'any' (default) accepts SG_ and 16 hex digits",
    )
    parser.add_argument("--credits", type=float, default=usual.credits, help="the account's balance in USD")
    parser.add_argument("--price-factor", type=float, default=usual.price_factor, help="1.1 raises prices by a tenth")
    parser.add_argument("--rate-limit", type=int, default=usual.rate_limit, help="calls per window; 0 means no limit")
    parser.add_argument("--rate-window", type=float, default=usual.rate_window, help="the window in provider seconds")
    parser.add_argument("--fps", type=int, default=usual.fps)
    parser.add_argument(
        "--jitter", type=float, default=usual.jitter, help="sigma of the lognormal factor on a job's duration"
    )
    parser.add_argument(
        "--state", type=Path, help="save all state in this file at a clean stop, and load it at the start"
    )
    parser.add_argument("--json", action="store_true", help="print the address as JSON")
    options = vars(parser.parse_args(arguments))
    as_json = options.pop("json")
    options["api_keys"] = options["api_keys"] or usual.api_keys
    try:
        config = Config(**options)
    except ValueError as error:
        parser.error(str(error))
    # Flushed, because the program that started this waits for the line, often through a pipe.
    try:
        serve(config, lambda url: print(json.dumps({"url": url}) if as_json else f"sandbox ready on {url}", flush=True))
    except OSError as error:
        parser.exit(
            1, f"error: {config.host}:{config.port} can't be used ({os.strerror(error.errno or 0)}); try --port 0\n"
        )
