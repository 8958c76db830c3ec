"""What finished results tell: views, statistics and comparisons."""
