"""ReadInput: the tokens of one input, read piece by piece from the ends that matter and no farther than they matter."""

from collections.abc import Iterator, Sequence

COMPARED_TOKENS = 512  # of each text of a pair, at least, to tell which of the two is longer: a BERT's own limit
HEAD = 4  # one token in so many is kept from the beginning, the others from the end (Sun et al. 2019: 128 of 510)


class End:
    """A text as it is read from one of its ends."""

    def __init__(self, pieces: Iterator[tuple[str, bool]], *, is_tail: bool) -> None:
        self._pieces, self.is_tail = pieces, is_tail
        self.token_ids: list[int] = []
        self.whole = False  # the whole text is read

    def next_piece(self) -> str:
        """The next piece to tokenize; only while `whole` is False."""
        piece, self.whole = next(self._pieces)
        return piece

    def add(self, token_ids: list[int]) -> None:
        """Append the tokens of that piece, or put them in front when reading from the tail."""
        self.token_ids = token_ids + self.token_ids if self.is_tail else self.token_ids + token_ids


class ReadInput:
    """One text or a pair: what is still to be read of it, and which tokens of it are kept in the end.

    Of a pair, the longer text is cut first, to the length of the other; then both are cut alike, and an odd token stays
    with the longer one. Texts of more than COMPARED_TOKENS and the budget count as equally long. All this is as in the
    `tokenizers` library's "longest first", but for that last rule.
    """

    def __init__(self, ends: Sequence[End], tails: Sequence[End], budget: int) -> None:
        """`ends`: where each text is read from first; `tails`: their other ends where head and tail are kept, else
        empty; `budget`: tokens without the special ones."""
        self._ends, self._tails, self._budget = ends, tails, budget
        self._most = max(COMPARED_TOKENS, budget + 1)

    def lacking(self) -> list[End]:
        """The ends of which another piece must be read now."""
        if short := [end for end in self._ends if not end.whole and len(end.token_ids) <= self._budget]:
            return short
        if len(self._ends) == 2 and self._budget % 2 and (behind := self._behind()):
            return behind
        pairs = zip(self._ends, self._tails, strict=False)
        return [tail for end, tail in pairs if not end.whole and not tail.whole and len(tail.token_ids) < self._budget]

    def kept(self) -> tuple[list[list[int]], bool]:
        """The tokens of each text that are kept, and whether any was cut off. Only when nothing lacks."""
        shares = _share(self._lengths(), self._budget)
        truncated = any(len(end.token_ids) > share for end, share in zip(self._ends, shares, strict=True))
        return [self._cut(index, share) for index, share in enumerate(shares)], truncated

    def _lengths(self) -> list[int]:
        return [min(len(end.token_ids), self._most) for end in self._ends]

    def _behind(self) -> list[End]:
        """The shorter text, as far as both are read, where its rest decides which text is longer."""
        first, second = self._lengths()
        if min(first, second) <= self._budget:
            return []
        shorter, length = (self._ends[1], second) if first > second else (self._ends[0], first)
        return [] if shorter.whole or length == self._most else [shorter]

    def _cut(self, index: int, share: int) -> list[int]:
        end = self._ends[index]
        token_ids = end.token_ids
        if len(token_ids) <= share:
            return token_ids
        if end.is_tail:
            return token_ids[len(token_ids) - share :]
        if not self._tails:
            return token_ids[:share]
        head = share // HEAD
        after = token_ids if end.whole else self._tails[index].token_ids
        return token_ids[:head] + after[len(after) - (share - head) :]


def _share(lengths: Sequence[int], budget: int) -> Sequence[int]:
    """How many tokens of each text are kept."""
    if sum(lengths) <= budget:
        return lengths
    if len(lengths) == 1:
        return [budget]
    shorter = min(min(lengths), budget // 2)
    return [budget - shorter, shorter] if lengths[0] > lengths[1] else [shorter, budget - shorter]
