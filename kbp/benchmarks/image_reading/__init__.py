"""Images per second that are read from a folder of photographs."""
