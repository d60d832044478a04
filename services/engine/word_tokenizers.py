"""Tokenizers of the small checkpoints: whole words by hand, letters for everything else.

A trained subword vocabulary would be near-characters on a corpus as small as ours; with whole
words the small text encoders need not learn to spell.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer, T5Tokenizer

CLIP_START: Final = "<|startoftext|>"
CLIP_END: Final = "<|endoftext|>"
# The two CLIP encoders of Stable Diffusion 3.5 pad with different tokens.
CLIP_L_PADDING: Final = CLIP_END
CLIP_G_PADDING: Final = "!"
CLIP_TOKENS: Final = 77
T5_TOKENS_MAX: Final = 512


def make_clip_tokenizer(words: Sequence[str], *, padding: str) -> CLIPTokenizer:
    """Byte-pair encoding in which each of the words is one token."""
    learned = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learned.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        # More than can be learned: merging goes on until every word is whole.
        vocab_size=100_000,
        min_frequency=0,
        special_tokens=[*alphabet, *(letter + "</w>" for letter in alphabet)],
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    learned.train_from_iterator(sorted({word.lower() for word in words}), trainer=trainer)
    model = json.loads(learned.to_str())["model"]
    vocabulary: dict[str, int] = dict(model["vocab"])
    for token in (CLIP_START, CLIP_END):
        vocabulary[token] = len(vocabulary)
    merges: list[Any] = [tuple(merge) for merge in model["merges"]]
    return CLIPTokenizer(
        vocab=vocabulary, merges=merges, pad_token=padding, model_max_length=CLIP_TOKENS
    )


def make_t5_tokenizer(words: Sequence[str]) -> T5Tokenizer:
    """A unigram vocabulary of the words, also capitalised, and of single printable characters.

    Both spellings, because T5's tokenizer keeps capitals apart and has no normaliser that would
    survive saving and loading (transformers 5.24).
    """
    spellings = sorted({s for word in words for s in (word.lower(), word.capitalize())})
    characters = [chr(code) for code in range(33, 127)]
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -4.0)]
    vocabulary += [(f"▁{spelling}", -1.0) for spelling in spellings]
    vocabulary += [(character, -8.0) for character in characters]
    return T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=T5_TOKENS_MAX)
