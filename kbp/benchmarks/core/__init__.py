"""What all races share."""
