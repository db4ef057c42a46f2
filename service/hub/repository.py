"""One model repository on the Hub: push an adapter with its card, pull an adapter."""

import hashlib
import math
import re
import tempfile
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi, ModelCard, get_token, is_offline_mode
from huggingface_hub.errors import RevisionNotFoundError
from huggingface_hub.hf_api import ModelInfo, RepoSibling

from service.hub.card import ADAPTER_FILE, stated_digest
from service.hub.errors import HubError, hub_errors, one_line

CARD_FILE = "README.md"
MAX_CARD_BYTES = 1024 * 1024
TIMEOUT_S = 15.0  # of reading a repository's description
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_HUB_FILES = frozenset({".gitattributes"})  # in every new repository


@dataclass(frozen=True)
class Published:
    """The place of a pushed adapter."""

    commit: str  # 40 hex digits
    url: str  # of the commit's page


@dataclass(frozen=True)
class Pulled:
    """A pulled adapter file: its size and digest are checked, nothing else."""

    data: bytes
    commit: str
    verified: bool  # the Hub or the card states a digest, which matches


class Repository:
    """The model repository `name`. Every method raises HubError."""

    def __init__(self, name: str, api: HfApi | None = None) -> None:
        if not _NAME.fullmatch(name):
            raise HubError(f"{name!r} is not a repository's name: OWNER/REPO, of letters, digits, -, _ and .")
        self.name, self._api = name, api or HfApi(library_name="adakron-serve")

    def require_access(self) -> None:
        """Raise HubError if there is no token, or if HF_HUB_OFFLINE is set."""
        if is_offline_mode():
            raise HubError("HF_HUB_OFFLINE is set, so no request is sent: unset it to push")
        if get_token() is None and self._api.token is None:
            raise HubError("there is no token for the Hub: log in with `hf auth login`, or set HF_TOKEN")

    def push(
        self, data: bytes, card: str, *, private: bool = False, revision: str | None = None, force: bool = False
    ) -> Published:
        """Commit file and card to the branch `revision`; create the repository and the branch if they are missing.

        `private` applies to a new repository only. A repository with other files and no adapter is refused without
        `force`.
        """
        self.require_access()
        with self._errors(revision):
            _validate(card)
            self._api.create_repo(self.name, private=private or None, exist_ok=True)
            info = self._read_branch(revision)
            others = set(_files(info)) - _HUB_FILES
            if others and ADAPTER_FILE not in others and not force:
                named = ", ".join(sorted(others)[:4])
                raise HubError(f"{self.name} holds other files ({named}): choose another name, or add --force")
            if revision is not None:
                self._api.create_branch(self.name, branch=revision, revision=info.sha, exist_ok=True)
            operations = [
                CommitOperationAdd(path_in_repo=ADAPTER_FILE, path_or_fileobj=data),
                CommitOperationAdd(path_in_repo=CARD_FILE, path_or_fileobj=card.encode()),
            ]
            commit = self._api.create_commit(
                self.name,
                operations,
                commit_message="An AdaKron adapter and its card",
                revision=revision,
                parent_commit=info.sha,  # so that a push made meanwhile is not overwritten
            )
            return Published(commit.oid, commit.commit_url)

    def pull(self, revision: str | None = None, *, max_bytes: int) -> Pulled:
        """Download the adapter file at `revision`, a branch, tag or commit, and the card; no other file.

        A file over `max_bytes` is refused before the download, a file whose SHA-256 is not that stated by the Hub
        and the card after it.
        """
        with self._errors(revision):
            info = self._read_info(revision)
            files = _files(info)
            if ADAPTER_FILE not in files:
                raise HubError(f"{self.name} has no {ADAPTER_FILE}: it is not an AdaKron adapter")
            entry = files[ADAPTER_FILE]
            if entry.size is None or entry.size > max_bytes:
                size = "an unknown number of" if entry.size is None else f"{entry.size:,}"
                raise HubError(f"{self.name}: {ADAPTER_FILE} has {size} bytes; the limit is {max_bytes:,}")
            if info.sha is None:
                raise HubError(f"{self.name}: the Hub does not state the commit")
            data = self._fetch(ADAPTER_FILE, info.sha)
            stated = [entry.lfs.sha256] if entry.lfs else []
            if CARD_FILE in files and (files[CARD_FILE].size or math.inf) <= MAX_CARD_BYTES:
                card = stated_digest(self._fetch(CARD_FILE, info.sha).decode("utf-8", "replace"))
                stated += [card] if card is not None else []
        digest = hashlib.sha256(data).hexdigest()
        if len(data) > max_bytes or any(value != digest for value in stated):
            raise HubError(
                f"{self.name}: {ADAPTER_FILE} does not match the Hub or its card (SHA-256 {digest[:12]} ...): "
                "it was changed or cut in transit, or the card describes another file"
            )
        return Pulled(data, info.sha, verified=bool(stated))

    def _errors(self, revision: str | None) -> AbstractContextManager[None]:
        return hub_errors(self._api.endpoint, self.name, revision)

    def _read_info(self, revision: str | None) -> ModelInfo:
        return self._api.model_info(self.name, revision=revision, files_metadata=True, timeout=TIMEOUT_S)

    def _read_branch(self, name: str | None) -> ModelInfo:
        """Read the state of a branch, or that of main, from which a missing branch will start."""
        try:
            return self._read_info(name)
        except RevisionNotFoundError:
            return self._read_info(None)

    def _fetch(self, name: str, commit: str) -> bytes:
        """Download one file into a temporary folder, so that no cache keeps a refused file."""
        with tempfile.TemporaryDirectory() as folder:
            path = self._api.hf_hub_download(self.name, name, revision=commit, local_dir=folder, cache_dir=folder)
            return Path(path).read_bytes()


def _validate(card: str) -> None:
    """Validate the card on the Hub before anything is created there."""
    try:
        ModelCard(card).validate()
    except ValueError as error:
        raise HubError(f"the Hub does not accept the card: {one_line(error)}") from error


def _files(info: ModelInfo) -> dict[str, RepoSibling]:
    return {entry.rfilename: entry for entry in info.siblings or ()}
