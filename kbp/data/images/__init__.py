"""Reading image files, and what there is to know of them."""
