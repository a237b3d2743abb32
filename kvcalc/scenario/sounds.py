"""Tokens that sound takes in the context, by the published rule of a model's processor.

They are those that stand for the sound itself, of one clip at 16,000 samples a second (transformers 5.24.0; Voxtral:
mistral_common 1.13.1); tokens that a chat template puts around them are not counted.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.errors import KvcalcError
from kvcalc.note import Note, note

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.model.model import Model

RATE = 16_000
"""Samples a second."""
HOP = 160
"""Samples of a frame (hop_length)."""
MOST_SECONDS = 10**6
LONGEST_NUMBER = 30
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?|\.[0-9]+")


class Halved(NamedTuple):
    """Frames of Whisper's encoder, of which a pool keeps every second; what is longer is cut off.

    transformers/models/qwen2_audio/processing_qwen2_audio.py, num_audio_tokens.

    Attributes:
        seconds: the longest sound (chunk_length).
    """

    seconds: int

    def tokens(self, samples: int) -> int:
        frames = min(-(-samples // HOP), self.seconds * RATE // HOP)
        return ((frames - 1) // 2 - 1) // 2 + 1


class Windows(NamedTuple):
    """Windows of frames, each halved three times.

    transformers/models/qwen3_omni_moe/processing_qwen3_omni_moe.py, _get_feat_extract_output_lengths.

    Attributes:
        frames: of a window (n_window x 2).
        each: tokens of a whole window.
    """

    frames: int
    each: int

    def tokens(self, samples: int) -> int:
        whole, left = divmod(samples // HOP, self.frames)
        for _ in range(3):
            left = (left - 1) // 2 + 1
        return left + whole * self.each


class Chunks(NamedTuple):
    """As many for each chunk that is begun, and one before them all.

    mistral_common/tokens/tokenizers/audio.py, pad and _encode_audio_tokens.

    Attributes:
        seconds: of a chunk (chunk_length_s).
        each: tokens of a chunk: seconds x frame_rate.
    """

    seconds: int
    each: int

    def tokens(self, samples: int) -> int:
        return 1 + self.each * -(-samples // (self.seconds * RATE))


class Mel(NamedTuple):
    """Frames that reach over the next sample, halved twice, up to a number of tokens.

    transformers/models/gemma4/processing_gemma4.py, _compute_audio_num_tokens.

    Attributes:
        frame: samples that a frame covers (frame_length).
        most: tokens (audio_seq_length).
    """

    frame: int
    most: int

    def tokens(self, samples: int) -> int:
        tokens = (samples + self.frame // 2 - self.frame - 1) // HOP + 1
        for _ in range(2):
            tokens = (tokens - 1) // 2 + 1
        return max(0, min(tokens, self.most))


class Samples(NamedTuple):
    """A token for every so many samples.

    transformers/models/gemma4_unified/processing_gemma4_unified.py, _compute_audio_num_tokens.
    """

    each: int

    def tokens(self, samples: int) -> int:
        return -(-samples // self.each)


class Constant(NamedTuple):
    """As many for any sound: it is padded or cut to one length.

    transformers/models/gemma3n/processing_gemma3n.py, audio_seq_length.
    """

    each: int

    def tokens(self, samples: int) -> int:  # noqa: ARG002  # as of every rule
        return self.each


RULES: Mapping[str, Halved | Windows | Chunks | Mel | Samples | Constant] = {
    "qwen2_audio": Halved(30),
    "qwen2_5_omni": Halved(300),
    "qwen3_omni_moe": Windows(100, 13),
    "qwen3_asr": Windows(100, 13),
    "voxtral": Chunks(30, 375),
    "gemma3n": Constant(188),
    "gemma4": Mel(320, 750),
    "gemma4_unified": Samples(640),
}
"""By model_type of config.json; settings as in preprocessor_config.json of Qwen/Qwen2-Audio-7B-Instruct and
Qwen/Qwen2.5-Omni-7B, tekken.json of mistralai/Voxtral-Mini-3B-2507 (30 s, 12.5 tokens a second), and the classes'
defaults of the others."""


def seconds(value: object, what: str) -> Fraction:
    """'12.5' -> seconds, exactly."""
    text = str(value).strip()
    found = Fraction(text) if len(text) <= LONGEST_NUMBER and _NUMBER.fullmatch(text) else None
    if found is None or not 0 < found <= MOST_SECONDS:
        raise KvcalcError(f"{what}: '{value!s:.60}' is not a number of seconds (for example 12.5)")
    return found


def sound_tokens(model: Model, given: Mapping[str, object]) -> tuple[int, tuple[Note, ...]]:
    """Tokens of the sound of a request, and what to know of them.

    Raises:
        KvcalcError: the model's rule is not known.
    """
    length = given["audio"]
    if not isinstance(length, Fraction):
        return 0, ()
    rule = RULES.get(model.model_type or "")
    if rule is None or (model.modalities and "audio" not in model.modalities):
        raise KvcalcError(
            f"--audio: how many tokens sound takes in {model.name} is not known to kvcalc (known: {', '.join(RULES)}); "
            "give them within --context or --input"
        )
    tokens = rule.tokens(int(length * RATE))
    told = note(
        "audio-tokens",
        f"{tokens:,} tokens are added for {float(length):,.15g} seconds of sound, with the published settings of "
        f"{model.model_type}'s processor; without tokens of the chat template",
        seconds=float(length),
        tokens=tokens,
    )
    return tokens, (told,)
