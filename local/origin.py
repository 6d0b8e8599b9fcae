"""Which requests a web page had no hand in. Pure.

Every page that a browser shows can send requests to this machine. Three headers, which no page can forge, tell:
``Host`` (a name that a stranger's DNS points at 127.0.0.1 is not ours), ``Origin`` and ``Sec-Fetch-Site``.
"""

from collections.abc import Iterable

_OUR_OWN = ("none", "same-origin")
"""``Sec-Fetch-Site`` of an address that a person typed, and of what a page of ours loads. "same-site" is not among
them: a page on another port of localhost is of the same site."""


def refusal(method: str, headers: Iterable[tuple[str, str]], port: int, *, signed_link: bool = False) -> str | None:
    """Why a server on that port of this machine does not answer a request, in a sentence; None when it does.

    ``headers``: names in lower case. ``signed_link``: the address itself shows that its holder may have what it
    names (its signature is still to be checked). A person may open such a link on any page, a mail's say; no page
    may read what it gets, or put it into itself.
    """
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name, []).append(value.strip())
    hosts = found.get("host", [])
    ours = {f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}"}
    if len(hosts) != 1 or hosts[0].lower() not in ours:
        return f"Host {', '.join(hosts)!r} is not this server; its address is http://127.0.0.1:{port}"
    if method == "OPTIONS":
        return "pages of other origins can't get leave to call this server"
    for origin in found.get("origin", []):
        if origin.lower() != f"http://{hosts[0].lower()}":
            return f"pages of another origin ({origin}) may not call this server"
    if any(site.lower() not in _OUR_OWN for site in found.get("sec-fetch-site", [])):
        opened = found.get("sec-fetch-mode") == ["navigate"] and found.get("sec-fetch-dest") == ["document"]
        if not (signed_link and opened and method == "GET"):
            return "pages of another site may not call this server"
    return None
