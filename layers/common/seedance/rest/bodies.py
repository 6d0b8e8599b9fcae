"""Bodies of calls that may be left out. They have few fields, so reading them needs no pydantic. Pure."""

from collections.abc import Sequence

from seedance import bounds
from seedance.errors import InvalidRequest


def optional(body: str | None, names: Sequence[str], example: str) -> dict[str, object]:
    """The fields of a body with these names, without those that are null. Empty if there is no body.

    Raises InvalidRequest.
    """
    if not (body or "").strip():
        return {}
    try:
        given = bounds.read_json(body or "")
    except ValueError as error:
        raise InvalidRequest("body", str(error)) from None
    if not isinstance(given, dict):
        raise InvalidRequest("body", f"must be empty or a JSON object, such as {example}")
    for name in given:
        if name not in names:
            what = f"is not a field of this request; allowed: {', '.join(names)}"
            raise InvalidRequest(name, what, allowed=list(names))
    return {name: value for name, value in given.items() if value is not None}
