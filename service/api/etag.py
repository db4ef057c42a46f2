"""Compare-and-set over HTTP: an alias's entity tag is the version that it points to, in quotes."""

from typing import Any

from service.errors import InvalidInput


def alias_etag(version: int) -> str:
    """The entity tag of an alias that points to `version`."""
    return f'"{version}"'


def expected_version(if_match: str | None, if_none_match: str | None) -> dict[str, Any]:
    """`expected` for Registry.set_alias: a version, None for "not there yet", or nothing. Raises InvalidInput."""
    if if_none_match is not None:
        if if_none_match.strip() != "*":
            raise InvalidInput("If-None-Match can only be *")
        return {"expected": None}
    if if_match is None:
        return {}
    tag = if_match.strip().strip('"')
    if not (tag.isascii() and tag.isdigit() and len(tag) < 16):
        raise InvalidInput(f'If-Match must be the version that the alias points to now, such as "3", not {if_match!r}')
    return {"expected": int(tag)}
