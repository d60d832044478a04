"""Triton kernels: one program per row, the row in registers, every byte read and written once.

A row is held in two parts whose lengths are powers of two, as Triton asks: 2,432 columns as
2,048 + 512. One block of 4,096 would leave two lanes in five idle.
"""

import triton
import triton.language as tl

# Names in capitals are compile-time constants, as Triton has it; all types are Triton's own.
# pyright: reportMissingImports=false, reportGeneralTypeIssues=false


def parts_of(width: int) -> tuple[int, int]:
    """Two powers of two that together hold a row and little more."""
    head = 1 << (width - 1).bit_length() - 1
    return head, 1 << (width - head - 1).bit_length()


def warps_for(width: int) -> int:
    """Warps per program: twenty to forty numbers a thread, as was fastest on an H100."""
    return min(8, 1 << (width // 640).bit_length())


@triton.jit
def load_row(pointer, start, width, HEAD: tl.constexpr, TAIL: tl.constexpr):
    """Both parts of a row, in float32; zeros beyond its end."""
    tail_columns = HEAD + tl.arange(0, TAIL)
    head = tl.load(pointer + start + tl.arange(0, HEAD)).to(tl.float32)
    tail = tl.load(pointer + start + tail_columns, mask=tail_columns < width, other=0.0)
    return head, tail.to(tl.float32)


@triton.jit
def store_row(pointer, start, width, head, tail, HEAD: tl.constexpr, TAIL: tl.constexpr):
    """Both parts, in the type of where they go."""
    tail_columns = HEAD + tl.arange(0, TAIL)
    kind = pointer.dtype.element_ty
    tl.store(pointer + start + tl.arange(0, HEAD), head.to(kind))
    tl.store(pointer + start + tail_columns, tail.to(kind), mask=tail_columns < width)


@triton.jit
def store_input(
    values_ptr,
    scales_ptr,
    row,
    width,
    head,
    tail,
    HEAD: tl.constexpr,
    TAIL: tl.constexpr,
    QUANTISES: tl.constexpr,
):
    """A row for the next product: in E4M3 with its own scale, or as it is."""
    if QUANTISES:
        largest = tl.maximum(tl.max(tl.abs(head), axis=0), tl.max(tl.abs(tail), axis=0))
        largest = tl.maximum(largest, 4.48e-10)
        # A product is cheaper than a quotient; the last bit decides nothing here.
        factor = 448.0 / largest
        head = tl.minimum(tl.maximum(head * factor, -448.0), 448.0)
        tail = tl.minimum(tl.maximum(tail * factor, -448.0), 448.0)
        tl.store(scales_ptr + row, largest / 448.0)
    store_row(values_ptr, row * width, width, head, tail, HEAD, TAIL)


@triton.jit
def norm_kernel(
    hidden_ptr,
    branch_ptr,
    gate_ptr,
    total_ptr,
    shift_ptr,
    scale_ptr,
    values_ptr,
    scales_ptr,
    tokens,
    width,
    modulation_stride,
    epsilon,
    HEAD: tl.constexpr,
    TAIL: tl.constexpr,
    HAS_BRANCH: tl.constexpr,
    HAS_NORM: tl.constexpr,
    QUANTISES: tl.constexpr,
):
    """Add gate · branch to the hidden; norm the total, scale and shift it for the next product."""
    row = tl.program_id(0).to(tl.int64)
    start = row * width
    modulation = (row // tokens) * modulation_stride
    head, tail = load_row(hidden_ptr, start, width, HEAD, TAIL)
    if HAS_BRANCH:
        branch_head, branch_tail = load_row(branch_ptr, start, width, HEAD, TAIL)
        gate_head, gate_tail = load_row(gate_ptr, modulation, width, HEAD, TAIL)
        head += gate_head * branch_head
        tail += gate_tail * branch_tail
        store_row(total_ptr, start, width, head, tail, HEAD, TAIL)
    if HAS_NORM:
        mean = (tl.sum(head, axis=0) + tl.sum(tail, axis=0)) / width
        inside = HEAD + tl.arange(0, TAIL) < width
        head -= mean
        tail = tl.where(inside, tail - mean, 0.0)
        squares = tl.sum(head * head, axis=0) + tl.sum(tail * tail, axis=0)
        deviation = tl.rsqrt(squares / width + epsilon)
        shift_head, shift_tail = load_row(shift_ptr, modulation, width, HEAD, TAIL)
        scale_head, scale_tail = load_row(scale_ptr, modulation, width, HEAD, TAIL)
        head = head * deviation * (1.0 + scale_head) + shift_head
        tail = tail * deviation * (1.0 + scale_tail) + shift_tail
        store_input(values_ptr, scales_ptr, row, width, head, tail, HEAD, TAIL, QUANTISES)


@triton.jit
def gelu(x):
    """0.5 x (1 + tanh(u)) is x · sigmoid(2u); u as in torch's tanh approximation."""
    return x * tl.sigmoid(1.5957691216057308 * x * (1.0 + 0.044715 * x * x))


@triton.jit
def gelu_kernel(
    rows_ptr,
    values_ptr,
    scales_ptr,
    width,
    HEAD: tl.constexpr,
    TAIL: tl.constexpr,
    QUANTISES: tl.constexpr,
):
    """The feed-forward part's activation."""
    row = tl.program_id(0).to(tl.int64)
    head, tail = load_row(rows_ptr, row * width, width, HEAD, TAIL)
    store_input(values_ptr, scales_ptr, row, width, gelu(head), gelu(tail), HEAD, TAIL, QUANTISES)


@triton.jit
def place_heads_kernel(
    qkv_ptr,
    query_norm_ptr,
    key_norm_ptr,
    joint_ptr,
    tokens,
    joint_tokens,
    first_token,
    heads,
    epsilon,
    HEADS_BLOCK: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """One of query, key and value of one token to its place among all tokens of its image."""
    row = tl.program_id(0).to(tl.int64)
    which = tl.program_id(1)
    head = tl.arange(0, HEADS_BLOCK)[:, None]
    channel = tl.arange(0, CHANNELS)[None, :]
    inside = head < heads
    place = head * CHANNELS + channel
    width = heads * CHANNELS
    numbers = tl.load(qkv_ptr + (row * 3 + which) * width + place, mask=inside, other=0.0)
    joint_row = (row // tokens) * joint_tokens + first_token + row % tokens
    # Queries and keys are normed, values go as they are.
    if which < 2:  # noqa: PLR2004
        wide = numbers.to(tl.float32)
        mean_square = tl.sum(wide * wide, axis=1) / CHANNELS
        normed = wide * tl.rsqrt(mean_square + epsilon)[:, None]
        query_norm = tl.load(query_norm_ptr + channel).to(tl.float32)
        key_norm = tl.load(key_norm_ptr + channel).to(tl.float32)
        weight = tl.where(which == 0, query_norm, key_norm)
        numbers = (normed * weight).to(numbers.dtype)
    tl.store(joint_ptr + (joint_row * 3 + which) * width + place, numbers, mask=inside)


@triton.jit
def attended_kernel(
    attention_ptr,
    values_ptr,
    scales_ptr,
    tokens,
    joint_tokens,
    first_token,
    width,
    HEAD: tl.constexpr,
    TAIL: tl.constexpr,
    QUANTISES: tl.constexpr,
):
    """One stream's tokens out of the joint attention, as input of the projection out."""
    row = tl.program_id(0).to(tl.int64)
    source = (row // tokens) * joint_tokens + first_token + row % tokens
    head, tail = load_row(attention_ptr, source * width, width, HEAD, TAIL)
    store_input(values_ptr, scales_ptr, row, width, head, tail, HEAD, TAIL, QUANTISES)
