"""Training speed on several devices and workers, and a long run."""
