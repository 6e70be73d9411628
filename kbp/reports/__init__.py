"""The result of a run: tables, figures, report.html."""
