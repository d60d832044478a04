"""The web page: a client of the gateway like any other, with sessions of its own and no SQL."""
