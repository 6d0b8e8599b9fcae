"""The tokens of lasting links: 128 random bits, in letters that no mail program takes for the end of a link. Pure."""

import re
import secrets

TOKEN_BYTES = 16

_TOKEN = re.compile(r"[0-9a-f]{32}")


def new_token() -> str:
    """A token that nobody can guess."""
    return secrets.token_hex(TOKEN_BYTES)


def is_token(text: str) -> bool:
    """Whether this can be a token of ours."""
    return _TOKEN.fullmatch(text) is not None
