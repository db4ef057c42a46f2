"""The one place where what the Hub's library raises becomes a line that says what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
from huggingface_hub import get_token
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from service.errors import ServiceError

MAX_CHARS = 300  # of what others say
_LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


class HubError(ServiceError):
    """The Hub refused, cannot be reached, or holds what cannot be used; the message is ready to be shown."""


@contextmanager
def hub_errors(endpoint: str, repo: str, revision: str | None = None) -> Iterator[None]:
    """Raise HubError for whatever goes wrong inside. No message holds the token."""
    try:
        yield
    except ServiceError:
        raise
    except HfHubHTTPError as error:
        raise HubError(_refused(error, endpoint, repo, revision)) from error
    except OfflineModeIsEnabled as error:
        raise HubError("HF_HUB_OFFLINE is set, so the Hub is not asked: unset it, or use a file") from error
    except EntryNotFoundError as error:
        raise HubError(f"{repo}: the Hub at {endpoint} broke off: {one_line(error)}") from error
    except HFValidationError as error:
        raise HubError(f"{repo!r} is no name of a repository: OWNER/REPO, of letters, digits, -, _ and .") from error
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        hint = "look at the network, at proxies and at HF_ENDPOINT"
        raise HubError(f"the Hub at {endpoint} cannot be reached: {one_line(error)}; {hint}") from error
    except Exception as error:  # what stumbles over an answer raises anything
        cause = error.__cause__ or error
        raise HubError(f"{repo}: the exchange with the Hub at {endpoint} failed: {one_line(cause)}") from error


def _refused(error: HfHubHTTPError, endpoint: str, repo: str, revision: str | None) -> str:
    status = error.response.status_code
    said = f": {one_line(error.server_message)}" if error.server_message else ""
    if isinstance(error, GatedRepoError):
        return f"{repo} is gated: ask for access at {endpoint}/{repo}, then {_LOG_IN}"
    if isinstance(error, RevisionNotFoundError):
        return f"{repo} has no revision {revision!r}: name a branch, a tag or a commit"
    if isinstance(error, EntryNotFoundError):
        return f"{repo} has no such file{said}"
    if isinstance(error, RepositoryNotFoundError) or status == 404:
        return f"no model {repo} at {endpoint}, or it is private and your token does not open it: {_LOG_IN}"
    if status == 401:
        return f"the Hub does not accept the token: {_LOG_IN}"
    if status == 403:
        return f"the token may not do this with {repo}{said}: it needs the permission to write there"
    if status in (409, 412):
        return f"{repo} was changed by somebody else meanwhile: try again"
    if status == 429:
        return f"the Hub wants fewer requests{said}: try again later"
    if status >= 500:
        return f"the Hub at {endpoint} is in trouble (status {status}): try again later"
    return f"the Hub refuses, with status {status}{said}"


def one_line(said: object) -> str:
    """One line, short, printable, and without the token, whoever repeats it."""
    text = str(said)
    if token := get_token():
        text = text.replace(token, "***")
    line = " ".join(text.split()) or type(said).__name__
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line[:MAX_CHARS])
