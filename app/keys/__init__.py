"""Keys to the API, embargoes, and the record of who changed what."""
