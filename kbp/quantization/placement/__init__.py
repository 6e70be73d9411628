"""Where quantizers stand: the 8-bit rules, and what follows them."""
