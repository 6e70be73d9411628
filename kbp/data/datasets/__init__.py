"""Public data sets in their publishers' layouts."""
