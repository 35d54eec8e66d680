"""Kernels as triton compiles them for a card, which need not be here."""

from __future__ import annotations

from typing import Any

# What a block may have by compute capability (CUDA C++ Programming Guide, technical specifications).
SHARED_BYTES = {80: 163 * 1024, 89: 99 * 1024, 90: 227 * 1024, 120: 99 * 1024}


def compiled(kernel: Any, types: dict[str, str], constants: dict[str, int], options: dict[str, int], capability: int):
    """Compile a kernel of triton's.

    Args:
        kernel: the function.
        types: of the arguments that are not constants, by name; those that are not named are i32.
        constants: by name.
        options: warps and others of the launch.
        capability: compute capability, 90 for 9.0.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = kernel.arg_names
    signature = {name: "constexpr" if name in constants else types.get(name, "i32") for name in names}
    # As for all that torch allocates; of numbers only those that are multiples of 16 would be marked so.
    aligned = {
        (place,): [["tt.divisibility", 16]] for place, name in enumerate(names) if signature[name].startswith("*")
    }
    places = {(names.index(name),): value for name, value in constants.items()}
    source = ASTSource(kernel, signature=signature, constexprs=places, attrs=aligned)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
