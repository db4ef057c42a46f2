"""One repository of the Hub: what is there, putting an adapter into it, and getting it out."""

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
TIMEOUT_S = 15.0  # of a look at a repository
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_OF_THE_HUB = frozenset({".gitattributes"})  # what a new repository holds


@dataclass(frozen=True)
class Published:
    """Where an adapter is now."""

    commit: str  # 40 hex digits: names exactly this content
    url: str  # of the commit, for people


@dataclass(frozen=True)
class Pulled:
    """An adapter file as the Hub gave it: right in size and digest, and not checked in any other respect."""

    data: bytes
    commit: str
    verified: bool  # the Hub, or the card, gave a digest to compare with


class Repository:
    """The model repository `name`. Every method raises HubError."""

    def __init__(self, name: str, api: HfApi | None = None) -> None:
        if not _NAME.fullmatch(name):
            raise HubError(f"{name!r} is no name of a repository: OWNER/REPO, of letters, digits, -, _ and .")
        self.name, self._api = name, api or HfApi(library_name="adakron-serve")

    def require_access(self) -> None:
        """Raise HubError where nothing could be pushed anyway: no token, or no Hub to be asked."""
        if is_offline_mode():
            raise HubError("HF_HUB_OFFLINE is set, so the Hub is not asked: unset it to push")
        if get_token() is None and self._api.token is None:
            raise HubError("there is no token for the Hub: log in with `hf auth login`, or set HF_TOKEN")

    def push(
        self, data: bytes, card: str, *, private: bool = False, revision: str | None = None, force: bool = False
    ) -> Published:
        """Put file and card there in one commit, on the branch `revision`; what is missing is made.

        `private` is for a new repository; one that exists stays what it is. What holds files and no adapter is left
        alone without `force`.
        """
        self.require_access()
        with self._errors(revision):
            _validate(card)
            self._api.create_repo(self.name, private=private or None, exist_ok=True)
            there = self._look_at_branch(revision)
            others = set(_files(there)) - _OF_THE_HUB
            if others and ADAPTER_FILE not in others and not force:
                named = ", ".join(sorted(others)[:4])
                raise HubError(f"{self.name} holds other things ({named}): choose another name, or add --force")
            if revision is not None:
                self._api.create_branch(self.name, branch=revision, revision=there.sha, exist_ok=True)
            operations = [
                CommitOperationAdd(path_in_repo=ADAPTER_FILE, path_or_fileobj=data),
                CommitOperationAdd(path_in_repo=CARD_FILE, path_or_fileobj=card.encode()),
            ]
            made = self._api.create_commit(
                self.name,
                operations,
                commit_message="An AdaKron adapter and its card",
                revision=revision,
                parent_commit=there.sha,  # so that what somebody else pushes meanwhile is not lost
            )
            return Published(made.oid, made.commit_url)

    def pull(self, revision: str | None = None, *, max_bytes: int) -> Pulled:
        """The adapter file at `revision`, a branch, tag or commit; no other file but the card is fetched.

        Refused before it is fetched where it is over `max_bytes`, and afterwards where its SHA-256 is not what the
        Hub and the card say.
        """
        with self._errors(revision):
            there = self._look(revision)
            files = _files(there)
            if ADAPTER_FILE not in files:
                raise HubError(f"{self.name} holds no {ADAPTER_FILE}, so no AdaKron adapter")
            entry = files[ADAPTER_FILE]
            if entry.size is None or entry.size > max_bytes:
                size = "an unknown number of" if entry.size is None else f"{entry.size:,}"
                raise HubError(f"{self.name}: {ADAPTER_FILE} has {size} bytes; at most {max_bytes:,} are taken")
            if there.sha is None:
                raise HubError(f"{self.name}: the Hub does not say which commit this is")
            data = self._fetch(ADAPTER_FILE, there.sha)
            stated = [entry.lfs.sha256] if entry.lfs else []
            if CARD_FILE in files and (files[CARD_FILE].size or math.inf) <= MAX_CARD_BYTES:
                card = stated_digest(self._fetch(CARD_FILE, there.sha).decode("utf-8", "replace"))
                stated += [card] if card is not None else []
        digest = hashlib.sha256(data).hexdigest()
        if len(data) > max_bytes or any(value != digest for value in stated):
            raise HubError(
                f"{self.name}: {ADAPTER_FILE} is not what the Hub or its card says (SHA-256 {digest[:12]} ...): "
                "it was changed or cut on its way, or the card is of another file"
            )
        return Pulled(data, there.sha, verified=bool(stated))

    def _errors(self, revision: str | None) -> AbstractContextManager[None]:
        return hub_errors(self._api.endpoint, self.name, revision)

    def _look(self, revision: str | None) -> ModelInfo:
        return self._api.model_info(self.name, revision=revision, files_metadata=True, timeout=TIMEOUT_S)

    def _look_at_branch(self, name: str | None) -> ModelInfo:
        """A branch that is not there yet will begin as main is."""
        try:
            return self._look(name)
        except RevisionNotFoundError:
            return self._look(None)

    def _fetch(self, name: str, commit: str) -> bytes:
        """One file, by way of a folder that is gone afterwards: no cache keeps what may be refused."""
        with tempfile.TemporaryDirectory() as folder:
            path = self._api.hf_hub_download(self.name, name, revision=commit, local_dir=folder, cache_dir=folder)
            return Path(path).read_bytes()


def _validate(card: str) -> None:
    """By the Hub, before anything is made there."""
    try:
        ModelCard(card).validate()
    except ValueError as error:
        raise HubError(f"the Hub does not accept the card: {one_line(error)}") from error


def _files(there: ModelInfo) -> dict[str, RepoSibling]:
    return {entry.rfilename: entry for entry in there.siblings or ()}
