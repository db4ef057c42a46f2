"""Compare-and-set over HTTP: an alias's entity tag is the version that it points to, in quotes."""

from typing import Any

from service.errors import PreconditionFailed


def alias_etag(version: int) -> str:
    """The entity tag of an alias that points to `version`."""
    return f'"{version}"'


def expected_version(if_match: str | None, if_none_match: str | None) -> dict[str, Any]:
    """`expected` for Registry.set_alias: a version, None for "not there yet", or nothing.

    `if_match` is a number, with or without quotes; `if_none_match` can only be *. Raises PreconditionFailed where
    both are given: an alias cannot be there and not be there.
    """
    if if_match is not None and if_none_match is not None:
        raise PreconditionFailed("If-Match and If-None-Match cannot both hold")
    if if_none_match is not None:
        return {"expected": None}
    return {} if if_match is None else {"expected": int(if_match.strip('"'))}
