"""What a training does besides following its gradient."""
