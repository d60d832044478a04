"""One layer of the MMDiT: picture and text tokens attend jointly, then each goes its own way."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import torch

from services.engine.mmdit.attention import AttentionKernel, attend
from services.engine.mmdit.linears.making import Linear, LinearMaker
from services.engine.mmdit.linears.packed import PackedLinear
from services.engine.mmdit.rows import HeadNorms, LinearInput, Rows, Shift


class Piece(IntEnum):
    """Where the pieces of a layer's modulation stand, in diffusers' order."""

    ATTENTION_SHIFT = 0
    ATTENTION_SCALE = 1
    ATTENTION_GATE = 2
    FEED_FORWARD_SHIFT = 3
    FEED_FORWARD_SCALE = 4
    FEED_FORWARD_GATE = 5
    SECOND_SHIFT = 6
    SECOND_SCALE = 7
    SECOND_GATE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedForward:
    """width → 4 · width → width."""

    expand: Linear
    shrink: Linear

    def __call__(self, rows: LinearInput, operations: Rows) -> torch.Tensor:
        if isinstance(self.expand, PackedLinear):
            return self.shrink(self.expand.with_gelu(rows))
        return self.shrink(operations.gelu(self.expand(rows)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Projections:
    """Into attention and out of it; the last layer's text does not come out."""

    qkv: Linear
    norms: HeadNorms
    out: Linear | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """The weights of one kind of token in one layer."""

    projections: Projections
    feed_forward: FeedForward | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerModulation:
    """What the time step and the prompt do to one layer; each [images, pieces, width].

    The last three pieces are there with a second attention alone; the last layer's text has only
    the first two.
    """

    picture: torch.Tensor
    text: torch.Tensor

    @property
    def picture_entry(self) -> Shift:
        return Shift(self.picture[:, Piece.ATTENTION_SHIFT], self.picture[:, Piece.ATTENTION_SCALE])

    @property
    def text_entry(self) -> Shift:
        return Shift(self.text[:, Piece.ATTENTION_SHIFT], self.text[:, Piece.ATTENTION_SCALE])


@dataclass(slots=True, kw_only=True)
class Tokens:
    """One stream on its way: the sum so far, and its norm as the next layer's input."""

    hidden: torch.Tensor
    """[images, tokens, width]"""
    rows: LinearInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One layer."""

    picture: Stream
    text: Stream
    second_attention: Projections | None
    """Over the picture's tokens alone (Medium's first layers)."""
    heads: int
    attention_kernel: AttentionKernel

    def __call__(
        self,
        picture: Tokens,
        text: Tokens,
        *,
        modulation: LayerModulation,
        next_picture_entry: Shift,
        next_text_entry: Shift | None,
        operations: Rows,
        exit_operations: Rows,
    ) -> tuple[Tokens, Tokens | None]:
        """Through the layer; the norm of the next one's entry is done in the last pass of this."""
        attended = self._attend_jointly(picture, text, operations)
        picture_count, text_count = picture.hidden.shape[1], text.hidden.shape[1]
        left_text = None
        if self.text.feed_forward is not None and next_text_entry is not None:
            rows = operations.attended(attended, picture_count, text_count)
            left_text = _leave(
                self.text,
                hidden=text.hidden,
                attention=project_out(self.text.projections, rows),
                pieces=modulation.text,
                attention_gate=Piece.ATTENTION_GATE,
                next_entry=next_text_entry,
                operations=operations,
                exit_operations=operations,
            )
        left_picture = self._leave_as_picture(
            picture,
            operations.attended(attended, 0, picture_count),
            modulation=modulation,
            next_entry=next_picture_entry,
            operations=operations,
            exit_operations=exit_operations,
        )
        return left_picture, left_text

    def _leave_as_picture(
        self,
        picture: Tokens,
        attended: LinearInput,
        *,
        modulation: LayerModulation,
        next_entry: Shift,
        operations: Rows,
        exit_operations: Rows,
    ) -> Tokens:
        attention = project_out(self.picture.projections, attended)
        second = self._attend_again(picture, modulation, operations)
        hidden = picture.hidden
        if second is not None:
            hidden = operations.gated_sum(
                hidden, attention, modulation.picture[:, Piece.ATTENTION_GATE]
            )
            attention = second
        return _leave(
            self.picture,
            hidden=hidden,
            attention=attention,
            pieces=modulation.picture,
            attention_gate=Piece.ATTENTION_GATE if second is None else Piece.SECOND_GATE,
            next_entry=next_entry,
            operations=operations,
            exit_operations=exit_operations,
        )

    def _attend_jointly(self, picture: Tokens, text: Tokens, operations: Rows) -> torch.Tensor:
        images, picture_count, width = picture.hidden.shape
        count = picture_count + text.hidden.shape[1]
        joint = picture.hidden.new_empty((images, count, 3, self.heads, width // self.heads))
        self._place(self.text.projections, text, joint, picture_count, operations)
        self._place(self.picture.projections, picture, joint, 0, operations)
        # The last layer's text does not come out, so nobody needs what it would see.
        asking = picture_count if self.text.projections.out is None else count
        return attend(joint, self.attention_kernel, asking=asking)

    @staticmethod
    def _place(
        projections: Projections,
        tokens: Tokens,
        joint: torch.Tensor,
        first_token: int,
        operations: Rows,
    ) -> None:
        qkv = projections.qkv(tokens.rows)
        operations.place_heads(qkv, projections.norms, joint, first_token=first_token)

    def _attend_again(
        self, picture: Tokens, modulation: LayerModulation, operations: Rows
    ) -> torch.Tensor | None:
        if self.second_attention is None or self.second_attention.out is None:
            return None
        images, count, width = picture.hidden.shape
        entry = Shift(
            modulation.picture[:, Piece.SECOND_SHIFT], modulation.picture[:, Piece.SECOND_SCALE]
        )
        qkv = self.second_attention.qkv(operations.normed(picture.hidden, entry))
        own = picture.hidden.new_empty((images, count, 3, self.heads, width // self.heads))
        operations.place_heads(qkv, self.second_attention.norms, own, first_token=0)
        attended = attend(own, self.attention_kernel, asking=count)
        return self.second_attention.out(operations.attended(attended, 0, count))


def project_out(projections: Projections, rows: LinearInput) -> torch.Tensor:
    """What attention gave one stream, through its projection out."""
    assert projections.out is not None
    return projections.out(rows)


def _leave(
    stream: Stream,
    *,
    hidden: torch.Tensor,
    attention: torch.Tensor,
    pieces: torch.Tensor,
    attention_gate: Piece,
    next_entry: Shift,
    operations: Rows,
    exit_operations: Rows,
) -> Tokens:
    """Add attention, go through the feed-forward part, norm for what comes next."""
    assert stream.feed_forward is not None
    middle = Shift(pieces[:, Piece.FEED_FORWARD_SHIFT], pieces[:, Piece.FEED_FORWARD_SCALE])
    hidden, rows = operations.gated_sum_normed(hidden, attention, pieces[:, attention_gate], middle)
    fed = stream.feed_forward(rows, operations)
    hidden, rows = exit_operations.gated_sum_normed(
        hidden, fed, pieces[:, Piece.FEED_FORWARD_GATE], next_entry
    )
    return Tokens(hidden=hidden, rows=rows)


def take_block(
    block: Any,  # noqa: ANN401  diffusers' JointTransformerBlock, whose parts it types loosely
    *,
    heads: int,
    maker: LinearMaker,
    place: Callable[[torch.Tensor], torch.Tensor],
    attention_kernel: AttentionKernel,
) -> Block:
    """Take the weights out of diffusers' block; `place` moves a tensor to the device and type."""

    def linear(*layers: torch.nn.Linear) -> Linear:
        weight = torch.cat([place(layer.weight) for layer in layers])
        bias = torch.cat([place(layer.bias) for layer in layers])
        return maker.make(weight, bias)

    def norms(query: Any, key: Any) -> HeadNorms:  # noqa: ANN401
        return HeadNorms(place(query.weight), place(key.weight))

    def feed_forward(part: Any) -> FeedForward | None:  # noqa: ANN401
        if part is None:
            return None
        return FeedForward(expand=linear(part.net[0].proj), shrink=linear(part.net[2]))

    attention, second = block.attn, block.attn2
    text_out = None if block.context_pre_only else linear(attention.to_add_out)
    return Block(
        picture=Stream(
            projections=Projections(
                qkv=linear(attention.to_q, attention.to_k, attention.to_v),
                norms=norms(attention.norm_q, attention.norm_k),
                out=linear(attention.to_out[0]),
            ),
            feed_forward=feed_forward(block.ff),
        ),
        text=Stream(
            projections=Projections(
                qkv=linear(attention.add_q_proj, attention.add_k_proj, attention.add_v_proj),
                norms=norms(attention.norm_added_q, attention.norm_added_k),
                out=text_out,
            ),
            feed_forward=feed_forward(block.ff_context),
        ),
        second_attention=None
        if second is None
        else Projections(
            qkv=linear(second.to_q, second.to_k, second.to_v),
            norms=norms(second.norm_q, second.norm_k),
            out=linear(second.to_out[0]),
        ),
        heads=heads,
        attention_kernel=attention_kernel,
    )
