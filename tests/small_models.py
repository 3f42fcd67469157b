"""Untrained models of transformers, small enough to make in a test: the published weights are not at hand."""

from __future__ import annotations

from pathlib import Path

import torch

LAYERS = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXTS = {"vocab_size": 60, "max_position_embeddings": 12, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
WORDS = ["<s>", "</s>", "<unk>", "left", "right", "pleural", "effusion", "cardiomegaly"]


def save_clip(folder: Path) -> Path:
    """A CLIP for images of 48 px in patches of 16, with its processor and a tokenizer of `WORDS`."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    torch.manual_seed(0)
    vision = LAYERS | {"image_size": 48, "patch_size": 16, "projection_dim": 24}
    config = CLIPConfig(text_config=LAYERS | TEXTS, vision_config=vision, projection_dim=24)
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessor(
        size={"shortest_edge": 48}, crop_size={"height": 48, "width": 48}, do_convert_rgb=True
    ).save_pretrained(folder)
    _save_tokenizer(folder)
    return folder


def save_siglip(folder: Path, image_px: int) -> Path:
    """A SigLIP for images of ``image_px`` in patches of 16 px, with its processor and a tokenizer of `WORDS`."""
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel

    torch.manual_seed(0)
    vision = LAYERS | {"image_size": image_px, "patch_size": 16}
    SiglipModel(SiglipConfig(text_config=LAYERS | TEXTS, vision_config=vision)).save_pretrained(folder)
    SiglipImageProcessor(size={"height": image_px, "width": image_px}).save_pretrained(folder)
    _save_tokenizer(folder)
    return folder


def save_dino(folder: Path) -> Path:
    """A DINOv2, with RAD-DINO's processor at 56 px."""
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    config = Dinov2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=56, patch_size=14)
    Dinov2Model(config).save_pretrained(folder)
    BitImageProcessor(
        size={"shortest_edge": 56},
        crop_size={"height": 56, "width": 56},
        resample=3,
        image_mean=[0.5307] * 3,
        image_std=[0.2583] * 3,
    ).save_pretrained(folder)
    return folder


def _save_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
