"""Texts that are hard on a tokenizer, the same ones for the same seed.

    texts = corpus(20_000, seed=0)      # str, and bytes where they aren't UTF-8

Each is of one kind or a mixture of several, in random order: scripts, emoji, marks, controls,
spaces, long words, bytes that are no text, and the literals of special tokens, whole and broken.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable

_ENGLISH = (
    "the of and to in a is that it was he for on are with as his they be at one have this from by",
    "hot but what some we can out other were all there when up use your how said an each she",
    "which do if time will way about many then them write would like so these her long make thing",
    "see him two has look more day could go come did number sound no most people my over know",
    "water than call first unbelievably internationalization antidisestablishmentarianism",
    "tokenization doesn't can't we'll they've I'm you're she'd it's O'Neill rock'n'roll e.g.",
    "U.S.A. don’t state-of-the-art 3.14159 $9.99 1,000,000 50% C++ http://example.org/a?b=c#d",
    "user@example.com #tag naïve café façade Zürich Straße Ærøskøbing smörgåsbord",
)
_WORDS = [word for line in _ENGLISH for word in line.split()]

# One block of each kind of writing, and of what isn't writing.
_BLOCKS = (
    *((0x00A0, 0x024F), (0x0250, 0x02FF), (0x0370, 0x03FF), (0x0400, 0x052F), (0x0530, 0x058F)),
    *((0x0590, 0x05FF), (0x0600, 0x06FF), (0x0700, 0x07BF), (0x0860, 0x08FF), (0x0900, 0x097F)),
    *((0x0980, 0x0DFF), (0x0E00, 0x0E7F), (0x0E80, 0x0FFF), (0x1000, 0x109F), (0x10A0, 0x10FF)),
    *((0x1100, 0x11FF), (0x1200, 0x139F), (0x13A0, 0x167F), (0x1680, 0x17FF), (0x1800, 0x1AFF)),
    *((0x1B00, 0x1CFF), (0x1E00, 0x1EFF), (0x1F00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x20CF)),
    *((0x2100, 0x218F), (0x2190, 0x23FF), (0x2460, 0x24FF), (0x2500, 0x27BF), (0x2C00, 0x2DFF)),
    *((0x2E00, 0x2E7F), (0x2E80, 0x303F), (0x3040, 0x30FF), (0x3100, 0x33FF), (0x4E00, 0x9FFF)),
    *((0xA000, 0xA4CF), (0xA500, 0xABFF), (0xAC00, 0xD7A3), (0xD7B0, 0xD7FF), (0xE000, 0xF8FF)),
    *((0xF900, 0xFAFF), (0xFB00, 0xFB4F), (0xFB50, 0xFDFF), (0xFE20, 0xFE6F), (0xFE70, 0xFEFF)),
    *((0xFF00, 0xFFEF), (0xFFF0, 0xFFFF), (0x10000, 0x107FF), (0x10800, 0x10FFF)),
    *((0x11000, 0x11FFF), (0x12000, 0x1254F), (0x13000, 0x1345F), (0x16800, 0x18CFF)),
    *((0x1D100, 0x1D24F), (0x1D400, 0x1D7FF), (0x1E000, 0x1EEFF), (0x20000, 0x2A6DF)),
    *((0x2F800, 0x2FA1F), (0xE0000, 0xE01EF), (0xF0000, 0xF00FF), (0x10FF00, 0x10FFFF)),
)
_MARKS = (
    *((0x0300, 0x036F), (0x0483, 0x0489), (0x0591, 0x05C7), (0x0610, 0x061A), (0x064B, 0x065F)),
    *((0x06D6, 0x06ED), (0x0898, 0x08FF), (0x093C, 0x094D), (0x1AB0, 0x1ACE), (0x1DC0, 0x1DFF)),
    *((0x20D0, 0x20F0), (0x302A, 0x302F), (0xA8E0, 0xA8F1), (0xFE20, 0xFE2F), (0x1D165, 0x1D172)),
)
_SPACES = [
    *" \t\n\r\v\f\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2003\u2009",
    *"\u200a\u2028\u2029\u202f\u205f\u3000",
    *("  ", "   ", "\r\n", "\n\n", " \n ", "\t\t"),
]
_INVISIBLE = [
    *(chr(each) for each in (*range(0x20), *range(0x7F, 0xA0))),
    *"\xad\u034f\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202e\u2060\u2066\ufeff\ufffd\ufffe",
    *"\ufe0e\ufe0f\U000e0001\U000e0020\U000e007f\U000e0100",
]
_FOLDS = (
    "İ ı ß ẞ ſ ﬁ ﬃ ŉ ǰ ΐ ς Σ ΑΣ ΟΔΟΣ. … ½ ² ª º № ™ ㎏ ① Ⅳ ＡＢＣ\u3000１２３ ａｂｃ！ \u212a",
    "\u212b \u2126 é e\u0301 각 \u1100\u1161\u11a8 が カ\u3099 ﬀ ǆ ǅ Ǆ ᾳ ᾼ ﷺ Ⓐ 𝐀𝒷 µ ŀ 𝟙 ⁵ ￥",
    "ᴬ Ꭰ ꭰ Ა ა",
)
_FOLDED = [each for line in _FOLDS for each in line.split(" ")]
_TOKENS = (
    "[SEP] [CLS] [PAD] [UNK] [MASK] [unused1] <s> </s> <pad> <unk> <mask> <|endoftext|> [sep]",
    "[Sep] # [SEP [[SEP]] SEP] [SEP][SEP] <S> </S> <MASK> <s><mask> <<s>> <|endoftext| ##ing",
    "## [ ] < > <|",
)
_LITERALS = ["< s>", "[ SEP ]", *(each for line in _TOKENS for each in line.split())]
_EMOJI = [
    *(
        "😀",
        "❤️",
        "👍🏽",
        "👩\u200d👩\u200d👧\u200d👦",
        "🏳️\u200d🌈",
        "🇩🇪",
        "🇺🇸🇬🇧",
        "1️⃣",
        "☺",
        "✂\ufe0e",
        "⌚",
        "™️",
    ),
    *("🧑🏿\u200d🚀", "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f", "🫠", "🪿"),
]
_PUNCTUATION = [*string.punctuation, *"…“”‘’«»‹›—–‐·•¿¡§¶†‡。、，！？「」『』・〜"]
_BROKEN = [
    *(b"\xff", b"\xfe", b"\x80", b"\xbf\xbf", b"\xc0\xaf", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x92"),
    *(
        b"\xed\xa0\x80",
        b"\xed\xb0\x80",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xe0\x80\xaf",
    ),
]


def corpus(n_texts: int, *, seed: int) -> list[str | bytes]:
    """Args: n_texts: 20,000 meet every kind some hundred times."""
    random_ = random.Random(seed)  # noqa: S311
    texts: list[str | bytes] = ["", " ", b"\xff", *_FOLDED, *_LITERALS, *_EMOJI]
    while len(texts) < n_texts:
        texts.append(_text(random_))
    return texts[:n_texts]


def _text(random_: random.Random) -> str | bytes:
    kinds = random_.choices(_KINDS, k=random_.choice((1, 1, 2, 3, 6)))
    parts = [
        random_.choice(kinds)(random_) for _ in range(random_.choice((1, 2, 3, 5, 8, 13, 21, 40)))
    ]
    text = random_.choice(("", " ", " ", " ")).join(parts)
    if random_.random() > 0.08:
        return text
    raw = text.encode()
    for _ in range(random_.randint(1, 4)):
        place = random_.randint(0, len(raw))
        # In the midst of a character, or one that lost its end.
        raw = raw[:place] + random_.choice(_BROKEN) + raw[place + random_.randint(0, 2) :]
    return raw


def _word(random_: random.Random) -> str:
    word = random_.choice(_WORDS)
    return random_.choice((word, word, word, word.upper(), word.capitalize(), word.swapcase()))


def _script(random_: random.Random) -> str:
    return _of_blocks(random_, (random_.choice(_BLOCKS),), random_.randint(1, 8))


def _marked(random_: random.Random) -> str:
    letters = random_.choice(("aeiouAEIOUnN", "אבגד", "کلم", "कखग", "かさ", "𝅗𝅘", "ぁ각"))
    marks = (_of_blocks(random_, _MARKS, random_.choice((0, 1, 1, 2, 3, 5))) for _ in range(3))
    return "".join(random_.choice(letters) + each for each in marks)


def _long(random_: random.Random) -> str:
    length = random_.choice((30, 98, 99, 100, 101, 102, 150, 300))
    letters = random_.choice((string.ascii_lowercase, "ab", "éa", "日a", "0123456789"))
    return "".join(random_.choices(letters, k=length))


def _nonsense(random_: random.Random) -> str:
    return "".join(random_.choices(string.ascii_letters + string.digits, k=random_.randint(1, 14)))


def _anything(random_: random.Random) -> str:
    whole = ((0x20, 0xD7FF), (0xE000, 0x2FFFF), (0x30000, 0x10FFFF))
    return _of_blocks(random_, whole, random_.randint(1, 6))


def _contraction(random_: random.Random) -> str:
    ends = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'LL", "''s", "'", "’s", "'x", "'lx")
    return (
        random_.choice(("", "it", "9", "!", " ", "é", "'s")) + random_.choice(ends) + _few(random_)
    )


def _few(random_: random.Random) -> str:
    return random_.choice(("", "", "a", "1", "!", " ", "  ", "\n"))


def _run(random_: random.Random) -> str:
    return random_.choice((*_PUNCTUATION, " ", "\n", "a", "7")) * random_.randint(1, 9)


def _of_blocks(random_: random.Random, blocks: tuple[tuple[int, int], ...], length: int) -> str:
    return "".join(chr(random_.randint(*random_.choice(blocks))) for _ in range(length))


def _one_of(choices: list[str]) -> Callable[[random.Random], str]:
    return lambda random_: random_.choice(choices)


_KINDS: tuple[Callable[[random.Random], str], ...] = (
    *(
        _word,
        _word,
        _word,
        _script,
        _script,
        _marked,
        _long,
        _nonsense,
        _anything,
        _contraction,
        _run,
    ),
    *map(_one_of, (_SPACES, _INVISIBLE, _FOLDED, _LITERALS, _EMOJI, _PUNCTUATION)),
)
