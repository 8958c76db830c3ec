"""Runs as one HTML page: captures packed small, and the page's own scripts that show them."""
