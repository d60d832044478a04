"""Group norm and SiLU over channels-last pictures: read twice, written once.

Torch's own group norm takes 60 % of a 1024² decode on an H100 (90 ms eager, docs/performance.md).
"""

import triton
import triton.language as tl

# Names in capitals are compile-time constants, as Triton has it; all types are Triton's own.
# pyright: reportMissingImports=false


@triton.jit
def partial_sums_kernel(
    pixels_ptr,
    partials_ptr,
    pixels,
    CHANNELS: tl.constexpr,
    GROUPS: tl.constexpr,
    ROWS: tl.constexpr,
    PROGRAMS: tl.constexpr,
):
    """Sum and sum of squares per group, over every PROGRAMS-th tile of one picture."""
    program, picture = tl.program_id(0), tl.program_id(1).to(tl.int64)
    channel = tl.arange(0, CHANNELS)[None, :]
    row = tl.arange(0, ROWS)[:, None]
    base = pixels_ptr + picture * pixels * CHANNELS
    sums = tl.zeros((CHANNELS,), tl.float32)
    squares = tl.zeros((CHANNELS,), tl.float32)
    for tile in range(program, tl.cdiv(pixels, ROWS), PROGRAMS):
        rows = tile * ROWS + row
        numbers = tl.load(base + rows * CHANNELS + channel, mask=rows < pixels, other=0.0)
        wide = numbers.to(tl.float32)
        sums += tl.sum(wide, axis=0)
        squares += tl.sum(wide * wide, axis=0)
    width: tl.constexpr = CHANNELS // GROUPS
    group = tl.arange(0, GROUPS)
    target = partials_ptr + ((picture * PROGRAMS + program) * 2) * GROUPS + group
    tl.store(target, tl.sum(tl.reshape(sums, (GROUPS, width)), axis=1))
    tl.store(target + GROUPS, tl.sum(tl.reshape(squares, (GROUPS, width)), axis=1))


@triton.jit
def statistics_kernel(
    partials_ptr,
    statistics_ptr,
    count,
    epsilon,
    GROUPS: tl.constexpr,
    PROGRAMS: tl.constexpr,
):
    """The partial sums of one picture, always in the same order → mean and 1 / deviation."""
    picture = tl.program_id(0)
    program = tl.arange(0, PROGRAMS)[:, None]
    group = tl.arange(0, GROUPS)[None, :]
    source = partials_ptr + ((picture * PROGRAMS + program) * 2) * GROUPS + group
    mean = tl.sum(tl.load(source), axis=0) / count
    variance = tl.sum(tl.load(source + GROUPS), axis=0) / count - mean * mean
    target = statistics_ptr + picture * 2 * GROUPS + tl.arange(0, GROUPS)
    tl.store(target, mean)
    tl.store(target + GROUPS, tl.rsqrt(tl.maximum(variance, 0.0) + epsilon))


@triton.jit
def apply_kernel(
    pixels_ptr,
    statistics_ptr,
    weight_ptr,
    bias_ptr,
    output_ptr,
    pixels,
    CHANNELS: tl.constexpr,
    GROUPS: tl.constexpr,
    ROWS: tl.constexpr,
):
    """silu((x - mean) / deviation · weight + bias)."""
    picture = tl.program_id(1).to(tl.int64)
    channel = tl.arange(0, CHANNELS)[None, :]
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    offsets = (picture * pixels + rows) * CHANNELS + channel
    inside = rows < pixels
    width: tl.constexpr = CHANNELS // GROUPS
    statistics = statistics_ptr + picture * 2 * GROUPS + channel // width
    mean, scale = tl.load(statistics), tl.load(statistics + GROUPS)
    weight = tl.load(weight_ptr + channel).to(tl.float32)
    bias = tl.load(bias_ptr + channel).to(tl.float32)
    x = tl.load(pixels_ptr + offsets, mask=inside, other=0.0).to(tl.float32)
    normed = (x - mean) * scale * weight + bias
    activated = normed * tl.sigmoid(normed)
    tl.store(output_ptr + offsets, activated.to(output_ptr.dtype.element_ty), mask=inside)
