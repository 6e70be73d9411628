"""The kinds of recurrent cells, one module each; all are imported."""
