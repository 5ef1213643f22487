"""Makes the model that the local vLLM serves, in a new folder: `python tiny_model.py FOLDER`, with vLLM's packages.

Two layers of random numbers from a fixed seed: it says the same nonsense to the same words every time, on one node or
on two. It never ends by itself: an answer has as many tokens as were asked for.
"""

from __future__ import annotations

import sys

import torch  # type: ignore[import-not-found]
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers  # type: ignore[import-not-found]
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast  # type: ignore[import-not-found]

SEED = 20
VOCABULARY = 512
POSITIONS = 2048
BEGIN, END = "<|im_start|>", "<|im_end|>"
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXT = (
    "A leader asks its workers, and every worker answers with a part of the whole.",
    "The pod that was ready a moment ago is gone, and another one takes its place.",
    "Requests come in at one door; whoever has room takes the next of them.",
    "What was computed once is kept, so that nobody has to compute it again.",
    "Four nodes, eight cards each: more than enough for a small model, and too few for a large one.",
    "When the last token was sent the connection is closed, and the slot is free for somebody else.",
    "Slow is better than wrong, and wrong is better than silent, said the old operator.",
    "Weights, caches, queues: all of it fits into the memory of this very machine.",
)


def main(folder: str) -> None:
    tokenizer = _tokenizer()
    tokenizer.save_pretrained(folder)
    _model(tokenizer).save_pretrained(folder)


def _tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[BEGIN, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BEGIN, eos_token=END, chat_template=CHAT, model_max_length=POSITIONS
    )


def _model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    torch.manual_seed(SEED)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=256,
            intermediate_size=512,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,  # two nodes share them
            max_position_embeddings=POSITIONS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            # Far from each other, or the rounding of two nodes would choose another word than that of one.
            initializer_range=0.1,
        )
    )
    with torch.no_grad():
        for number in range(VOCABULARY):
            if not _is_text(tokenizer, number):
                model.lm_head.weight[number] = 0  # some other word is always likelier
    return model


def _is_text(tokenizer: PreTrainedTokenizerFast, number: int) -> bool:
    """It is a word or part of one: neither special, nor a byte that is no character by itself."""
    word = tokenizer.decode([number], skip_special_tokens=True)
    return bool(word) and word.isascii() and word.isprintable()


if __name__ == "__main__":
    main(sys.argv[1])
