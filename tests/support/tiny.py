"""A tiny random BERT with its tokenizer, saved as a folder, so that tests need seconds and no network."""

import string
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = """
the a an of to and in is it this that was for on with as but not be are have has film movie story plot actor scene
good great fine lovely superb brilliant warm charming funny clever bad awful poor dull boring terrible weak cold
stupid broken one two three four five six seven eight nine ten red green blue black white yellow orange purple cat
dog bird fish horse cow sheep mouse lion bear runs walks sleeps eats drinks sings plays reads writes sees man woman
boy girl child people house street city river mountain sea tree flower sun moon star day night morning evening
water wine bread cheese apple book song game train car bus plane ship price order refund invoice account card bank
money pay buy sell send receive lost late early open close help thanks hello please when where what who why how yes
no never always very really quite almost more most less least all some many few other same new old big small long
short high low fast slow happy sad angry calm
"""


def make_tiny_backbone(
    folder: Path, *, seed: int = 0, pooler: bool = True, deviation: float = 0.15, **shape: int
) -> Path:
    """Save a random BERT (2 layers, hidden size 32) and a WordPiece tokenizer in `folder`; returns `folder`.

    `deviation` is that of its matrices, `shape` has other values for BertConfig.
    """
    folder.mkdir(parents=True, exist_ok=True)
    letters = [*string.ascii_lowercase, *string.digits, *string.punctuation]
    pieces = dict.fromkeys([*SPECIAL, *letters, *(f"##{letter}" for letter in letters), *WORDS.split()])
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    _tokenizer(vocabulary).save(str(folder / "tokenizer.json"))
    small = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 128,
    }
    config = BertConfig(vocab_size=len(vocabulary), **(small | shape))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        bert = BertModel(config, add_pooling_layer=pooler)
        for parameter in bert.parameters():
            if parameter.ndim == 2:  # at 0.02, as BERT draws them, a net this small barely tells its inputs apart
                torch.nn.init.normal_(parameter, std=deviation)
    bert.save_pretrained(folder)
    return folder


def make_like_default(folder: Path) -> Path:
    """Save a random BERT of the default backbone's shape, for machines without its package; returns `folder`.

    Its matrices are so small that bfloat16 rounds its answers about as much as the default backbone's.
    """
    return make_tiny_backbone(
        folder,
        deviation=0.04,
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
        max_position_embeddings=512,
    )


def _tokenizer(vocabulary: dict[str, int]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    return tokenizer
