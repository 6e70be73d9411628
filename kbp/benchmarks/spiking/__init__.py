"""Accuracy and cost of spiking networks made of trained ones."""
