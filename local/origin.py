"""Detects requests from web pages. Pure.

Every page in a browser can send requests to this machine. Three headers that no page can forge reveal that: ``Host``
(a foreign domain can resolve to 127.0.0.1, but its name is not ours), ``Origin`` and ``Sec-Fetch-Site``.
"""

from collections.abc import Iterable

_OUR_OWN = ("none", "same-origin")
"""``Sec-Fetch-Site`` of addresses that a person typed, and of requests from our own pages. "same-site" is not allowed,
because a page on another port of localhost has the same site."""


def refusal(method: str, headers: Iterable[tuple[str, str]], port: int, *, signed_link: bool = False) -> str | None:
    """Why a server on this port refuses a request, as a sentence. None if it is allowed.

    ``headers``: names in lower case. ``signed_link``: the address is a signed link (its signature is checked later). A
    person may open such a link from any page, for example in an email. But no page may read the response or embed it.
    """
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name, []).append(value.strip())
    hosts = found.get("host", [])
    ours = {f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}"}
    if len(hosts) != 1 or hosts[0].lower() not in ours:
        return f"Host {', '.join(hosts)!r} is not this server; its address is http://127.0.0.1:{port}"
    if method == "OPTIONS":
        return "web pages of other origins are not allowed to call this server"
    for origin in found.get("origin", []):
        if origin.lower() != f"http://{hosts[0].lower()}":
            return f"web pages of another origin ({origin}) are not allowed to call this server"
    if any(site.lower() not in _OUR_OWN for site in found.get("sec-fetch-site", [])):
        opened = found.get("sec-fetch-mode") == ["navigate"] and found.get("sec-fetch-dest") == ["document"]
        if not (signed_link and opened and method == "GET"):
            return "web pages of another site are not allowed to call this server"
    return None
