"""The nearest names of a task that does not exist, of those only that the caller may know."""

from collections.abc import Iterator
from contextlib import contextmanager

from service.api.deps import ServerState
from service.auth.permissions import permits
from service.core import ApiKey
from service.errors import UnknownTask
from service.registry import unknown_task


@contextmanager
def near_names(state: ServerState, caller: ApiKey | None) -> Iterator[None]:
    """An UnknownTask that is raised inside gets the names that it may have meant; `caller` None knows every task."""
    try:
        yield
    except UnknownTask as error:
        names = state.follower.snapshot.tasks
        known = [name for name in names if caller is None or permits(caller, name)]
        raise unknown_task(error.task, known) from None
