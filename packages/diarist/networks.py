"""Checkpoints -> ONNX graphs -> sessions: the two diarization networks, without torch.

A torch checkpoint is a zip archive: `data.pkl`, which describes the tensors, and one raw file a storage. It is
read here without torch and without running anything that is pickled. From the tensors, the graphs of
segmentation-3.0 (PyanNet: SincNet, LSTM, linear; Bredin, "pyannote.audio 2.1", Interspeech 2023) and of the
trunk of CAM++ (Wang et al., "CAM++: A Fast and Efficient Network for Speaker Verification Using Context-Aware
Masking", Interspeech 2023) are built in half a second. Tests hold both against the original implementations.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from diarist.errors import ModelMissing

Array = NDArray[np.float32]
Tensors = Mapping[str, NDArray[Any]]

OPSET = 17
IR_VERSION = 9  # the oldest that opset 17 allows, so that older runtimes read the graphs as well


# --- checkpoints ------------------------------------------------------------------------------------------


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a torch zip checkpoint; tensors become NumPy arrays, unknown classes inert placeholders.

    Raises:
        ModelMissing: the file is not there or is not such a checkpoint.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
            with archive.open(name) as stream:
                content = _Unpickler(stream, archive, name.removesuffix("data.pkl")).load()
    except (*_UNREADABLE, StopIteration) as error:
        message = f"{path.name} is not a readable torch checkpoint; fetch it again with `diarist models fetch`"
        raise ModelMissing(message) from error
    return dict(content)


# What a file that is not a checkpoint, or that wants to run something, makes the zip and pickle modules raise.
_UNREADABLE = (
    OSError, zipfile.BadZipFile, pickle.UnpicklingError,
    AttributeError, EOFError, IndexError, KeyError, TypeError, ValueError,
)  # fmt: skip


class _Placeholder:
    """Stands for any class the checkpoint mentions and that the weights do not need."""

    def __new__(cls, *_args: object, **_kwargs: object) -> Self:
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None: ...


_DTYPES = {"FloatStorage": np.float32, "LongStorage": np.int64, "DoubleStorage": np.float64, "HalfStorage": np.float16}


class _Unpickler(pickle.Unpickler):
    """Knows tensors, storages and ordered dictionaries; nothing else is ever imported or called."""

    def __init__(self, stream: IO[bytes], archive: zipfile.ZipFile, prefix: str) -> None:
        super().__init__(stream)
        self._archive, self._prefix = archive, prefix

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - the signature of pickle
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        return _Placeholder

    def persistent_load(self, pid: Any) -> NDArray[Any]:  # noqa: ANN401 - the signature of pickle
        _kind, dtype, key, _location, _size = pid
        return np.frombuffer(self._archive.read(f"{self._prefix}data/{key}"), dtype)


def _rebuild_tensor(
    storage: NDArray[Any], offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
) -> NDArray[Any]:
    end = offset + 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if 0 in shape or end > len(storage):
        message = "a tensor reaches beyond its storage"
        raise ValueError(message)
    item = storage.itemsize
    view = np.lib.stride_tricks.as_strided(storage[offset:end], shape, [stride * item for stride in strides])
    return view.copy()


# --- graphs -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Graph:
    """Collects nodes; every method returns the name of the value that it adds."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def constant(self, value: NDArray[Any] | list[int]) -> str:
        array = np.asarray(value, np.int64) if isinstance(value, list) else np.ascontiguousarray(value)
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:  # noqa: ANN401 - as ONNX defines them
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def model(self, source: tuple[str, list[Any]], result: tuple[str, list[Any]]) -> bytes:
        """The finished graph, serialized; its last value gets the name of the result."""
        self.nodes.append(helper.make_node("Identity", [self.nodes[-1].output[0]], [result[0]]))
        graph = helper.make_graph(
            self.nodes,
            "diarist",
            [helper.make_tensor_value_info(source[0], onnx.TensorProto.FLOAT, source[1])],
            [helper.make_tensor_value_info(result[0], onnx.TensorProto.FLOAT, result[1])],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())


def segmentation_graph(tensors: Tensors) -> bytes:
    """PyanNet with powerset classes: `(batch, num_samples)` -> log-probabilities `(batch, num_frames, 7)`."""
    graph = _Graph()
    value = graph.add("Unsqueeze", "waveform", graph.constant([1]))  # (batch, 1, num_samples)
    value = _instance_norm(graph, value, tensors, "sincnet.wav_norm1d")
    for layer in range(3):
        if layer == 0:
            filters = graph.constant(sinc_filters(tensors, "sincnet.conv1d.0.filterbank."))
            value = graph.add("Abs", graph.add("Conv", value, filters, strides=[10]))
        else:
            weight, bias = (graph.constant(tensors[f"sincnet.conv1d.{layer}.{part}"]) for part in ("weight", "bias"))
            value = graph.add("Conv", value, weight, bias)
        value = graph.add("MaxPool", value, kernel_shape=[3], strides=[3])
        value = graph.add("LeakyRelu", _instance_norm(graph, value, tensors, f"sincnet.norm1d.{layer}"))
    value = graph.add("Transpose", value, perm=[2, 0, 1])  # (num_frames, batch, 60)
    for layer in range(_count(tensors, "lstm.weight_ih_l{}")):
        value = _lstm(graph, value, tensors, layer)
    value = graph.add("Transpose", value, perm=[1, 0, 2])  # (batch, num_frames, 256)
    for layer in range(_count(tensors, "linear.{}.weight")):
        value = graph.add("LeakyRelu", _linear(graph, value, tensors, f"linear.{layer}"))
    graph.add("LogSoftmax", _linear(graph, value, tensors, "classifier"), axis=-1)
    return graph.model(("waveform", ["batch", "num_samples"]), ("log_probabilities", ["batch", "num_frames", None]))


def sinc_filters(tensors: Tensors, prefix: str) -> Array:
    """The learned band-pass filters, `(80, 1, 251)`: cosine halves, then sine halves.

    Ravanelli & Bengio, "Speaker Recognition from Raw Waveform with SincNet", SLT 2018; the sine filters are
    from Pariente et al., "Filterbank design for end-to-end speech separation", ICASSP 2020.
    """
    minimum_hz, nyquist_hz = 50, 8000
    low = minimum_hz + np.abs(tensors[prefix + "low_hz_"])  # (40, 1)
    high = np.clip(low + minimum_hz + np.abs(tensors[prefix + "band_hz_"]), minimum_hz, nyquist_hz)
    times, window = tensors[prefix + "n_"], tensors[prefix + "window_"]  # (1, 125) in radians a hertz, (125,)
    band = high - low
    cosine = (np.sin(high * times) - np.sin(low * times)) / (times / 2) * window
    sine = (np.cos(low * times) - np.cos(high * times)) / (times / 2) * window
    even = np.concatenate([cosine, 2 * band, cosine[:, ::-1]], axis=1)
    odd = np.concatenate([sine, np.zeros_like(band), -sine[:, ::-1]], axis=1)
    filters = np.concatenate([even / (2 * band), odd / (2 * band)])
    return np.asarray(filters[:, None, :], np.float32)


def campplus_trunk_graph(tensors: Tensors) -> bytes:
    """CAM++ up to its pooling: features `(batch, num_frames, 80)` -> `(batch, 512, ceil(num_frames / 2))`."""
    graph = _Graph()
    value = graph.add("Transpose", "features", perm=[0, 2, 1])
    value = graph.add("Unsqueeze", value, graph.constant([1]))  # (batch, 1, 80, num_frames)
    value = _campplus_head(graph, value, tensors)  # (batch, 320, num_frames)
    prefix = "xvector.tdnn."
    value = _conv_norm(
        graph, value, tensors, prefix + "linear", prefix + "nonlinear.batchnorm", strides=[2], pads=[2, 2]
    )
    value = graph.add("Relu", value)  # (batch, 128, num_frames / 2)
    for block, dilation in enumerate((1, 2, 2), start=1):
        for layer in range(1, 1 + _count(tensors, f"xvector.block{block}.tdnnd{{}}.linear1.weight", start=1)):
            extra = _dense_tdnn_layer(graph, value, tensors, f"xvector.block{block}.tdnnd{layer}.", dilation)
            value = graph.add("Concat", value, extra, axis=1)
        prefix = f"xvector.transit{block}."
        value = graph.add("Relu", _batch_norm(graph, value, tensors, prefix + "nonlinear.batchnorm"))
        value = graph.add("Conv", value, graph.constant(tensors[prefix + "linear.weight"]))
    graph.add("Relu", _batch_norm(graph, value, tensors, "xvector.out_nonlinear.batchnorm"))
    return graph.model(("features", ["batch", "num_frames", 80]), ("frames", ["batch", 512, None]))


def _campplus_head(graph: _Graph, value: str, tensors: Tensors) -> str:
    """Front-end convolutions over time and frequency, as a small residual network."""
    pads = [1, 1, 1, 1]
    value = graph.add("Relu", _conv_norm(graph, value, tensors, "head.conv1", "head.bn1", pads=pads))
    for block in ("head.layer1.0.", "head.layer1.1.", "head.layer2.0.", "head.layer2.1."):
        strides = [2, 1] if block.endswith("0.") else [1, 1]
        inner = _conv_norm(graph, value, tensors, block + "conv1", block + "bn1", strides=strides, pads=pads)
        inner = _conv_norm(graph, graph.add("Relu", inner), tensors, block + "conv2", block + "bn2", pads=pads)
        if block + "shortcut.0.weight" in tensors:
            value = _conv_norm(graph, value, tensors, block + "shortcut.0", block + "shortcut.1", strides=strides)
        value = graph.add("Relu", graph.add("Add", inner, value))
    value = graph.add("Relu", _conv_norm(graph, value, tensors, "head.conv2", "head.bn2", strides=[2, 1], pads=pads))
    return graph.add("Reshape", value, graph.constant([0, 320, -1]))


def _dense_tdnn_layer(graph: _Graph, value: str, tensors: Tensors, prefix: str, dilation: int) -> str:
    """One layer of a dense block: bottleneck, dilated convolution, context-aware mask."""
    value = graph.add("Relu", _batch_norm(graph, value, tensors, prefix + "nonlinear1.batchnorm"))
    value = graph.add("Relu", _conv_norm(graph, value, tensors, prefix + "linear1", prefix + "nonlinear2.batchnorm"))
    local = graph.add(
        "Conv", value, graph.constant(tensors[prefix + "cam_layer.linear_local.weight"]),
        dilations=[dilation], pads=[dilation, dilation],
    )  # fmt: skip
    # The mask is constant over each 100 frames, so it is computed once for each and repeated.
    pooled = graph.add("AveragePool", value, kernel_shape=[100], strides=[100], ceil_mode=1)
    context = graph.add("Add", pooled, graph.add("ReduceMean", value, axes=[2], keepdims=1))
    for part, activation in (("linear1", "Relu"), ("linear2", "Sigmoid")):
        weight, bias = (graph.constant(tensors[f"{prefix}cam_layer.{part}.{name}"]) for name in ("weight", "bias"))
        context = graph.add(activation, graph.add("Conv", context, weight, bias))
    mask = graph.add("Unsqueeze", context, graph.constant([3]))
    mask = graph.add("Expand", mask, graph.constant([1, 1, 1, 100]))
    mask = graph.add("Reshape", mask, graph.constant([0, 0, -1]))
    length = graph.add("Slice", graph.add("Shape", local), graph.constant([2]), graph.constant([3]))
    mask = graph.add("Slice", mask, graph.constant([0]), length, graph.constant([2]))
    return graph.add("Mul", local, mask)


def _count(tensors: Tensors, pattern: str, start: int = 0) -> int:
    index = start
    while pattern.format(index) in tensors:
        index += 1
    return index - start


def _instance_norm(graph: _Graph, value: str, tensors: Tensors, prefix: str) -> str:
    scale, bias = graph.constant(tensors[prefix + ".weight"]), graph.constant(tensors[prefix + ".bias"])
    return graph.add("InstanceNormalization", value, scale, bias, epsilon=1e-5)


def _linear(graph: _Graph, value: str, tensors: Tensors, prefix: str) -> str:
    product = graph.add("MatMul", value, graph.constant(tensors[prefix + ".weight"].T))
    return graph.add("Add", product, graph.constant(tensors[prefix + ".bias"]))


def _lstm(graph: _Graph, value: str, tensors: Tensors, layer: int) -> str:
    """One bidirectional layer, `(num_frames, batch, features)` -> `(num_frames, batch, 256)`."""
    sides = (f"_l{layer}", f"_l{layer}_reverse")
    weights = (
        np.stack([_gates(tensors[f"lstm.weight_ih{side}"]) for side in sides]),
        np.stack([_gates(tensors[f"lstm.weight_hh{side}"]) for side in sides]),
        np.stack([
            np.concatenate([_gates(tensors[f"lstm.bias_ih{side}"]), _gates(tensors[f"lstm.bias_hh{side}"])])
            for side in sides
        ]),
    )  # fmt: skip
    hidden = weights[1].shape[-1]
    names = (graph.constant(weight) for weight in weights)
    value = graph.add("LSTM", value, *names, hidden_size=hidden, direction="bidirectional")
    value = graph.add("Transpose", value, perm=[0, 2, 1, 3])  # (num_frames, batch, direction, hidden)
    return graph.add("Reshape", value, graph.constant([0, 0, 2 * hidden]))


def _gates(weight: NDArray[Any]) -> NDArray[Any]:
    """Reorder gates from torch's input, forget, cell, output to ONNX's input, output, forget, cell."""
    first, forget, cell, output = np.split(weight, 4)
    return np.concatenate([first, output, forget, cell])


def _batch_norm(graph: _Graph, value: str, tensors: Tensors, prefix: str) -> str:
    names = (graph.constant(tensors[f"{prefix}.{part}"]) for part in ("weight", "bias", "running_mean", "running_var"))
    return graph.add("BatchNormalization", value, *names, epsilon=1e-5)


def _conv_norm(graph: _Graph, value: str, tensors: Tensors, conv: str, norm: str, **attributes: Any) -> str:  # noqa: ANN401
    """A convolution without bias and the batch normalization after it, folded into one."""
    weight, scale, bias = tensors[conv + ".weight"], tensors[norm + ".weight"], tensors[norm + ".bias"]
    mean, variance = tensors[norm + ".running_mean"], tensors[norm + ".running_var"]
    factor = scale / np.sqrt(variance + np.float32(1e-5))
    folded = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
    return graph.add("Conv", value, graph.constant(folded), graph.constant(bias - mean * factor), **attributes)


# --- networks ---------------------------------------------------------------------------------------------


class SegmentationNetwork:
    """segmentation-3.0 on ONNX Runtime. A call keeps one core busy; several at once are safe."""

    def __init__(self, checkpoint: Path) -> None:
        tensors = _state(read_checkpoint(checkpoint), checkpoint, "sincnet.wav_norm1d.weight")
        self._session = _session(segmentation_graph(tensors))

    def __call__(self, chunks: Array) -> Array:
        """`(batch, num_samples)` float32 -> log-probabilities of the powerset classes, `(batch, num_frames, 7)`."""
        (scores,) = self._session.run(None, {"waveform": chunks})
        return np.asarray(scores)


class EmbeddingNetwork:
    """CAM++: its trunk on ONNX Runtime, its pooling and last layer in NumPy, so that frames can be pooled at will.

    Attributes:
        threads: how many calls of `frames` should run at once; each keeps one core busy.
    """

    dimension = 192

    def __init__(self, checkpoint: Path, *, threads: int = 1) -> None:
        tensors = _state(read_checkpoint(checkpoint), checkpoint, "xvector.dense.linear.weight")
        self.threads = threads
        self._session = _session(campplus_trunk_graph(tensors))
        prefix = "xvector.dense.nonlinear.batchnorm.running_"
        deviation = np.sqrt(tensors[prefix + "var"] + np.float32(1e-5))
        self._weight = (tensors["xvector.dense.linear.weight"][:, :, 0] / deviation[:, None]).T  # (1024, 192)
        self._bias = -tensors[prefix + "mean"] / deviation

    def frames(self, features: Array) -> Array:
        """Mean-normalized filter bank `(num_frames, 80)` -> trunk frames `(ceil(num_frames / 2), 512)`, 50 a second."""
        (frames,) = self._session.run(None, {"features": features[None]})
        return np.asarray(frames[0].T)

    def embed(self, weights: Array, sums: Array, squares: Array) -> Array:
        """Pool frames into embeddings.

        Args:
            weights: sum of the frames' weights in each pool, `(num_pools,)`.
            sums: weighted sum of the frames, `(num_pools, 512)`.
            squares: weighted sum of the squared frames, `(num_pools, 512)`.

        Returns:
            Embeddings of unit length, `(num_pools, 192)` float32.
        """
        count = np.maximum(weights, 2)[:, None]
        mean = sums / count
        variance = np.maximum(squares / count - mean**2, 0) * (count / (count - 1))  # unbiased, as it was trained
        statistics = np.concatenate([mean, np.sqrt(variance)], axis=1)
        vectors = statistics @ self._weight + self._bias
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def _state(checkpoint: dict[str, Any], path: Path, wanted: str) -> Tensors:
    tensors: Tensors = checkpoint.get("state_dict", checkpoint)
    if wanted not in tensors:
        message = f"{path.name} is a checkpoint of another architecture; run `diarist models verify`"
        raise ModelMissing(message)
    return tensors


def _session(model: bytes) -> onnxruntime.InferenceSession:
    _share_arena()
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.intra_op_num_threads = 1  # the caller runs several batches side by side instead
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@cache
def _share_arena() -> None:
    """Let all networks of this process take their memory from one arena, which grows by what is asked for and no more.

    By default each network has its own, which grows in powers of two, and longer with every new length of recording.
    """
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    as_requested = 1  # arena_extend_strategy, see OrtArenaCfg in onnxruntime_c_api.h; -1 leaves the other defaults
    onnxruntime.create_and_register_allocator(memory, onnxruntime.OrtArenaCfg(0, as_requested, -1, -1))
