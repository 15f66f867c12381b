"""Doctor: whether everything the catalog leans on works."""
