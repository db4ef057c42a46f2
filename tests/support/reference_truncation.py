"""The slow reference of truncation: the whole text, tokenized and then cut."""

from tokenizers import Tokenizer

from adapters.backbone.text_encoder import TextInput, Truncation
from adapters.config import SpecialTokens


class Whole:
    """The slow reference: the whole text, tokenized and then cut by the `tokenizers` library, or here."""

    def __init__(self, tokenizer_json: bytes, special_tokens: SpecialTokens) -> None:
        self.tokenizer = Tokenizer.from_str(tokenizer_json.decode())
        self.tokenizer.no_padding()
        self.tokenizer.encode_special_tokens = special_tokens == "text"

    def num_tokens(self, text: str) -> int:
        """Token ids of a text without special tokens."""
        self.tokenizer.no_truncation()
        return len(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def __call__(self, item: TextInput, max_length: int, truncation: Truncation) -> tuple[list[int], list[int], bool]:
        texts = (item,) if isinstance(item, str) else item
        if truncation != "head-tail":
            self.tokenizer.no_truncation()
            num_tokens = len(self.tokenizer.encode(*texts).ids)
            self.tokenizer.enable_truncation(max_length, direction=truncation)
            raw = self.tokenizer.encode(*texts)
            return raw.ids, raw.type_ids, num_tokens > max_length
        right = self(item, max_length, "right")
        if not right[2]:
            return right
        self.tokenizer.no_truncation()
        token_ids, at = right[0], 1
        for index, text in enumerate(texts):
            whole = self.tokenizer.encode(text, add_special_tokens=False).ids
            kept = right[1].count(index) - (1 if index else 2)
            if kept < len(whole):
                tail = kept - kept // 4
                token_ids[at : at + kept] = whole[: kept // 4] + whole[len(whole) - tail :]
            at += kept + 1
        return token_ids, right[1], True
