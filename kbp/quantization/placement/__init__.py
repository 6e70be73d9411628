"""The 8-bit rules, and the placing of quantizers by them."""
