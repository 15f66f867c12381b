"""Which concepts a place of the brain carries: a ball in mm, or a named region."""
