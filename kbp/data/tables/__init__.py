"""Files of tables, read by column and by row."""
