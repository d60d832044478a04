"""Our own forward of Stable Diffusion 3.5's transformer (MMDiT), with FP8 backends.

Reading order: `mmdit.py` (the forward), `block.py` (one layer), `conditioning.py` (what is worked
out once per image), `backends.py` (which arithmetic), `linears/` (one file per arithmetic),
`rows.py` (what happens between the matrix products).
"""
