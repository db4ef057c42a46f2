"""Translates the errors of the Hub's library into HubError, a line with a remedy."""

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

MAX_CHARS = 300  # of a message of the Hub
_LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


class HubError(ServiceError):
    """The Hub refused, cannot be reached, or holds an unusable file; the message can be shown to the user."""


@contextmanager
def hub_errors(endpoint: str, repo: str, revision: str | None = None) -> Iterator[None]:
    """Raise HubError for every error inside. No message holds the token."""
    try:
        yield
    except ServiceError:
        raise
    except HfHubHTTPError as error:
        raise HubError(_refused(error, endpoint, repo, revision)) from error
    except OfflineModeIsEnabled as error:
        raise HubError("HF_HUB_OFFLINE is set, so no request is sent: unset it, or use a file") from error
    except EntryNotFoundError as error:
        raise HubError(f"{repo}: the Hub at {endpoint} ended the exchange: {one_line(error)}") from error
    except HFValidationError as error:
        raise HubError(f"{repo!r} is not a repository's name: OWNER/REPO, of letters, digits, -, _ and .") from error
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        hint = "check the network, proxies and HF_ENDPOINT"
        raise HubError(f"the Hub at {endpoint} cannot be reached: {one_line(error)}; {hint}") from error
    except Exception as error:  # the library raises any class for an unexpected answer
        cause = error.__cause__ or error
        raise HubError(f"{repo}: the exchange with the Hub at {endpoint} failed: {one_line(cause)}") from error


def _refused(error: HfHubHTTPError, endpoint: str, repo: str, revision: str | None) -> str:
    status = error.response.status_code
    reason = f": {one_line(error.server_message)}" if error.server_message else ""
    if isinstance(error, GatedRepoError):
        return f"{repo} is gated: request access at {endpoint}/{repo}, then {_LOG_IN}"
    if isinstance(error, RevisionNotFoundError):
        return f"{repo} has no revision {revision!r}: name a branch, a tag or a commit"
    if isinstance(error, EntryNotFoundError):
        return f"{repo} does not have this file{reason}"
    if isinstance(error, RepositoryNotFoundError) or status == 404:
        return f"there is no model {repo} at {endpoint}, or your token does not give access to it: {_LOG_IN}"
    if status == 401:
        return f"the Hub does not accept the token: {_LOG_IN}"
    if status == 403:
        return f"the token lacks the permission to write to {repo}{reason}"
    if status in (409, 412):
        return f"{repo} was changed by another push meanwhile: try again"
    if status == 429:
        return f"the Hub limits the rate of requests{reason}: try again later"
    if status >= 500:
        return f"the Hub at {endpoint} failed with status {status}: try again later"
    return f"the Hub refused with status {status}{reason}"


def one_line(message: object) -> str:
    """Reduce a message to one short, printable line without the token."""
    text = str(message)
    if token := get_token():
        text = text.replace(token, "***")
    line = " ".join(text.split()) or type(message).__name__
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line[:MAX_CHARS])
