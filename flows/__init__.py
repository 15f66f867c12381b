"""What fills the catalog: Prefect flows, readers of data layouts, and the numerics."""
