"""What a spiking network answers, when, and at what cost."""
