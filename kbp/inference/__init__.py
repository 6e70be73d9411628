"""Opening models safely, and running them on images of any size."""
