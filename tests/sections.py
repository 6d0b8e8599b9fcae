"""A section of a page that another command writes than the rest of it."""

import re


def section(page: str, name: str) -> str:
    """The section with its marks, as it stands in the page; "" if the page has none."""
    found = re.search(rf"<!-- {name} -->\n.*?<!-- end of {name} -->\n", page, flags=re.DOTALL)
    return found[0] if found else ""


def replaced(page: str, name: str, text: str) -> str:
    """The page with this text as its section, at the end if it had none."""
    marked = f"<!-- {name} -->\n{text}<!-- end of {name} -->\n"
    before = section(page, name)
    return page.replace(before, marked) if before else f"{page.rstrip()}\n\n{marked}"
