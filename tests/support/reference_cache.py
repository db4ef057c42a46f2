"""The rules of AdapterCache, slow and obvious: sums are computed anew at every step, without threads."""

from dataclasses import dataclass, field


@dataclass(eq=False)
class Entry:
    """One adapter that was requested."""

    adapter: int
    num_bytes: int
    state: str = "waiting"
    num_users: int = 0
    fresh_until: float = 0.0


@dataclass
class ReferenceCache:
    """Does not model unpublished adapters and overtakes, which have tests of their own."""

    memory_bytes: int
    fresh_s: float
    retry_s: float
    now: float
    by_use: list[Entry] = field(default_factory=list)  # least recently asked for first
    waiting: list[Entry] = field(default_factory=list)
    failed_at: dict[int, float] = field(default_factory=dict)
    loads: list[int] = field(default_factory=list)

    def used_bytes(self) -> int:
        """Return the bytes of the adapters that are loaded or being loaded."""
        return sum(entry.num_bytes for entry in self.by_use if entry.state != "waiting")

    def ask(self, adapter: int, num_bytes: int, *, retry: bool) -> Entry | None:
        """Request an adapter; None if its load failed just now."""
        entry = next((entry for entry in self.by_use if entry.adapter == adapter), None)
        if entry is None:
            if not retry and self.now < self.failed_at.get(adapter, -self.retry_s) + self.retry_s:
                return None
            entry = Entry(adapter, num_bytes)
            self.waiting.append(entry)
        else:
            self.by_use.remove(entry)
        self.by_use.append(entry)
        entry.num_users += 1
        self.begin_loads()
        return entry

    def let_go(self, entry: Entry) -> None:
        """One user less."""
        entry.num_users -= 1
        if entry.state == "waiting" and entry.num_users == 0:
            self.waiting.remove(entry)
            self.by_use.remove(entry)
        self.begin_loads()

    def end_load(self, entry: Entry, *, good: bool) -> None:
        """It is there, or it has failed."""
        if good:
            entry.state, entry.fresh_until = "ready", self.now + self.fresh_s
        else:
            entry.state = "failed"
            self.by_use.remove(entry)
            self.failed_at[entry.adapter] = self.now
        self.begin_loads()

    def begin_loads(self) -> None:
        """Load in the order of requests; of idle adapters the just loaded ones are evicted last."""
        while self.waiting:
            idle = [entry for entry in self.by_use if entry.state == "ready" and entry.num_users == 0]
            free = self.memory_bytes - self.used_bytes()
            if free + sum(entry.num_bytes for entry in idle) < self.waiting[0].num_bytes:
                return
            for entry in sorted(idle, key=lambda entry: entry.fresh_until > self.now):
                if self.memory_bytes - self.used_bytes() < self.waiting[0].num_bytes:
                    self.by_use.remove(entry)
            began = self.waiting.pop(0)
            began.state = "loading"
            self.loads.append(began.adapter)
