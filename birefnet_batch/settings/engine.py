"""The group `engine`."""

from __future__ import annotations

from dataclasses import dataclass

from birefnet_batch.settings.fields import Choice, Group, setting


class EngineName(Choice):
    """The engine families of this version."""

    auto = "auto"
    torch = "torch"
    onnxruntime = "onnxruntime"
    tensorrt = "tensorrt"


class Provider(Choice):
    """What ONNX Runtime runs on."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    tensorrt = "tensorrt"
    openvino = "openvino"


class Device(Choice):
    """Where an engine runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


PROVIDER_DEVICES = {
    Provider.auto: Device.auto,
    Provider.cpu: Device.cpu,
    Provider.cuda: Device.cuda,
    Provider.tensorrt: Device.cuda,
    Provider.openvino: Device.cpu,
}
"""Where each provider of ONNX Runtime takes its images."""


class Precision(Choice):
    """The number format of an engine's weights and activations."""

    auto = "auto"
    fp32 = "fp32"
    fp16 = "fp16"
    bf16 = "bf16"


@dataclass(frozen=True)
class EngineSettings(Group):
    """How the network runs."""

    name: EngineName = setting(EngineName.auto, "auto | torch | onnxruntime | tensorrt")
    device: Device = setting(Device.auto, "auto | cpu | cuda")
    precision: Precision = setting(Precision.auto, "auto (fp32 on a CPU, fp16 on CUDA) | fp32 | fp16 | bf16")
    batch_size: int | None = setting(None, "frames a batch; null is 1 on a CPU, 4 on CUDA, or see memory_gib")
    memory_gib: float | None = setting(
        None, "GiB that the engine may take: batch_size=null is then the quickest that fits, measured once a machine"
    )
    threads: int | None = setting(None, "CPU threads of the network; null is one for each that may be used (recorded)")
    provider: Provider = setting(
        Provider.auto, "of onnxruntime: auto (cuda on CUDA, cpu else) | cpu | cuda | tensorrt | openvino"
    )
    compile: bool = setting(
        False, "of torch on CUDA: through torch.compile; minutes at the first use, kept in the engine store"
    )
    cuda_graph: bool = setting(
        True, "of torch and tensorrt on CUDA: each batch is launched as one CUDA graph; false where that fails"
    )
    workspace_gib: float | None = setting(
        None, "of tensorrt: GiB that a layer may use while it runs; null is the library's own limit"
    )
    fallback: list[EngineName] = setting(
        [], "engines to take, in order, where the one asked for cannot be had, [onnxruntime, torch]; recorded"
    )
    store: str | None = setting(
        None, "folder of built engines; null is engines/store of a checkout, else the user's cache folder"
    )
    shared_store: str | None = setting(
        None, "folder or bucket URL that machines share: read before an engine is built, filled afterwards"
    )

    @property
    def device_wish(self) -> str:
        """The device of what may run, where none is given: TensorRT's is `cuda`, ONNX Runtime's its provider's.

        What stands in for an engine of the GPU takes what there is, and for one of the CPU the CPU.
        """
        if self.device is not Device.auto or self.name not in (EngineName.tensorrt, EngineName.onnxruntime):
            return self.device.value
        device = Device.cuda if self.name is EngineName.tensorrt else PROVIDER_DEVICES[self.provider]
        return (Device.auto if self.stand_ins and device is Device.cuda else device).value

    @property
    def stand_ins(self) -> list[EngineName]:
        """The engines of `fallback` that are others than the one asked for."""
        return [name for name in self.fallback if name is not self.name]
