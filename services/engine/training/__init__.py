"""How the checkpoint that ships is made: pictures, training, judging."""
