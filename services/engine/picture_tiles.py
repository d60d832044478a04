"""Decoding tile by tile, where a whole picture does not fit the device: seams are blended."""

from typing import Final

from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

# Width and height of a tile, in pixels.
TILE_SIZE: Final = 512


def decode_in_tiles(vae: AutoencoderKL) -> None:
    """From now on pictures larger than a tile are decoded in several."""
    vae_scale = 2 ** (len(vae.config["block_out_channels"]) - 1)
    vae.tile_sample_min_size = TILE_SIZE
    vae.tile_latent_min_size = TILE_SIZE // vae_scale
    vae.enable_tiling()
