"""CAM++ in torch, as a `pyannote.audio.Model`: for comparing with the stock pyannote pipeline only.

The pipeline itself runs CAM++ on ONNX Runtime (`diarist.networks`). Architecture: Wang et al., "CAM++: A Fast and
Efficient Network for Speaker Verification Using Context-Aware Masking", arXiv 2303.00332; the names of the
parts are those of the tensors in the checkpoint `campplus_cn_en_common.pt` of 3D-Speaker.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from diarist import libraries

MEL_BINS = 80
GROWTH = 32  # channels that each dense layer adds
DIMENSION = 192  # of the embedding
POOLED_FRAMES = 100  # frames that share a context mask
BLOCKS = ((12, 1), (24, 2), (16, 2))  # layers and dilation of each dense block


class _Residual(nn.Module):
    def __init__(self, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(32, 32, 3, stride=(stride, 1), padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 32, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(32)
        shortcut = (nn.Conv2d(32, 32, 1, stride=(stride, 1), bias=False), nn.BatchNorm2d(32)) if stride > 1 else ()
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class _Head(nn.Module):
    """Filter bank (batch, 80, frames) -> (batch, 320, frames), by convolutions over frequency and time."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.layer1 = nn.Sequential(_Residual(2), _Residual(1))
        self.layer2 = nn.Sequential(_Residual(2), _Residual(1))
        self.conv2 = nn.Conv2d(32, 32, 3, stride=(2, 1), padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.bn1(self.conv1(x[:, None])))
        x = functional.relu(self.bn2(self.conv2(self.layer2(self.layer1(x)))))
        return x.flatten(1, 2)


class _Norm(nn.Sequential):
    """Batch norm, and ReLU where the values are not yet the embedding."""

    def __init__(self, channels: int, *, affine: bool = True) -> None:
        parts: list[tuple[str, nn.Module]] = [("batchnorm", nn.BatchNorm1d(channels, affine=affine))]
        super().__init__(OrderedDict([*parts, ("relu", nn.ReLU())] if affine else parts))


class _ContextMask(nn.Module):
    """A convolution whose output is weighted by what the whole and the nearby hundred frames hold."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.linear_local = nn.Conv1d(128, GROWTH, 3, padding=dilation, dilation=dilation, bias=False)
        self.linear1 = nn.Conv1d(128, 64, 1)
        self.linear2 = nn.Conv1d(64, GROWTH, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        nearby = functional.avg_pool1d(x, POOLED_FRAMES, POOLED_FRAMES, ceil_mode=True)
        nearby = nearby.repeat_interleave(POOLED_FRAMES, dim=-1)[..., : x.shape[-1]]
        context = functional.relu(self.linear1(x.mean(-1, keepdim=True) + nearby))
        mask = torch.sigmoid(self.linear2(context))
        return self.linear_local(x) * mask  # type: ignore[no-any-return]


class _DenseLayer(nn.Module):
    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.nonlinear1 = _Norm(channels)
        self.linear1 = nn.Conv1d(channels, 128, 1, bias=False)
        self.nonlinear2 = _Norm(128)
        self.cam_layer = _ContextMask(dilation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        added = self.cam_layer(self.nonlinear2(self.linear1(self.nonlinear1(x))))
        return torch.cat([x, added], dim=1)


class _Transit(nn.Module):
    """Halve the channels after a dense block."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.nonlinear = _Norm(channels)
        self.linear = nn.Conv1d(channels, channels // 2, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.nonlinear(x))  # type: ignore[no-any-return]


class _Linear(nn.Module):
    """A convolution and its norm: the first layer, and the last."""

    def __init__(self, linear: nn.Module, nonlinear: nn.Module) -> None:
        super().__init__()
        self.linear = linear
        self.nonlinear = nonlinear

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.nonlinear(self.linear(x))  # type: ignore[no-any-return]


class CamPlusPlus(nn.Module):
    """Filter bank -> frames of the trunk -> embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.head = _Head()
        parts: list[tuple[str, nn.Module]] = [
            ("tdnn", _Linear(nn.Conv1d(320, 128, 5, stride=2, padding=2, bias=False), _Norm(128)))
        ]
        channels = 128
        for number, (layers, dilation) in enumerate(BLOCKS, start=1):
            dense = [(f"tdnnd{i + 1}", _DenseLayer(channels + i * GROWTH, dilation)) for i in range(layers)]
            channels += layers * GROWTH
            parts += [(f"block{number}", nn.Sequential(OrderedDict(dense))), (f"transit{number}", _Transit(channels))]
            channels //= 2
        parts.append(("out_nonlinear", _Norm(channels)))
        parts.append(
            ("dense", _Linear(nn.Conv1d(2 * channels, DIMENSION, 1, bias=False), _Norm(DIMENSION, affine=False)))
        )
        self.xvector = nn.ModuleDict(OrderedDict(parts))

    def frames(self, features: torch.Tensor) -> torch.Tensor:
        """(batch, frames, 80) -> (batch, 512, frames / 2)."""
        x = self.head(features.transpose(1, 2))
        for name, part in self.xvector.items():
            x = part(x) if name != "dense" else x
        return x  # type: ignore[no-any-return]

    def embedding(self, statistics: torch.Tensor) -> torch.Tensor:
        """Mean and deviation (..., 1024) -> embedding (..., 192)."""
        rows: torch.Tensor = self.xvector["dense"](statistics.reshape(-1, statistics.shape[-1], 1))
        return rows.reshape(*statistics.shape[:-1], DIMENSION)


def load_campplus(checkpoint: Path) -> Any:  # noqa: ANN401 - a class made here, since its base is imported here
    """The checkpoint as a `pyannote.audio.Model` in eval mode, for `SpeakerDiarization(embedding=…)`."""
    libraries.pyannote_audio()
    with libraries.quiet():
        from pyannote.audio import Model  # noqa: PLC0415
        from pyannote.audio.models.blocks.pooling import StatsPool  # noqa: PLC0415
        from torchaudio.compliance import kaldi  # noqa: PLC0415

    class CamPlusPlusModel(Model):  # type: ignore[misc]
        """waveforms (batch, 1, samples), weights (batch, [speakers,] frames) -> (batch, [speakers,] 192)."""

        def __init__(self) -> None:
            super().__init__(sample_rate=16_000, num_channels=1)
            self.network = CamPlusPlus()
            self.pool = StatsPool()

        @cached_property
        def dimension(self) -> int:
            return DIMENSION

        def forward_frames(self, waveforms: torch.Tensor) -> torch.Tensor:
            banks = [kaldi.fbank(waveform, num_mel_bins=MEL_BINS) for waveform in waveforms]
            features = torch.stack(banks)  # (batch, frames, 80)
            return self.network.frames(features - features.mean(dim=1, keepdim=True))

        def forward_embedding(self, frames: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
            return self.network.embedding(self.pool(frames, weights=weights))

        def forward(self, waveforms: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
            return self.forward_embedding(self.forward_frames(waveforms), weights=weights)

    model = CamPlusPlusModel()
    model.network.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True))
    return model.eval()
