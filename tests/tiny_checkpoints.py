"""Small models with seeded random weights, in the file formats of the real ones.

They hear nothing, but they load through the same loaders and run the same code as large-v3, a wav2vec2 aligner
and community-1. Nothing is downloaded.
"""

# ruff: noqa: PLC0415 - torch and its friends take seconds to import: when a test runs, not when it is collected

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from diarist import libraries
from diarist.models import ModelStore

LANGUAGES = ("en", "zh", "de", "es", "ru", "ko", "fr", "ja", "pt")  # the first of Whisper's 99, in its order


def multilingual_tokenizer(english: Path, target: Path) -> Path:
    """Make the tokenizer of a multilingual Whisper from an English one's `tokenizer.json`.

    The two differ by one empty token before `<|endoftext|>`, which moves every special token up by one (50257
    instead of 50256); CTranslate2 tells a multilingual model by its vocabulary of 51865.
    """
    content = json.loads(english.read_text(encoding="utf-8"))
    del content["model"]["vocab"]["<|endoftext|>"]
    content["model"]["vocab"][""] = 50256
    for token in content["added_tokens"]:
        token["id"] += 1
    content["post_processor"] = None  # it names ids; Whisper's prompt is built by hand anyway
    target.write_text(json.dumps(content), encoding="utf-8")
    return target


def whisper_folder(folder: Path, tokenizer: Path, *, vocab_size: int) -> Path:
    """A Whisper of one layer, written by transformers and converted by CTranslate2's own converter.

    `vocab_size` is 51864 for an English tokenizer, 51865 for a multilingual one.
    """
    import torch
    from ctranslate2.converters import TransformersConverter
    from transformers import (
        GenerationConfig,
        PreTrainedTokenizerFast,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
    )

    source = folder.with_name(f"{folder.name}-transformers")
    fast = PreTrainedTokenizerFast(tokenizer_file=str(tokenizer), unk_token="<|endoftext|>")  # noqa: S106 - not a secret
    ids = fast.get_vocab()
    end = ids["<|endoftext|>"]
    torch.manual_seed(7)
    config = WhisperConfig(
        vocab_size=vocab_size, d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64, init_std=0.2, eos_token_id=end,
        bos_token_id=end, pad_token_id=end, decoder_start_token_id=end + 1, suppress_tokens=None,
        begin_suppress_tokens=None,
    )  # fmt: skip
    model = WhisperForConditionalGeneration(config)
    decoder = model.model.decoder
    with torch.no_grad():
        decoder.layer_norm.weight *= 10  # sharp logits: the gates drop the text of a model that is not sure of it
        # The later, the likelier the end of the text: random logits would run to the limit.
        decoder.embed_tokens.weight[end] = torch.randn(config.d_model) * 0.4  # the padding token's row is zero
        pull = torch.arange(config.max_target_positions)[:, None] / 4
        decoder.embed_positions.weight += pull * decoder.embed_tokens.weight[end]
    model.generation_config = GenerationConfig(
        suppress_tokens=[], begin_suppress_tokens=[220, end],
        lang_to_id={f"<|{code}|>": ids[f"<|{code}|>"] for code in LANGUAGES}, alignment_heads=[[0, 0], [0, 1]],
    )  # fmt: skip
    model.save_pretrained(source)
    fast.save_pretrained(source)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(source)
    TransformersConverter(str(source), copy_files=["preprocessor_config.json"]).convert(str(folder), force=True)
    shutil.copy(tokenizer, folder / "tokenizer.json")
    shutil.rmtree(source)
    return folder


def wav2vec2_folder(folder: Path, *, letters: str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ'", masks_padding: bool = True) -> Path:
    """A wav2vec2 CTC model for one language, as transformers writes it.

    `masks_padding` chooses layer normalization in the convolutions, as in the large multilingual models, which are
    told of padding; without, it is group normalization, as in wav2vec2-base, which cannot be.
    """
    import torch
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
        Wav2Vec2Processor,
    )

    folder.mkdir(parents=True)
    vocabulary = {label: index for index, label in enumerate(["<pad>", "<s>", "</s>", "<unk>", "|", *letters])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    tokenizer = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=masks_padding)
    Wav2Vec2Processor(feature_extractor=extractor, tokenizer=tokenizer).save_pretrained(folder)
    torch.manual_seed(11)
    config = Wav2Vec2Config(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        conv_dim=[16] * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, initializer_range=0.5,
        feat_extract_norm="layer" if masks_padding else "group", do_stable_layer_norm=masks_padding,
        pad_token_id=vocabulary["<pad>"],
    )  # fmt: skip
    Wav2Vec2ForCTC(config).save_pretrained(folder)
    return folder


def pyannote_folder(folder: Path, segmentation: Path | None = None) -> Path:
    """A pyannote pipeline in the layout of community-1, with its clustering (VBx) and its classes of networks.

    Segmentation is a copy of the checkpoint given, or a PyanNet with random weights.
    """
    import torch
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.embedding import WeSpeakerResNet34
    from pyannote.audio.models.segmentation import PyanNet

    torch.manual_seed(13)
    classes = ["speaker#1", "speaker#2", "speaker#3"]
    if segmentation is None:
        powerset = Specifications(
            problem=Problem.MONO_LABEL_CLASSIFICATION, resolution=Resolution.FRAME, duration=10.0, classes=classes,
            powerset_max_classes=2, permutation_invariant=True,
        )  # fmt: skip
        _save_pyannote(PyanNet(lstm={"hidden_size": 8, "num_layers": 1}), powerset, folder / "segmentation")
    else:
        (folder / "segmentation").mkdir(parents=True)
        shutil.copy(segmentation, folder / "segmentation" / "pytorch_model.bin")
    embedding = Specifications(
        problem=Problem.REPRESENTATION, resolution=Resolution.CHUNK, duration=5.0, classes=["voice"]
    )
    _save_pyannote(WeSpeakerResNet34(), embedding, folder / "embedding")
    _save_plda(folder / "plda")
    (folder / "config.yaml").write_text(_COMMUNITY_CONFIG, encoding="utf-8")
    return folder


def _save_pyannote(model: Any, specifications: Any, folder: Path) -> None:  # noqa: ANN401 - no types shipped
    import torch

    folder.mkdir(parents=True)
    model.specifications = specifications
    model.setup()
    checkpoint = {
        "state_dict": model.state_dict(),
        "hyper_parameters": dict(model.hparams),
        "pytorch-lightning_version": "2.6.0",
    }
    model.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, folder / "pytorch_model.bin")


def _save_plda(folder: Path, dimension: int = 256, reduced: int = 128) -> None:
    """A transform of embeddings to `reduced` dimensions and a PLDA there, as `pyannote.audio.utils.vbx` reads them."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(17)
    np.savez(
        folder / "xvec_transform.npz",
        mean1=np.zeros(dimension),
        mean2=np.zeros(reduced),
        lda=np.linalg.qr(random.standard_normal((dimension, reduced)))[0],
    )
    np.savez(folder / "plda.npz", mu=np.zeros(reduced), tr=np.eye(reduced), psi=np.linspace(8.0, 1.0, reduced))


_COMMUNITY_CONFIG = """\
dependencies:
  pyannote.audio: 4.0.0

pipeline:
  name: pyannote.audio.pipelines.SpeakerDiarization
  params:
    clustering: VBxClustering
    segmentation: $model/segmentation
    segmentation_batch_size: 32
    embedding: $model/embedding
    embedding_batch_size: 32
    embedding_exclude_overlap: true
    plda: $model/plda

params:
  clustering:
    threshold: 0.6
    Fa: 0.07
    Fb: 0.8
  segmentation:
    min_duration_off: 0.0
"""


def production_folders(root: Path, store: ModelStore) -> Path:
    """Fill a folder with what a deployment mounts: `asr` (a multilingual Whisper), `align/en`, `diarization`."""
    libraries.whisperx()
    tokenizer = multilingual_tokenizer(store.folder("tiny.en") / "tokenizer.json", root / "tokenizer.json")
    with libraries.quiet():  # transformers warns about classes that the converter still uses
        whisper_folder(root / "asr", tokenizer, vocab_size=51865)
    wav2vec2_folder(root / "align" / "en")
    pyannote_folder(root / "diarization", store.folder("segmentation-3.0") / "pytorch_model.bin")
    return root
