"""Series of files: split in time, standardized, kept on a disk."""
