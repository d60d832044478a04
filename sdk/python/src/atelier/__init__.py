"""Order pictures from an Atelier installation: the client and the generated contract."""
