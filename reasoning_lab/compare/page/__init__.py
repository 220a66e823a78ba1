"""The comparison as an HTML page: one section or kind of chart a file."""
