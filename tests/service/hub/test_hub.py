"""Pushing to and pulling from the Hugging Face Hub, against a small one on this machine."""

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from service.hub.card import ADAPTER_FILE, make_card
from service.hub.errors import HubError, hub_errors
from service.hub.repository import Repository
from tests.support.factories import make_adapter, make_adapter_bytes
from tests.support.fake_hub import TOKEN, FakeHub, fake_hub, talk_to

# The Hub's library itself calls its HTTP library in an old way.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")
NAME = "tester/tickets"
DATA = make_adapter_bytes()
CARD = make_card(make_adapter(), "tickets", NAME)
MAX_BYTES = 1024 * 1024


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A Hub that this process may use, with the right token."""
    with fake_hub() as hub:
        talk_to(hub, monkeypatch)
        yield hub


def test_push_and_pull(hub: FakeHub) -> None:
    """File and card are pushed in one commit, and the file is pulled by that commit's name, byte for byte."""
    published = Repository(NAME).push(DATA, CARD)
    assert hub.files(NAME).keys() == {".gitattributes", ADAPTER_FILE, "README.md"}
    assert len(hub.models[NAME].commits) == 2
    assert published.commit in published.url
    pulled = Repository(NAME).pull(published.commit, max_bytes=MAX_BYTES)
    assert (pulled.data, pulled.commit, pulled.verified) == (DATA, published.commit, True)


def test_pull_is_of_one_commit(hub: FakeHub) -> None:
    """A branch is looked up once: downloads name the commit, and only file and card are fetched."""
    Repository(NAME).push(DATA, CARD)
    hub.models[NAME].commit({"evil.pkl": b"cos\nsystem\n"})
    commit = hub.models[NAME].branches["main"]
    hub.requests.clear()
    Repository(NAME).pull(max_bytes=MAX_BYTES)
    fetched = {path for method, path in hub.requests if "/resolve/" in path}
    assert fetched == {f"/{NAME}/resolve/{commit}/{file}" for file in (ADAPTER_FILE, "README.md")}


def test_a_new_repository_is_private_on_request(hub: FakeHub) -> None:
    """`private` creates a private repository, which a pull without the token does not find."""
    Repository(NAME).push(DATA, CARD, private=True)
    assert hub.models[NAME].private
    with pytest.raises(HubError, match=r"there is no model tester/tickets at .*, or your token.*hf auth login"):
        Repository(NAME, HfApi(token=False)).pull(max_bytes=MAX_BYTES)


def test_a_branch_is_made(hub: FakeHub) -> None:
    """`revision` is a branch beside main, created by the first push and used by the second."""
    for seed in (1, 2):
        Repository(NAME).push(make_adapter_bytes(seed=seed), CARD, revision="next")
        assert hub.files(NAME, "next")[ADAPTER_FILE] == make_adapter_bytes(seed=seed)
    assert ADAPTER_FILE not in hub.files(NAME)


def test_the_next_version_replaces_the_last(hub: FakeHub) -> None:
    """A repository with an adapter takes the next one, and an older commit still has the older file."""
    first = Repository(NAME).push(DATA, CARD)
    Repository(NAME).push(make_adapter_bytes(seed=1), CARD.replace(make_adapter().digest, make_adapter(seed=1).digest))
    assert Repository(NAME).pull(max_bytes=MAX_BYTES).data == make_adapter_bytes(seed=1)
    assert Repository(NAME).pull(first.commit, max_bytes=MAX_BYTES).data == DATA


def test_a_repository_of_something_else_is_left_alone(hub: FakeHub) -> None:
    """A repository with other files, and no adapter, is written only with `force`."""
    hub.new(NAME).commit({"README.md": b"years of work", "model.safetensors": b""})
    with pytest.raises(HubError, match=r"holds other files \(README.md, model.safetensors\)"):
        Repository(NAME).push(DATA, CARD)
    assert hub.files(NAME)["README.md"] == b"years of work"
    Repository(NAME).push(DATA, CARD, force=True)
    assert hub.files(NAME)[ADAPTER_FILE] == DATA


def test_a_push_that_is_refused_makes_no_branch(hub: FakeHub) -> None:
    """A branch that would start with other files is created only with `force`."""
    hub.new(NAME).commit({"README.md": b"years of work"})
    with pytest.raises(HubError, match=r"holds other files \(README.md\)"):
        Repository(NAME).push(DATA, CARD, revision="next")
    assert hub.models[NAME].branches.keys() == {"main"}
    Repository(NAME).push(DATA, CARD, revision="next", force=True)
    assert hub.files(NAME, "next")[ADAPTER_FILE] == DATA
    assert hub.files(NAME)["README.md"] == b"years of work"


def test_size_is_known_before_the_download(hub: FakeHub) -> None:
    """A file over the limit is refused by its stated size, and not downloaded."""
    Repository(NAME).push(DATA, CARD)
    hub.claims[ADAPTER_FILE] = MAX_BYTES + 1
    with pytest.raises(HubError, match="has 1,048,577 bytes; the limit is 1,048,576"):
        Repository(NAME).pull(max_bytes=MAX_BYTES)
    assert not [path for _, path in hub.requests if "/resolve/" in path]


def test_other_bytes_than_promised(hub: FakeHub) -> None:
    """Bytes that do not match the digest on the Hub are refused."""
    Repository(NAME).push(DATA, CARD)
    hub.sends[ADAPTER_FILE] = make_adapter_bytes(seed=1)
    with pytest.raises(HubError, match="does not match the Hub or its card"):
        Repository(NAME).pull(max_bytes=MAX_BYTES)


def test_a_file_that_does_not_match_its_card(hub: FakeHub) -> None:
    """A file that does not match its card is refused, even if it matches the Hub."""
    hub.new(NAME).commit({ADAPTER_FILE: make_adapter_bytes(seed=1), "README.md": CARD.encode()})
    with pytest.raises(HubError, match="the card describes another file"):
        Repository(NAME).pull(max_bytes=MAX_BYTES)


@pytest.mark.parametrize("card", [b"no front matter", b"---\n[\n---\n", b"---\n- 1\n---\n", b"\xff\xfe", None])
def test_a_card_without_a_digest(hub: FakeHub, card: bytes | None) -> None:
    """A card without a digest, or no card, is accepted: the Hub's digest is checked."""
    files = {ADAPTER_FILE: DATA} | ({} if card is None else {"README.md": card})
    hub.new(NAME).commit(files)
    assert Repository(NAME).pull(max_bytes=MAX_BYTES).data == DATA


def test_a_model_without_an_adapter(hub: FakeHub) -> None:
    """A repository without an adapter is refused by its list of files, and nothing is downloaded."""
    hub.new(NAME).commit({"pytorch_model.bin": b"pickle"})
    with pytest.raises(HubError, match=r"has no adapter\.safetensors"):
        Repository(NAME).pull(max_bytes=MAX_BYTES)
    assert not [path for _, path in hub.requests if "/resolve/" in path]


def test_a_missing_revision(hub: FakeHub) -> None:
    """The message names the missing revision."""
    hub.new(NAME)
    with pytest.raises(HubError, match="has no revision 'v9'"):
        Repository(NAME).pull("v9", max_bytes=MAX_BYTES)


def test_a_gated_model(hub: FakeHub) -> None:
    """The message says where to request access."""
    hub.new(NAME, gated=True)
    with pytest.raises(HubError, match=f"is gated: request access at {hub.url}/{NAME}"):
        Repository(NAME, HfApi(token=False)).pull(max_bytes=MAX_BYTES)


def test_a_token_that_is_not_accepted(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A push with a wrong token names the remedy, and creates nothing."""
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(HubError, match="does not accept the token: log in with `hf auth login`"):
        Repository(NAME).push(DATA, CARD)
    assert not hub.models


def test_no_token(hub: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A push without a token is refused before a request is sent."""
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(HubError, match="there is no token"):
        Repository(NAME).push(DATA, CARD)
    assert not hub.requests


@pytest.mark.parametrize(
    ("part", "status", "says"),
    [
        ("/api/repos/create", 403, "lacks the permission to write to tester/tickets"),
        ("/commit/", 412, "was changed by another push"),
        ("/api/models", 429, "limits the rate of requests"),
        ("/api/models", 500, r"failed with status 500"),
        ("/api/repos/create", 418, "refused with status 418"),
        ("/info/lfs/", 403, "the token lacks the permission to write to tester/tickets"),
        ("/lfs/", 507, r"failed with status 507"),
    ],
)
def test_the_hub_refuses(hub: FakeHub, part: str, status: int, says: str) -> None:
    """Each refusal becomes one line, which never repeats the token, even if the Hub does."""
    hub.fails[part] = status
    with pytest.raises(HubError, match=says) as caught:
        Repository(NAME).push(DATA, CARD)
    assert TOKEN not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert NAME not in hub.models or ADAPTER_FILE not in hub.files(NAME)


def test_a_card_that_the_hub_refuses(hub: FakeHub) -> None:
    """Errors in the card's metadata are shown, and no repository is created."""
    card = make_card(make_adapter(), "tickets", NAME, licence="no-such-licence")
    with pytest.raises(HubError, match=r"does not accept the card: .*must be one of"):
        Repository(NAME).push(DATA, card)
    assert not hub.models


def test_offline(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """With HF_HUB_OFFLINE no request is sent."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for attempt in (lambda: Repository(NAME).push(DATA, CARD), lambda: Repository(NAME).pull(max_bytes=MAX_BYTES)):
        with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
            attempt()
    assert not hub.requests


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "no address"])
def test_an_unreachable_hub(hub: FakeHub, endpoint: str) -> None:
    """An endpoint that does not answer, or is not an address, is named."""
    with pytest.raises(HubError, match=f"the Hub at {endpoint} cannot be reached: .*HF_ENDPOINT"):
        Repository(NAME, HfApi(endpoint=endpoint)).pull(max_bytes=MAX_BYTES)


@pytest.mark.parametrize("name", ["tickets", "a/b/c", "../b", "a/..", "a/b@main", "a/b c", "/b", "a/", "https://x/y"])
def test_names_of_repositories(name: str) -> None:
    """Only OWNER/REPO is a name; no request is sent for another."""
    with pytest.raises(HubError, match="is not a repository's name: OWNER/REPO"):
        Repository(name)


@pytest.mark.parametrize("error", [KeyError("sha"), ValueError("Expecting value"), AttributeError("no siblings")])
def test_answers_of_something_else(error: Exception) -> None:
    """An answer that is not the Hub's is reported as such."""
    with (
        pytest.raises(HubError, match="the exchange with the Hub at http://proxy failed"),
        hub_errors("http://proxy", NAME),
    ):
        raise error


def test_errors_of_ours_pass() -> None:
    """A refusal inside keeps its message."""
    with pytest.raises(HubError, match=r"^mine$"), hub_errors("http://hub", NAME):
        raise HubError("mine")
    assert not issubclass(HubError, HfHubHTTPError)
