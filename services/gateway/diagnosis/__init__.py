"""What is wrong with an installation, seen from its gateway: `atelier admin doctor`."""
