"""Memory of a training whose blocks are computed twice."""
