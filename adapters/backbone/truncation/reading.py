"""ReadInput: reads the tokens of one input piece by piece, from the ends that are kept and only as far as needed."""

from collections.abc import Iterator, Sequence

COMPARED_TOKENS = 512  # at least so many of each text of a pair decide which is longer: a BERT's own limit
HEAD = 4  # one kept token in 4 is from the beginning, the others from the end (Sun et al. 2019: 128 of 510)


class End:
    """The tokens of a text, read from one of its ends."""

    def __init__(self, pieces: Iterator[tuple[str, bool]], *, is_tail: bool) -> None:
        self._pieces, self.is_tail = pieces, is_tail
        self.token_ids: list[int] = []
        self.whole = False  # True when the whole text is read

    def next_piece(self) -> str:
        """Return the next piece to tokenize; only while `whole` is False."""
        piece, self.whole = next(self._pieces)
        return piece

    def add(self, token_ids: list[int]) -> None:
        """Append the tokens of that piece; of a tail, put them in front."""
        self.token_ids = token_ids + self.token_ids if self.is_tail else self.token_ids + token_ids


class ReadInput:
    """One text or a pair: which pieces must still be read, and which tokens are kept.

    The longer text of a pair is cut first, to the length of the other; then both are cut alike, and an odd token stays
    with the longer one. Texts of more tokens than COMPARED_TOKENS and the budget count as equally long. Except for this
    last rule it is the `tokenizers` library's "longest first".
    """

    def __init__(self, ends: Sequence[End], tails: Sequence[End], budget: int) -> None:
        """Read each text from its end in `ends`.

        `tails`: the other ends, if head and tail are kept, else empty; `budget`: the most tokens, without special ones.
        """
        self._ends, self._tails, self._budget = ends, tails, budget
        self._most = max(COMPARED_TOKENS, budget + 1)

    def lacking(self) -> list[End]:
        """Return the ends of which another piece must be read now."""
        if short := [end for end in self._ends if not end.whole and len(end.token_ids) <= self._budget]:
            return short
        if len(self._ends) == 2 and self._budget % 2 and (behind := self._behind()):
            return behind
        pairs = zip(self._ends, self._tails, strict=False)
        return [tail for end, tail in pairs if not end.whole and not tail.whole and len(tail.token_ids) < self._budget]

    def kept(self) -> tuple[list[list[int]], bool]:
        """Return the kept tokens of each text, and whether any token was cut off. Only when `lacking` is empty."""
        shares = _share(self._lengths(), self._budget)
        truncated = any(len(end.token_ids) > share for end, share in zip(self._ends, shares, strict=True))
        return [self._cut(index, share) for index, share in enumerate(shares)], truncated

    def _lengths(self) -> list[int]:
        return [min(len(end.token_ids), self._most) for end in self._ends]

    def _behind(self) -> list[End]:
        """Return the text that is shorter so far, if its rest decides which text is longer."""
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
    """Return the number of tokens of each text that are kept."""
    if sum(lengths) <= budget:
        return lengths
    if len(lengths) == 1:
        return [budget]
    shorter = min(min(lengths), budget // 2)
    return [budget - shorter, shorter] if lengths[0] > lengths[1] else [shorter, budget - shorter]
