"""The command line `atelier`."""
